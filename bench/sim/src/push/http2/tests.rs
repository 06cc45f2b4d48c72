//! Frames in, frames out: what h2's client never sends, and what the windows do.

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [head, payload.to_vec()].concat()
}

/// A connection that has been greeted, and its frames so far forgotten.
fn greeted(limit: u32) -> Http2 {
    let mut http2 = Http2::new(limit);
    let octets = [PREFACE, &frame(kind::SETTINGS, 0, 0, &[])].concat();
    take(&mut http2, &octets).unwrap();
    http2.out.clear();
    http2
}

fn take(http2: &mut Http2, octets: &[u8]) -> Done {
    let mut input = BytesMut::from(octets);
    let taken = http2.receive(&mut input);
    assert!(taken.is_err() || input.is_empty(), "a whole frame was left");
    taken
}

/// `:method: POST` and nothing else.
const POST: &[u8] = &[0x83];

fn post(stream: u32) -> Vec<u8> {
    let flags = flag::END_HEADERS | flag::END_STREAM;
    frame(kind::HEADERS, flags, stream, POST)
}

/// The frames that were written: kind, flags, stream, payload.
fn written(http2: &mut Http2) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut out = std::mem::take(&mut http2.out);
    let mut frames = Vec::new();
    while !out.is_empty() {
        let length = u32::from_be_bytes([0, out[0], out[1], out[2]]) as usize;
        let stream = u32::from_be_bytes([out[5], out[6], out[7], out[8]]);
        let rest = out.split_off(FRAME_HEADER + length);
        frames.push((out[3], out[4], stream, out[FRAME_HEADER..].to_vec()));
        out = rest;
    }
    frames
}

#[test]
fn octets_may_come_one_by_one() {
    let mut http2 = Http2::new(1);
    let octets = [PREFACE, &frame(kind::SETTINGS, 0, 0, &[]), &post(1)].concat();
    let mut input = BytesMut::new();
    for octet in octets {
        input.extend_from_slice(&[octet]);
        http2.receive(&mut input).unwrap();
    }
    assert_eq!(http2.next_event(), Some(Event::Request(1)));
    assert_eq!(
        http2.stream(1).unwrap().headers.get(":method").unwrap(),
        b"POST"
    );
}

#[test]
fn padding_priority_continuation_and_trailers_are_understood() {
    let mut http2 = greeted(10);
    // Two octets of padding, then dependency and weight.
    let head = [&[2, 0, 0, 0, 0, 9], POST, &[0, 0]].concat();
    let flags = flag::PADDED | flag::PRIORITY;
    take(&mut http2, &frame(kind::HEADERS, flags, 1, &head)).unwrap();
    let rest = frame(kind::CONTINUATION, flag::END_HEADERS, 1, &[0x87]);
    take(&mut http2, &rest).unwrap();
    let data = frame(kind::DATA, flag::PADDED, 1, b"\x01hi\0");
    take(&mut http2, &data).unwrap();
    assert_eq!(http2.next_event(), None, "it has not ended");
    let flags = flag::END_HEADERS | flag::END_STREAM;
    let trailers = frame(kind::HEADERS, flags, 1, &[0x00, 1, b't', 1, b'x']);
    take(&mut http2, &trailers).unwrap();
    assert_eq!(http2.next_event(), Some(Event::Request(1)));
    let stream = http2.stream(1).unwrap();
    assert_eq!(stream.body, b"hi");
    assert_eq!(stream.headers.get(":scheme").unwrap(), b"https");
}

#[test]
fn fewer_streams_count_when_they_are_acknowledged_and_more_at_once() {
    let ack = frame(kind::SETTINGS, flag::ACK, 0, &[]);
    let mut http2 = greeted(1);
    take(&mut http2, &ack).unwrap();
    http2.set_limit(2);
    take(&mut http2, &[post(1), post(3)].concat()).unwrap();
    http2.set_limit(1);
    take(&mut http2, &ack).unwrap();
    http2.reset(1, 0);
    take(&mut http2, &post(5)).unwrap();
    let events: Vec<Event> = std::iter::from_fn(|| http2.next_event()).collect();
    assert_eq!(
        events,
        [1, 3, 5].map(Event::Request),
        "the smaller limit is not known yet"
    );
    take(&mut http2, &[ack.clone(), post(7)].concat()).unwrap();
    assert_eq!(http2.next_event(), Some(Event::TooManyStreams(5)));
    assert_eq!(
        take(&mut http2, &ack),
        Err(Violation("SETTINGS ACK of nothing"))
    );
}

#[test]
fn an_answer_waits_for_the_windows_of_connection_and_stream() {
    let mut http2 = Http2::new(10);
    let small = [0, 4, 0, 0, 0, 10];
    let octets = [PREFACE, &frame(kind::SETTINGS, 0, 0, &small), &post(1)].concat();
    take(&mut http2, &octets).unwrap();
    http2.out.clear();
    assert!(http2.answer(1, 400, &[], b"twelve octet", true));
    let first = written(&mut http2);
    assert_eq!(first.len(), 2);
    assert_eq!(first[0].1, flag::END_HEADERS);
    assert_eq!(first[1], (kind::DATA, 0, 1, b"twelve oct".to_vec()));
    assert_eq!(http2.open(), 1);
    let more = frame(kind::WINDOW_UPDATE, 0, 1, &[0, 0, 0, 9]);
    take(&mut http2, &more).unwrap();
    let last = written(&mut http2);
    assert_eq!(last, [(kind::DATA, flag::END_STREAM, 1, b"et".to_vec())]);
    assert_eq!(http2.open(), 0);
}

#[test]
fn a_window_that_is_overrun_costs_the_connection() {
    let mut http2 = greeted(10);
    let open = frame(kind::HEADERS, flag::END_HEADERS, 1, POST);
    take(&mut http2, &open).unwrap();
    let data = frame(kind::DATA, 0, 1, &[0; FRAME_OCTETS_MAX]);
    for _ in 0..2 {
        take(&mut http2, &data).unwrap();
    }
    let update = written(&mut http2);
    let given = u32::try_from(2 * FRAME_OCTETS_MAX).unwrap().to_be_bytes();
    assert_eq!(update, [(kind::WINDOW_UPDATE, 0, 0, given.to_vec())]);
    assert_eq!(http2.next_event(), Some(Event::Request(1)), "too long");
    assert!(http2.answer(1, 413, &[], b"", true));
    let kinds: Vec<u8> = written(&mut http2).iter().map(|frame| frame.0).collect();
    assert_eq!(kinds, [kind::HEADERS, kind::RST_STREAM]);
}

#[test]
fn what_is_no_http2_is_told_so() {
    let interrupted = [
        frame(kind::HEADERS, 0, 1, POST),
        frame(kind::PING, 0, 0, &[0; 8]),
    ];
    let after_end = [post(1), frame(kind::DATA, 0, 1, b"x")];
    let cases: [(&[u8], &str); 10] = [
        (&interrupted.concat(), "a header block was interrupted"),
        (&after_end.concat(), "DATA after the end"),
        (&post(2), "HEADERS on a stream that is no client's"),
        (&frame(kind::DATA, 0, 1, b"x"), "DATA on an idle stream"),
        (
            &frame(kind::RST_STREAM, 0, 1, &[0; 4]),
            "RST_STREAM of an idle stream",
        ),
        (&frame(kind::PING, 0, 0, b"x"), "PING has eight octets"),
        (
            &frame(kind::SETTINGS, 0, 0, b"x"),
            "SETTINGS are of six octets each",
        ),
        (
            &frame(kind::HEADERS, flag::END_HEADERS, 1, &[0xBF]),
            "no HPACK",
        ),
        (
            &frame(kind::HEADERS, flag::PADDED, 1, &[9]),
            "padding longer than its frame",
        ),
        (&[0x01, 0, 0, 0, 0, 0, 0, 0, 0], "frame too large"),
    ];
    for (octets, why) in cases {
        let mut http2 = greeted(10);
        assert_eq!(take(&mut http2, octets), Err(Violation(why)));
        let frames = written(&mut http2);
        assert_eq!(frames.last().unwrap().0, kind::GOAWAY, "{why}");
        assert!(http2.next_event().is_none() && http2.is_done(), "{why}");
    }
    let mut http2 = Http2::new(1);
    let http1 = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(take(&mut http2, http1), Err(Violation("no HTTP/2 preface")));
}

#[test]
fn a_stream_that_is_given_up_frees_its_place() {
    let mut http2 = greeted(1);
    let reset = |stream| frame(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    take(&mut http2, &[post(1), reset(1), post(3)].concat()).unwrap();
    assert_eq!(
        http2.next_event(),
        Some(Event::Request(3)),
        "1 was never looked at"
    );
    take(&mut http2, &reset(3)).unwrap();
    assert_eq!(http2.next_event(), Some(Event::Reset(3)));
    assert!(!http2.answer(3, 200, &[], b"", true));
    assert_eq!(http2.open(), 0);
}

//! Links against octets written by hand, so that a mistake that our codec makes on both sides shows.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::connect::smpp::form::{UCS2, WITHOUT_VALIDITY};
use crate::outcome::Or;

/// One PDU as it came: command, status, sequence, body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pdu(
    pub(super) u32,
    pub(super) u32,
    pub(super) u32,
    pub(super) Vec<u8>,
);

pub(super) const SUBMIT: u32 = 0x04;
pub(super) const SUBMIT_RESP: u32 = 0x8000_0004;
pub(super) const DELIVER: u32 = 0x05;
pub(super) const DELIVER_RESP: u32 = 0x8000_0005;
const UNBIND: u32 = 0x06;
const UNBIND_RESP: u32 = 0x8000_0006;
pub(super) const BIND: u32 = 0x09;
pub(super) const BIND_RESP: u32 = 0x8000_0009;
pub(super) const ENQUIRE: u32 = 0x15;
pub(super) const ENQUIRE_RESP: u32 = 0x8000_0015;

pub(super) struct Carrier {
    listener: Arc<TcpListener>,
    stream: Option<TcpStream>,
}

impl Carrier {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self {
            listener: Arc::new(listener),
            stream: None,
        }
    }

    /// One that has connected itself.
    pub(super) async fn over(stream: TcpStream) -> Self {
        Self {
            stream: Some(stream),
            ..Self::new().await
        }
    }

    /// The next connection, beside those that there are.
    pub(super) async fn accepted(&self) -> Self {
        let mut one = Self {
            listener: self.listener.clone(),
            stream: None,
        };
        one.accept().await;
        one
    }

    /// Waits until something comes; whether it is the end.
    pub(super) async fn is_closed(&mut self) -> bool {
        self.stream().peek(&mut [0; 1]).await.unwrap() == 0
    }

    /// Reads a bind and answers it; its command.
    pub(super) async fn answer_bind(&mut self, status: u32) -> u32 {
        let Pdu(command, _, sequence, _) = self.read().await;
        let body: &[u8] = if status == 0 { b"SMSC\0" } else { b"" };
        self.write(&[(command | 0x8000_0000, status, sequence, body)])
            .await;
        command
    }

    /// The next connection, with its bind, which has to be this command, answered.
    pub(super) async fn next_bind(&self, command: u32, status: u32) -> Self {
        let mut one = self.accepted().await;
        assert_eq!(one.answer_bind(status).await, command);
        one
    }

    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(super) fn config(&self) -> Config {
        config(self.address())
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        self.stream.as_mut().unwrap()
    }

    pub(super) async fn accept(&mut self) {
        let accepted = timeout(PATIENCE, self.listener.accept()).await.unwrap();
        self.stream = Some(accepted.unwrap().0);
    }

    /// Accepts a connection and its bind.
    pub(super) async fn bind(&mut self) -> Vec<u8> {
        self.accept().await;
        let Pdu(command, status, sequence, body) = self.read().await;
        assert_eq!((command, status), (BIND, 0));
        self.write(&[(BIND_RESP, 0, sequence, b"SMSC\0\x02\x10\0\x01\x34")])
            .await;
        body
    }

    pub(super) async fn read(&mut self) -> Pdu {
        let stream = self.stream();
        let mut word = [0; 4];
        let mut header = [0; 4];
        timeout(PATIENCE, stream.read_exact(&mut word))
            .await
            .unwrap()
            .unwrap();
        let length = u32::from_be_bytes(word);
        for field in &mut header[..3] {
            stream.read_exact(&mut word).await.unwrap();
            *field = u32::from_be_bytes(word);
        }
        let mut body = vec![0; length as usize - 16];
        stream.read_exact(&mut body).await.unwrap();
        Pdu(header[0], header[1], header[2], body)
    }

    /// Writes PDUs in one write.
    pub(super) async fn write(&mut self, pdus: &[(u32, u32, u32, &[u8])]) {
        let mut octets = Vec::new();
        for (command, status, sequence, body) in pdus {
            let length = u32::try_from(body.len() + 16).unwrap();
            for word in [length, *command, *status, *sequence] {
                octets.extend_from_slice(&word.to_be_bytes());
            }
            octets.extend_from_slice(body);
        }
        self.stream().write_all(&octets).await.unwrap();
    }

    pub(super) async fn read_submits(&mut self, count: usize) -> Vec<u32> {
        let mut sequences = Vec::new();
        for _ in 0..count {
            let Pdu(command, _, sequence, _) = self.read().await;
            assert_eq!(command, SUBMIT);
            sequences.push(sequence);
        }
        sequences
    }

    /// Agrees to an unbind and sees the end of the connection.
    pub(super) async fn unbound(&mut self) {
        let Pdu(command, _, sequence, body) = self.read().await;
        assert_eq!((command, body.len()), (UNBIND, 0));
        self.write(&[(UNBIND_RESP, 0, sequence, b"")]).await;
        assert_eq!(self.stream().read(&mut [0; 16]).await.unwrap(), 0);
    }
}

/// deliver_sm's body: a text from 46701234567 to ACME.
pub(super) fn deliver(esm_class: u8, text: &[u8]) -> Vec<u8> {
    let mut body = b"\0\x01\x0146701234567\0\x05\0ACME\0".to_vec();
    body.extend_from_slice(&[esm_class, 0, 0, 0, 0, 0, 0, 0, 0]);
    body.push(u8::try_from(text.len()).unwrap());
    body.extend_from_slice(text);
    body
}

pub(super) const RECEIPT: &[u8] =
    b"id:0A1F sub:001 dlvrd:001 submit date:2611200900 done date:2611200901 stat:DELIVRD err:000 text:hi";

pub(super) async fn batch(rig: &mut Rig) -> ReceiptBatch {
    timeout(PATIENCE, rig.receipts.recv())
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test]
async fn a_bind_a_submit_and_an_unbind_octet_for_octet() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    assert_eq!(carrier.bind().await, b"acme\0secret\0\0\x34\0\0\0");
    rig.up().await;
    rig.send(vec![attempt(
        1,
        &Arc::new(message("+46701234567", "hi")),
        0,
    )])
    .await;
    let Pdu(command, status, sequence, body) = carrier.read().await;
    assert_eq!((command, status), (SUBMIT, 0));
    let mut expected = b"\0\x05\0ACME\0\x01\x0146701234567\0\0\0\0\0".to_vec();
    let validity = expected.len()..expected.len() + 17;
    assert!(body[validity.clone()].starts_with(b"0000000200") && body[validity.end - 1] == 0);
    expected.extend_from_slice(&body[validity]);
    expected.extend_from_slice(b"\x01\0\0\0\x02hi");
    assert_eq!(body, expected);
    carrier
        .write(&[(SUBMIT_RESP, 0, sequence, b"0a1f\0")])
        .await;
    let answers = rig.answers(1).await;
    assert_eq!(&*answers[&1].provider_id, b"0a1f");
    let stopped = tokio::spawn(rig.stop());
    carrier.unbound().await;
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_routes_own_tlvs_are_in_every_submit_and_its_receipts_are_shown_by_name() {
    let mut carrier = Carrier::new().await;
    let mut config = carrier.config();
    config.tlvs.send(0x1400, b"1101\0");
    config.tlvs.send(0x1401, b"\x07");
    config.tlvs.read(0x1411, "operator", Shown::Text);
    let mut rig = start(config);
    carrier.bind().await;
    rig.up().await;
    rig.send(attempts(2)).await;
    for _ in 0..2 {
        let Pdu(command, _, sequence, body) = carrier.read().await;
        assert_eq!(command, SUBMIT);
        assert!(body.ends_with(b"\x14\0\0\x051101\0\x14\x01\0\x01\x07"));
        carrier
            .write(&[(SUBMIT_RESP, 0, sequence, b"0a1f\0")])
            .await;
    }
    rig.answers(2).await;
    let receipt =
        b"\0\x01\x0146701234567\0\0\0ACME\0\x04\0\0\0\0\0\0\0\0\x1aid:0a1f stat:UNDELIV err:1\
        \x14\x11\0\x05O2 UK\x15\x03\0\x03\0\0\xfe";
    carrier.write(&[(DELIVER, 0, 7, receipt)]).await;
    let batch = timeout(PATIENCE, rig.receipts.recv())
        .await
        .unwrap()
        .unwrap();
    let shown = batch.receipts[0].tlvs.iter();
    let shown: Vec<_> = shown.map(|tlv| (&*tlv.name, &*tlv.value)).collect();
    assert_eq!(shown, [("operator", "O2 UK"), ("0x1503", "0000fe")]);
}

#[tokio::test]
async fn a_whole_window_is_out_before_the_first_answer() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    rig.send(attempts(10)).await;
    let sequences = carrier.read_submits(10).await;
    let answers: Vec<_> = sequences
        .iter()
        .rev()
        .map(|s| (SUBMIT_RESP, 0, *s, &b"x\0"[..]))
        .collect();
    carrier.write(&answers).await;
    let LinkEvent::Answers { answers, .. } = rig.event().await else {
        panic!("answers")
    };
    let tokens: Vec<_> = answers.iter().map(|answer| answer.token).collect();
    assert_eq!(
        tokens,
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
        "one event, in the order they came"
    );
    let stopped = tokio::spawn(rig.stop());
    carrier.unbound().await;
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_second_try_goes_out_without_validity_or_in_ucs2() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    let message = Arc::new(message("+46701234567", "hi"));
    let with = |token, form| Attempt {
        form,
        ..attempt(token, &message, 0)
    };
    rig.send(vec![with(1, WITHOUT_VALIDITY), with(2, UCS2)])
        .await;
    let Pdu(_, _, first, body) = carrier.read().await;
    assert!(
        body.ends_with(b"46701234567\0\0\0\0\0\0\x01\0\0\0\x02hi"),
        "{body:?}"
    );
    let Pdu(_, _, second, body) = carrier.read().await;
    assert!(body.ends_with(b"R\0\x01\0\x08\0\x04\0h\0i"), "{body:?}");
    // What is said of them is the table's.
    carrier
        .write(&[
            (SUBMIT_RESP, 0x62, first, b""),
            (SUBMIT_RESP, 0x104, second, b""),
        ])
        .await;
    let answers = rig.answers(2).await;
    let asked = |form, or| Retry::Otherwise { form, or };
    assert_eq!(answers[&1].retry, asked(WITHOUT_VALIDITY, Or::Never));
    assert_eq!(answers[&2].retry, asked(UCS2, Or::Elsewhere));
}

#[tokio::test]
async fn ucs2_is_not_asked_for_where_it_would_take_more_parts() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    let message = Arc::new(message("+46701234567", &"x".repeat(71)));
    rig.send(vec![attempt(1, &message, 0)]).await;
    let Pdu(_, _, sequence, _) = carrier.read().await;
    carrier.write(&[(SUBMIT_RESP, 0x104, sequence, b"")]).await;
    assert_eq!(rig.answers(1).await[&1].retry, Retry::Elsewhere);
}

#[tokio::test]
async fn the_first_segment_goes_out_first_also_after_the_parts_of_a_push() {
    use crate::message::Channel;
    use crate::message::steps::{FallbackOn, Leg, Step, Steps};
    let step = |channel| Step {
        channel,
        on: FallbackOn::DEFAULT,
        failover_on: FailoverOn::ALL,
    };
    let leg = |step, first, count| Leg {
        step,
        first,
        count,
        routes: smallvec![RouteIx(3)],
    };
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    let long = message("+46701234567", &"a".repeat(161));
    let fallback = Arc::new(Message {
        steps: Some(Box::new(Steps {
            steps: smallvec![step(Channel::Push), step(Channel::Sms)],
            legs: vec![leg(0, 0, 3), leg(1, 3, 2)],
            push: None,
            app_receipts: false,
        })),
        ..long.clone()
    });
    let long = Arc::new(long);
    let alone = [attempt(1, &long, 0), attempt(2, &long, 1)];
    let after = [attempt(3, &fallback, 3), attempt(4, &fallback, 4)];
    rig.send(alone.into_iter().chain(after).collect()).await;
    let mut bodies = Vec::new();
    for _ in 0..4 {
        let Pdu(_, _, sequence, body) = carrier.read().await;
        carrier.write(&[(SUBMIT_RESP, 0, sequence, b"id\0")]).await;
        bodies.push(body);
    }
    assert_ne!(bodies[0], bodies[1]);
    assert_eq!(bodies[..2], bodies[2..]);
    assert_eq!(rig.answers(4).await.len(), 4);
}

#[tokio::test]
async fn a_receipt_that_cannot_be_read_is_acknowledged_when_it_is_stored_as_it_came() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    let odd = deliver(4, b"your message 362d9701 has arrived");
    for (sequence, status) in [(7, 0), (8, 0x64)] {
        carrier.write(&[(DELIVER, 0, sequence, &odd)]).await;
        let batch = batch(&mut rig).await;
        let (read, unreadable) = (batch.receipts.len(), &batch.unreadable);
        assert_eq!((read, unreadable.len()), (0, 1));
        assert_eq!(&*unreadable[0].text, "your message 362d9701 has arrived");
        assert!(unreadable[0].pdu.ends_with(&odd));
        match status {
            0 => batch.stored.send(()).unwrap(),
            _ => drop(batch),
        }
        let Pdu(command, answered, echoed, _) = carrier.read().await;
        assert_eq!(
            (command, answered, echoed),
            (DELIVER_RESP, status, sequence)
        );
    }
}

#[tokio::test]
async fn receipts_are_acknowledged_when_stored_and_enquire_link_at_once() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    let body = deliver(4, RECEIPT);
    carrier
        .write(&[
            (DELIVER, 0, 5, &body),
            (DELIVER, 0, 6, &body),
            (ENQUIRE, 0, 7, b""),
        ])
        .await;
    let first = batch(&mut rig).await;
    assert_eq!(first.receipts.len(), 2, "one read, one batch");
    assert_eq!(&*first.receipts[0].provider_id, b"0A1F");
    assert_eq!(
        first.receipts[0].operator_at,
        Some(UnixMs(1_795_165_260_000))
    );
    // The receipts have not been answered: this is what comes first.
    assert_eq!(carrier.read().await, Pdu(ENQUIRE_RESP, 0, 7, vec![]));
    first.stored.send(()).unwrap();
    assert_eq!(carrier.read().await, Pdu(DELIVER_RESP, 0, 5, vec![0]));
    assert_eq!(carrier.read().await, Pdu(DELIVER_RESP, 0, 6, vec![0]));
    carrier.write(&[(DELIVER, 0, 8, &body)]).await;
    drop(batch(&mut rig).await.stored);
    assert_eq!(
        carrier.read().await,
        Pdu(DELIVER_RESP, 0x64, 8, vec![0]),
        "the carrier sends it again"
    );
    let stopped = tokio::spawn(rig.stop());
    carrier.unbound().await;
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_store_that_takes_nothing_does_not_keep_enquire_link_waiting() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    let body = deliver(4, RECEIPT);
    // One batch fits the channel and nobody takes it; the others wait in the link.
    for sequence in 1..=5 {
        carrier
            .write(&[
                (DELIVER, 0, sequence, &body),
                (ENQUIRE, 0, 100 + sequence, b""),
            ])
            .await;
        assert_eq!(
            carrier.read().await,
            Pdu(ENQUIRE_RESP, 0, 100 + sequence, vec![])
        );
    }
    let mut count = 0;
    while count < 5 {
        let batch = batch(&mut rig).await;
        count += batch.receipts.len();
        batch.stored.send(()).unwrap();
    }
    for sequence in 1..=5 {
        assert_eq!(
            carrier.read().await,
            Pdu(DELIVER_RESP, 0, sequence, vec![0])
        );
    }
    let stopped = tokio::spawn(rig.stop());
    carrier.unbound().await;
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_handsets_message_is_acknowledged_when_it_is_stored_and_not_before() {
    let mut carrier = Carrier::new().await;
    let mut config = carrier.config();
    // Vonage's, which does not send again on 0x64.
    config.retry_status = codecs::smpp::CommandStatus(0x08);
    let mut rig = start(config);
    carrier.bind().await;
    rig.up().await;
    let (hello, nonsense) = (deliver(0, b"hello"), deliver(4, b"\x1b[31m 362d9701?"));
    carrier
        .write(&[(DELIVER, 0, 1, &hello), (DELIVER, 0, 2, &nonsense)])
        .await;
    // Neither waits behind the other.
    let odd = batch(&mut rig).await;
    assert_eq!(odd.unreadable.len(), 1);
    odd.stored.send(()).unwrap();
    assert_eq!(carrier.read().await, Pdu(DELIVER_RESP, 0, 2, vec![0]));
    let batch = timeout(PATIENCE, rig.inbound.recv())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(batch.parts.len(), 1);
    assert_eq!(&*batch.parts[0].octets, b"hello");
    batch.stored.send(()).unwrap();
    assert_eq!(carrier.read().await, Pdu(DELIVER_RESP, 0, 1, vec![0]));

    // A store that refuses drops the sender: the carrier is asked to send it again.
    carrier.write(&[(DELIVER, 0, 3, &hello)]).await;
    drop(timeout(PATIENCE, rig.inbound.recv()).await.unwrap());
    assert_eq!(carrier.read().await, Pdu(DELIVER_RESP, 0x08, 3, vec![0]));
    let stopped = tokio::spawn(rig.stop());
    carrier.unbound().await;
    stopped.await.unwrap();
}

#[tokio::test]
async fn no_answer_in_time_is_unknown_and_a_late_one_is_told() {
    let mut carrier = Carrier::new().await;
    let mut config = carrier.config();
    config.response_timeout = Duration::from_millis(50);
    let mut rig = start(config);
    carrier.bind().await;
    rig.up().await;
    rig.send(attempts(1)).await;
    let sequences = carrier.read_submits(1).await;
    let answers = rig.answers(1).await;
    assert_eq!(answers[&0].result, OutcomeResult::Unknown);
    assert_eq!(answers[&0].reason, Some(Reason::ProviderTimeout));
    carrier
        .write(&[(SUBMIT_RESP, 0, sequences[0], b"77\0")])
        .await;
    let LinkEvent::Late { answers, .. } = rig.event().await else {
        panic!("late")
    };
    assert_eq!(
        (answers[0].token, &*answers[0].outcome.provider_id),
        (0, &b"77"[..])
    );
    assert_eq!(answers[0].outcome.result, OutcomeResult::Accepted);
    let stopped = tokio::spawn(rig.stop());
    carrier.unbound().await;
    let rest = stopped.await.unwrap();
    assert!(
        matches!(&rest[..], [LinkEvent::Down { .. }]),
        "no second answer: {rest:?}"
    );
}

#[tokio::test]
async fn stopping_waits_for_answers_then_unbinds() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    rig.send(attempts(3)).await;
    let sequences = carrier.read_submits(3).await;
    let stopped = tokio::spawn(rig.stop());
    for sequence in sequences {
        carrier.write(&[(SUBMIT_RESP, 0, sequence, b"1\0")]).await;
    }
    carrier.unbound().await;
    let mut accepted = 0;
    for event in stopped.await.unwrap() {
        if let LinkEvent::Answers { answers, .. } = event {
            assert!(
                answers
                    .iter()
                    .all(|a| a.outcome.result == OutcomeResult::Accepted)
            );
            accepted += answers.len();
        }
    }
    assert_eq!(accepted, 3);
}

#[tokio::test]
async fn stopping_gives_up_after_the_drain_time() {
    let mut carrier = Carrier::new().await;
    let mut config = carrier.config();
    config.drain = Duration::from_millis(50);
    let mut rig = start(config);
    carrier.bind().await;
    rig.up().await;
    rig.send(attempts(2)).await;
    carrier.read_submits(2).await;
    let stopped = tokio::spawn(rig.stop());
    carrier.unbound().await;
    let rest = stopped.await.unwrap();
    let LinkEvent::Answers { answers, .. } = &rest[0] else {
        panic!("{rest:?}")
    };
    assert!(
        answers
            .iter()
            .all(|a| a.outcome.result == OutcomeResult::Unknown)
    );
    assert_eq!(answers.len(), 2);
}

#[tokio::test]
async fn a_closed_channel_ends_the_link_after_its_last_answer() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    rig.send(attempts(2)).await;
    let (closed, _) = mpsc::channel(1);
    drop(std::mem::replace(&mut rig.attempts, closed));
    let sequences = carrier.read_submits(2).await;
    let answers: Vec<_> = sequences
        .iter()
        .map(|s| (SUBMIT_RESP, 0, *s, &b"1\0"[..]))
        .collect();
    carrier.write(&answers).await;
    assert_eq!(rig.answers(2).await.len(), 2);
    carrier.unbound().await;
    timeout(PATIENCE, &mut rig.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_status_that_condemns_the_bind_makes_a_new_one() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    rig.send(attempts(2)).await;
    let sequences = carrier.read_submits(2).await;
    // An error without a body is normal; the second submit is still answered.
    carrier
        .write(&[(SUBMIT_RESP, 0x04, sequences[0], b"")])
        .await;
    let answers = rig.answers(1).await;
    assert_eq!(answers[&0].retry, Retry::Here { tries: 3 });
    carrier
        .write(&[(SUBMIT_RESP, 0, sequences[1], b"2\0")])
        .await;
    assert_eq!(rig.answers(1).await[&1].result, OutcomeResult::Accepted);
    let why = rig.down().await;
    assert!(why.contains("ESME_RINVBNDSTS"), "{why}");
    carrier.bind().await;
    rig.up().await;
    let stopped = tokio::spawn(rig.stop());
    carrier.unbound().await;
    stopped.await.unwrap();
}

#[tokio::test]
async fn another_protocol_is_named_and_not_tried_again() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.accept().await;
    carrier
        .stream()
        .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    let why = rig.down().await;
    assert!(
        why.contains("HTTP") && why.contains("not tried again"),
        "{why}"
    );
    rig.send(attempts(1)).await;
    assert_eq!(rig.answers(1).await[&0].result, OutcomeResult::NotSent);
    rig.stop().await;
}

#[tokio::test]
async fn a_dead_link_tells_what_was_and_was_not_sent() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    rig.send(attempts(4)).await;
    let sequences = carrier.read_submits(4).await;
    carrier
        .write(&[(SUBMIT_RESP, 0, sequences[2], b"3\0")])
        .await;
    assert_eq!(rig.answers(1).await[&2].result, OutcomeResult::Accepted);
    carrier.stream = None;
    let answers = rig.answers(3).await;
    assert!(
        answers
            .values()
            .all(|outcome| outcome.result == OutcomeResult::Unknown)
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_carrier_that_unbinds_may_still_answer() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.bind().await;
    rig.up().await;
    rig.send(attempts(2)).await;
    let sequences = carrier.read_submits(2).await;
    carrier.write(&[(UNBIND, 0, 40, b"")]).await;
    assert_eq!(carrier.read().await, Pdu(UNBIND_RESP, 0, 40, vec![]));
    // No bind, no submit: what comes now goes back when the session ends.
    let late = attempt(7, &Arc::new(message("+46701234567", "hi")), 0);
    rig.send(vec![late]).await;
    let answers: Vec<_> = sequences
        .iter()
        .map(|s| (SUBMIT_RESP, 0, *s, &b"1\0"[..]))
        .collect();
    carrier.write(&answers).await;
    let answers = rig.answers(3).await;
    assert_eq!(answers[&7].result, OutcomeResult::NotSent);
    for token in [0, 1] {
        assert_eq!(answers[&token].result, OutcomeResult::Accepted);
    }
    assert!(rig.down().await.contains("the peer unbound"));
    rig.stop().await;
}

#[tokio::test]
async fn a_receiver_takes_no_submits_and_brings_receipts() {
    let mut carrier = Carrier::new().await;
    let mut config = carrier.config();
    config.bind = Binds::Receiver;
    let mut rig = start(config);
    carrier.accept().await;
    let Pdu(command, _, sequence, _) = carrier.read().await;
    assert_eq!(command, 0x01);
    carrier
        .write(&[(0x8000_0001, 0, sequence, b"SMSC\0")])
        .await;
    assert_eq!(rig.up().await, 0);
    carrier
        .write(&[(DELIVER, 0, 3, &deliver(4, RECEIPT))])
        .await;
    batch(&mut rig).await.stored.send(()).unwrap();
    assert_eq!(carrier.read().await, Pdu(DELIVER_RESP, 0, 3, vec![0]));
    let stopped = tokio::spawn(rig.stop());
    carrier.unbound().await;
    stopped.await.unwrap();
}

#[tokio::test]
async fn too_many_binds_is_told() {
    let mut carrier = Carrier::new().await;
    let mut rig = start(carrier.config());
    carrier.accept().await;
    let Pdu(_, _, sequence, _) = carrier.read().await;
    carrier.write(&[(BIND_RESP, 0x05, sequence, b"")]).await;
    let why = rig.down().await;
    assert!(why.contains("ESME_RALYBND"), "{why}");
    rig.stop().await;
}

//! Accept over real sockets: keep-alive, pipelining, streaming both ways, and a clean end.

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;
use crate::accept::patience::{IDLE, UNREAD};

/// A client that asks and never reads is let go, and what it held with it.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_let_go() {
    let rig = Rig::new();
    let (_stopper, stop) = Stopper::new();
    let (mut client, socket) = duplex(1024);
    let began = Instant::now();
    let serving = tokio::spawn(server::connection(socket, rig.gateway.clone(), stop));
    let ask = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n";
    client.write_all(ask.as_bytes()).await.unwrap();
    serving.await.unwrap();
    assert!(began.elapsed() <= UNREAD + Duration::from_secs(1));
    // What the socket had taken, then its end.
    let mut text = Vec::new();
    client.read_to_end(&mut text).await.unwrap();
    assert_eq!(text.len(), 1024);
}

/// What cannot be read is answered, not only closed on; also a client that has closed its side.
#[tokio::test]
async fn octets_that_are_no_request_are_answered() {
    let rig = Rig::new();
    let (_stopper, stop) = Stopper::new();
    let post = "POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer crm-secret\r\nconnection: close\r\n";
    let long = "y".repeat(200_000);
    for (octets, status) in [
        ("NONSENSE\r\n\r\n".to_owned(), "400 "),
        (format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"), "4"),
        (
            format!("GET / HTTP/1.1\r\nhost: x\r\nx: {long}\r\n\r\n"),
            "431 ",
        ),
        (
            format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(500)),
            "431 ",
        ),
        (format!("{post}content-length: x\r\n\r\n{{}}"), "400 "),
        (
            format!("{post}content-length: 1\r\ncontent-length: 2\r\n\r\n{{}}"),
            "400 ",
        ),
        (
            format!("{post}transfer-encoding: chunked\r\n\r\nzz\r\n{{}}"),
            "400 ",
        ),
        (
            format!("{post}content-length: {}\r\n\r\n{HELLO}", HELLO.len()),
            "202 ",
        ),
        (
            format!("{post}transfer-encoding: gzip, chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"),
            "415 ",
        ),
    ] {
        let (mut client, socket) = duplex(1 << 20);
        let serving = tokio::spawn(server::connection(
            socket,
            rig.gateway.clone(),
            stop.clone(),
        ));
        client.write_all(octets.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        serving.await.unwrap();
        let start = &octets[..octets.len().min(40)];
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status}")),
            "{start}: {text}"
        );
        assert!(
            !octets.contains("chunked") || text.contains("problem+json"),
            "{text}"
        );
    }
}

/// A refused request's body is read away: closing on unread octets resets the connection, and the
/// client may lose the answer.
#[tokio::test(start_paused = true)]
async fn a_refusal_reads_the_body_away() {
    let rig = Rig::new();
    let (_stopper, stop) = Stopper::new();
    for (head, status) in [
        ("/v1/nothing HTTP/1.1\r\nhost: x\r\n", 404),
        ("/v1/messages HTTP/1.1\r\nhost: x\r\n", 401),
        (
            "/v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer crm-secret\r\ncontent-type: x/y\r\n",
            415,
        ),
        (
            "/v1/batches?x HTTP/1.1\r\nhost: x\r\nauthorization: Bearer crm-secret\r\n",
            422,
        ),
    ] {
        let (mut client, socket) = duplex(1024);
        let serving = tokio::spawn(server::connection(
            socket,
            rig.gateway.clone(),
            stop.clone(),
        ));
        // It fits neither into the socket nor into what is read ahead.
        let body = vec![b'x'; 1 << 20];
        let head = format!("POST {head}content-length: {}\r\n\r\n", body.len());
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(&body).await.unwrap();
        // The connection is as good as new.
        let next = "GET /v1/nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        client.write_all(next.as_bytes()).await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        serving.await.unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 2, "{text}");
    }
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut octets = length[1..].to_vec();
    octets.extend([kind, flags, 0, 0, 0, stream]);
    octets.extend(payload);
    octets
}

/// Answers pings and settings until the other side closes.
async fn answer_pings(mut client: DuplexStream) {
    let mut head = [0; 9];
    while client.read_exact(&mut head).await.is_ok() {
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if client.read_exact(&mut payload).await.is_err() {
            return;
        }
        let (kind, ack) = (head[3], head[4] & 1 == 1);
        let reply = match kind {
            4 if !ack => frame(4, 1, 0, &[]),
            6 if !ack => frame(6, 1, 0, &payload),
            _ => continue,
        };
        drop(client.write_all(&reply).await);
    }
}

/// Opens HTTP/2 with `settings`, asks once, and answers pings; how long the connection is kept.
async fn kept_over_http2(settings: &[u8]) -> Duration {
    let rig = Rig::new();
    let (_stopper, stop) = Stopper::new();
    let (mut client, socket) = duplex(64 * 1024);
    let began = Instant::now();
    let serving = tokio::spawn(server::connection(socket, rig.gateway.clone(), stop));
    let mut ask = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    ask.extend(frame(4, 0, 0, settings));
    // HEADERS, whole and last: GET, http, :path and :authority as literals (RFC 7541 §6.2.2). What is
    // answered has to fit the connection's own window, which stays at 65,535 (RFC 9113 §6.9.2).
    let fields = b"\x82\x86\x04\x0d/v1/not-there\x01\x01x";
    ask.extend(frame(1, 5, 1, fields));
    client.write_all(&ask).await.unwrap();
    let pings = tokio::spawn(answer_pings(client));
    serving.await.unwrap();
    pings.await.unwrap();
    began.elapsed()
}

/// The same over HTTP/2, where the socket flows and only the stream's window is shut.
#[tokio::test(start_paused = true)]
async fn an_http2_client_that_opens_no_window_is_let_go() {
    // SETTINGS_INITIAL_WINDOW_SIZE (4) = 0.
    let took = kept_over_http2(&[0, 4, 0, 0, 0, 0]).await;
    assert!(took >= UNREAD && took <= 2 * UNREAD, "{took:?}");
}

/// A client that has read its answer and asks nothing more is let go as well, if much later.
#[tokio::test(start_paused = true)]
async fn an_idle_http2_connection_is_closed() {
    // SETTINGS_INITIAL_WINDOW_SIZE (4) = 1 MiB.
    let took = kept_over_http2(&[0, 4, 0, 16, 0, 0]).await;
    assert!(took >= IDLE && took <= 2 * IDLE, "{took:?}");
}

/// An idle HTTP/1.1 connection has the time of a head.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let rig = Rig::new();
    let (_stopper, stop) = Stopper::new();
    let (mut client, socket) = duplex(64 * 1024);
    let began = Instant::now();
    let serving = tokio::spawn(server::connection(socket, rig.gateway.clone(), stop));
    let ask = "GET /v1/nothing HTTP/1.1\r\nhost: x\r\n\r\n";
    client.write_all(ask.as_bytes()).await.unwrap();
    serving.await.unwrap();
    assert!(began.elapsed() <= IDLE, "{:?}", began.elapsed());
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 404 "), "{text}");
}

/// Results come while the body is still being sent; and a client that reads nothing until it has sent
/// everything is served as well (above).
#[tokio::test]
async fn results_stream_back_while_the_body_is_open() {
    use tokio::io::{AsyncBufReadExt, BufReader};

    let rig = Rig::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stopper, stop) = Stopper::new();
    let gateway = rig.gateway.clone();
    let server = tokio::spawn(async move { serve(&config(), gateway, listener, stop).await });
    let mut socket = BufReader::new(tokio::net::TcpStream::connect(address).await.unwrap());
    let head = "POST /v1/batches HTTP/1.1\r\nhost: x\r\nauthorization: Bearer crm-secret\r\n\
        content-type: application/x-ndjson\r\naccept: application/x-ndjson\r\n\
        transfer-encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{HELLO}\n\r\n", HELLO.len() + 1);
    socket
        .write_all(format!("{head}{chunk}").as_bytes())
        .await
        .unwrap();
    let mut lines = socket.lines();
    let mut results = 0;
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.contains("\"status\":202") {
            results += 1;
            let more = if results < 3 { &chunk } else { "0\r\n\r\n" };
            lines.get_mut().write_all(more.as_bytes()).await.unwrap();
        }
        if line.contains("\"summary\"") {
            assert!(line.contains("\"accepted\":3"), "{line}");
            break;
        }
    }
    assert_eq!(results, 3);
    drop(lines);
    stopper.stop();
    server.await.unwrap().unwrap();
    assert!(stopper.finished(Duration::from_secs(5)).await.is_empty());
}

/// Bytes over a real socket: HTTP/1.1 kept alive and pipelined, answered in order, and a clean end.
#[tokio::test]
async fn the_server_speaks_http_on_a_socket() {
    let rig = Rig::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stopper, stop) = Stopper::new();
    let gateway = rig.gateway.clone();
    let server = tokio::spawn(async move { serve(&config(), gateway, listener, stop).await });
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let one = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer crm-secret\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{HELLO}",
        HELLO.len()
    );
    let last = "GET /v1/nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let all = format!("{one}{one}{last}");
    socket.write_all(all.as_bytes()).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    assert_eq!(text.matches("HTTP/1.1 202").count(), 2);
    assert!(text.contains("HTTP/1.1 404") && text.contains("trunkline-request-id: req_"));
    stopper.stop();
    server.await.unwrap().unwrap();
    assert!(stopper.finished(Duration::from_secs(5)).await.is_empty());
}

//! Accept over real sockets: keep-alive, pipelining, streaming both ways, and a clean end.

use super::*;

/// Results come while the body is still being sent; and a client that reads nothing until it has sent
/// everything is served as well (above).
#[tokio::test]
async fn results_stream_back_while_the_body_is_open() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

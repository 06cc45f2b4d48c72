//! A gateway of a few lines, for the clients' tests: raw HTTP, each third answer a refusal.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Starts it on the test's runtime, which ends it.
pub(crate) async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    addr
}

/// 202, or 429 for each third message by its order number.
fn verdict(message: &Value) -> u16 {
    let order: u64 = message["metadata"]["order"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    if order % 3 == 2 { 429 } else { 202 }
}

async fn serve(mut stream: TcpStream) {
    let mut input = Vec::new();
    loop {
        let Some(end) = input.windows(4).position(|octets| octets == b"\r\n\r\n") else {
            if stream.read_buf(&mut input).await.unwrap() == 0 {
                return;
            }
            continue;
        };
        let head = String::from_utf8(input.drain(..end + 4).collect()).unwrap();
        if head.contains("transfer-encoding: chunked") {
            return stream_results(stream, input).await;
        }
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        while input.len() < length {
            stream.read_buf(&mut input).await.unwrap();
        }
        let body: Vec<u8> = input.drain(..length).collect();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let (status, answer) = match body["messages"].as_array() {
            None => (verdict(&body), json!({"id": "msg_1"})),
            Some(messages) => {
                let results: Vec<Value> = messages
                    .iter()
                    .enumerate()
                    .map(|(index, message)| json!({"index": index, "status": verdict(message)}))
                    .collect();
                (200, json!({"id": "bat_1", "results": results}))
            }
        };
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all((head + &answer).as_bytes()).await.unwrap();
    }
}

/// Answers each line as it comes; every other read in one chunk with half a line of the next.
async fn stream_results(mut stream: TcpStream, mut input: Vec<u8>) {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut index = 0;
    let mut results = String::new();
    loop {
        while let Some(end) = input.iter().position(|octet| *octet == b'\n') {
            let line: Vec<u8> = input.drain(..=end).collect();
            if let Ok(message @ Value::Object(_)) = serde_json::from_slice::<Value>(&line) {
                results += &json!({"index": index, "status": verdict(&message)}).to_string();
                results.push('\n');
                index += 1;
            } else if line == b"0\r\n" {
                results += "{\"summary\":{}}\n";
                let last = format!("{:x}\r\n{results}\r\n0\r\n\r\n", results.len());
                stream.write_all(last.as_bytes()).await.unwrap();
                return;
            }
        }
        let half: String = results.drain(..results.len() / 2).collect();
        if !half.is_empty() {
            let chunk = format!("{:x}\r\n{half}\r\n", half.len());
            stream.write_all(chunk.as_bytes()).await.unwrap();
        }
        stream.read_buf(&mut input).await.unwrap();
    }
}

//! Hostile HTTP: garbage, oversized and endless requests are refused, and nobody else notices.

use std::net::SocketAddr;

use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use trunkline_tests::config::KEY;
use trunkline_tests::scene::number;
use trunkline_tests::{SOON, Scene, message};

/// Sends octets and returns what comes back before the other side closes.
async fn raw(addr: SocketAddr, octets: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let mut answer = Vec::new();
    let exchange = async {
        // It may close before it has read all: then there is only its answer to read.
        drop(stream.write_all(octets).await);
        drop(stream.shutdown().await);
        drop(stream.read_to_end(&mut answer).await);
    };
    tokio::time::timeout(SOON, exchange)
        .await
        .expect("it neither answers nor closes");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused_and_others_are_served() {
    let scene = Scene::plain("hostile").await.unwrap();
    let addr = scene.gateway.api;
    let huge = format!(
        "GET /v1/messages HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "y".repeat(1 << 20)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nhost: a\r\n{}\r\n",
        "x: y\r\n".repeat(10_000)
    );
    let smuggled = "POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\
        transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/routes HTTP/1.1\r\n\r\n";
    for octets in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\x10\0\0\0\x15\0\0\0\0\0\0\0\x01",
        &[0xFF; 4_096],
        b"NONSENSE\r\n\r\n",
        b"GET /v1/messages HTTP/9.9\r\nhost: a\r\n\r\n",
        huge.as_bytes(),
        many.as_bytes(),
        smuggled.as_bytes(),
    ] {
        let answer = raw(addr, octets).await;
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused, "{:?}: {answer}", &octets[..octets.len().min(40)]);
    }
    let id = scene.send(&message(&number(1), "still here")).await;
    scene.status(&id, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_too_deep_is_told_in_a_problem() {
    let scene = Scene::plain("oversized").await.unwrap();
    let json = [("content-type", "application/json")];
    let large = format!(
        "{{\"to\":\"+46700000155\",\"text\":\"{}\"}}",
        "x".repeat(300 << 10)
    );
    let deep = "[".repeat(100_000);
    let long_item = message(&number(1), &"x".repeat(70_000));
    for (path, body, expected) in [
        ("/v1/messages", large, 413),
        ("/v1/messages", deep.clone(), 400),
        ("/v1/batches", deep, 400),
        ("/v1/messages", "{\"to\":".into(), 400),
        ("/v1/messages", "\u{0}".into(), 400),
    ] {
        let answer = scene
            .client
            .request(Method::POST, path, &json, body)
            .await
            .unwrap();
        assert_eq!(answer.status, expected, "{path}: {}", answer.json());
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert!(answer.json()["code"].is_string() && answer.json()["request_id"].is_string());
    }
    let batch = serde_json::json!({"messages": [long_item, message(&number(2), "fits")]});
    let answer = scene
        .client
        .post("/v1/batches", &batch)
        .await
        .unwrap()
        .json();
    assert_ne!(answer["results"][0]["status"], 202);
    assert_eq!(answer["results"][1]["status"], 202);
    let wrong = scene
        .client
        .with_key("wrong")
        .get("/v1/messages")
        .await
        .unwrap();
    assert_eq!(wrong.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_bodies_hold_nobody_up() {
    let scene = Scene::plain("slow").await.unwrap();
    let mut open = Vec::new();
    for n in 0..200 {
        let mut stream = TcpStream::connect(scene.gateway.api).await.unwrap();
        let head = match n % 2 {
            0 => "POST /v1/messages HTTP/1.1\r\nhost: a\r\nx-slow".to_owned(),
            _ => format!(
                "POST /v1/messages HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n\
                 content-type: application/json\r\ncontent-length: 200000\r\n\r\n{{\"to\":"
            ),
        };
        stream.write_all(head.as_bytes()).await.unwrap();
        open.push(stream);
    }
    for n in 0..20 {
        let id = scene.send(&message(&number(n), "not held up")).await;
        scene.status(&id, "delivered").await;
    }
    // A body that does not come is given up: the gateway answers or closes by itself.
    let mut waiting = open.pop().unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(SOON, waiting.read_to_end(&mut answer)).await;
    assert!(ended.is_ok(), "a body that does not come is waited for");
}

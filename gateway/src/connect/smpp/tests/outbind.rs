//! Outbind: who is listened to, who is not, and what comes over the bind that follows.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::raw::{Carrier, DELIVER, DELIVER_RESP, Pdu, RECEIPT, batch, deliver};
use super::*;
use crate::link::Carries;

const OUTBIND: u32 = 0x0B;
const BIND_RX: u32 = 0x01;

/// A link that listens for one carrier, and where.
fn listening(allow: &str) -> (Rig, std::net::SocketAddr) {
    let listen = Listen {
        listen: "127.0.0.1:0".parse().unwrap(),
        allow: vec![allow.parse().unwrap()],
        system_id: "smsc-a".into(),
        password: Password("knock".into()),
    };
    let (outbinds, calls) = Outbinds::new("carrier-a", listen).unwrap();
    let address = outbinds.address().unwrap();
    let mut rig = start_with(
        Arc::new(config("127.0.0.1:1")),
        0,
        Seat::Called,
        Some(calls),
    );
    let (stopper, stop) = Stopper::new();
    rig.outbinds = Some((stopper, tokio::spawn(outbinds.run(Clock::system(), stop))));
    (rig, address)
}

/// The carrier's side: connects and says this.
async fn call(to: std::net::SocketAddr, command: u32, body: &[u8]) -> Carrier {
    let mut carrier = Carrier::over(TcpStream::connect(to).await.unwrap()).await;
    carrier.write(&[(command, 0, 1, body)]).await;
    carrier
}

#[tokio::test]
async fn a_carrier_that_calls_is_bound_to_and_its_receipts_come() {
    let (mut rig, address) = listening("127.0.0.0/8");
    for _ in 0..2 {
        assert!(matches!(rig.event().await, LinkEvent::Listening { .. }));
        let mut carrier = call(address, OUTBIND, b"smsc-a\0knock\0").await;
        assert_eq!(carrier.answer_bind(0).await, BIND_RX);
        match rig.event().await {
            LinkEvent::Up {
                carries,
                window,
                peer,
                ..
            } => {
                assert_eq!((carries, window), (Carries::Receipts, 0));
                assert!(peer.starts_with("outbind 127.0.0.1:"), "{peer}");
            }
            other => panic!("{other:?}"),
        }
        carrier
            .write(&[(DELIVER, 0, 3, &deliver(4, RECEIPT))])
            .await;
        batch(&mut rig).await.stored.send(()).unwrap();
        assert_eq!(carrier.read().await, Pdu(DELIVER_RESP, 0, 3, vec![0]));
        // When it has gone, the next call is taken at once.
        drop(carrier);
        rig.down().await;
    }
    rig.stop().await;
}

#[tokio::test]
async fn strangers_are_not_bound_to() {
    let (mut rig, address) = listening("127.0.0.0/8");
    assert!(matches!(rig.event().await, LinkEvent::Listening { .. }));
    let long = [b'x'; 2_000];
    let wrong: [(u32, &[u8]); 5] = [
        (OUTBIND, b"smsc-a\0wrong\0"),
        (OUTBIND, b"smsc-b\0knock\0"),
        (OUTBIND, b""),
        (0x09, b"smsc-a\0knock\0\0\x34\0\0\0"),
        (OUTBIND, &long),
    ];
    // All at once: each is held for a moment.
    let mut ended = tokio::task::JoinSet::new();
    for (command, body) in wrong {
        let mut carrier = call(address, command, body).await;
        ended.spawn(async move {
            let mut octets = Vec::new();
            // An end or a reset; in neither case a bind.
            drop(carrier.stream().read_to_end(&mut octets).await);
            octets
        });
    }
    let mut http = TcpStream::connect(address).await.unwrap();
    http.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    ended.spawn(async move {
        let mut octets = Vec::new();
        drop(http.read_to_end(&mut octets).await);
        octets
    });
    while let Some(octets) = timeout(PATIENCE, ended.join_next()).await.unwrap() {
        assert!(
            octets.unwrap().is_empty(),
            "something was said to a stranger"
        );
    }
    // The right one is still listened to.
    let mut carrier = call(address, OUTBIND, b"smsc-a\0knock\0").await;
    assert_eq!(carrier.answer_bind(0).await, BIND_RX);
    rig.up().await;
    rig.stop().await;
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_closed_unheard() {
    let (rig, address) = listening("192.0.2.0/24");
    let mut stream = TcpStream::connect(address).await.unwrap();
    // Without a word of ours: it need not even ask.
    let end = timeout(PATIENCE, stream.read(&mut [0; 16])).await.unwrap();
    assert_eq!(end.unwrap_or(0), 0);
    rig.stop().await;
}

//! The SMSC does what its faults say: seen by an ESME over TCP.
#![expect(clippy::unwrap_used, reason = "a test's helper functions")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use codecs::smpp::session::{CloseReason, Esme as As};
use codecs::smpp::{Address, BindKind, CommandStatus, Config, DeliverSm, Event, Session, SubmitSm};
use sim::smsc::{ErrorShare, Faults, IdForm, ReceiptId, Receipts, Send, Smsc, SmscConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for something that has to come.
const PATIENCE: Duration = Duration::from_secs(10);

struct Esme {
    stream: TcpStream,
    session: Session,
    waiting: VecDeque<Event>,
    token: u64,
}

impl Esme {
    async fn connect(smsc: &Smsc, kind: BindKind) -> Self {
        let mut config = Config::esme(As::new(kind, b"acme", b"secret"));
        config.window = 1_000;
        let session = Session::new(config, Instant::now()).unwrap();
        let stream = TcpStream::connect(smsc.addr()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            session,
            waiting: VecDeque::new(),
            token: 0,
        }
    }

    async fn bind(smsc: &Smsc, kind: BindKind) -> Self {
        let mut esme = Self::connect(smsc, kind).await;
        assert!(matches!(esme.next().await, Event::Bound { .. }));
        esme
    }

    fn submit(&mut self, dest: &[u8], text: &[u8]) -> u64 {
        self.token += 1;
        let sm = SubmitSm {
            source: Address {
                ton: 5,
                npi: 0,
                addr: b"Trunkline",
            },
            dest: Address {
                ton: 1,
                npi: 1,
                addr: dest,
            },
            registered_delivery: 1,
            short_message: text,
            ..SubmitSm::default()
        };
        self.session
            .submit(Instant::now(), self.token, &sm)
            .unwrap();
        self.token
    }

    /// The next event; receipts are acknowledged on the way.
    async fn next(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.pump())
            .await
            .expect("an event")
    }

    async fn pump(&mut self) -> Event {
        let mut out = BytesMut::new();
        loop {
            while let Some(event) = self.session.poll_event() {
                if let Event::Delivered { reply, .. } = event {
                    self.session.respond_deliver(reply, CommandStatus::OK);
                }
                self.waiting.push_back(event);
            }
            if self.session.poll_transmit(&mut out) {
                self.stream.write_all(&out).await.unwrap();
                out.clear();
            }
            if let Some(event) = self.waiting.pop_front() {
                return event;
            }
            let now = Instant::now();
            match self.stream.read_buf(self.session.read_buffer()).await {
                Ok(0) | Err(_) => self.session.handle_eof(now),
                Ok(_) => self.session.handle_read(now),
            }
        }
    }

    async fn answer(&mut self) -> (u64, CommandStatus, String) {
        match self.next().await {
            Event::Answered(answer) => {
                let id = String::from_utf8(answer.message_id.to_vec()).unwrap();
                (answer.token, answer.status, id)
            }
            other => panic!("{other:?}"),
        }
    }

    async fn receipt<T>(&mut self, read: impl FnOnce(&DeliverSm<'_>) -> T) -> T {
        match self.next().await {
            Event::Delivered { frame, .. } => read(&frame.deliver_sm().unwrap().0),
            other => panic!("{other:?}"),
        }
    }

    /// Silence: nothing comes before the answer to the next enquiry of ours, which is another
    /// submit's answer.
    async fn settled(&mut self) {
        let token = self.submit(b"447700900007", b"settled?");
        assert_eq!(self.answer().await.0, token);
    }
}

async fn start(faults: Faults) -> Smsc {
    Smsc::start(SmscConfig {
        faults,
        last_max: 100,
        ..SmscConfig::default()
    })
    .await
    .unwrap()
}

fn receipts(receipts: Receipts) -> Faults {
    Faults {
        receipts,
        ..Faults::default()
    }
}

fn id_of(sm: &DeliverSm<'_>) -> String {
    String::from_utf8(sm.tlvs.receipted_message_id().unwrap().to_vec()).unwrap()
}

fn text_of(sm: &DeliverSm<'_>) -> String {
    String::from_utf8(sm.short_message.to_vec()).unwrap()
}

#[tokio::test]
async fn duplicates_and_parts_are_counted_by_destination_text_and_part() {
    let smsc = start(receipts(Receipts {
        send: Send::Off,
        ..Receipts::default()
    }))
    .await;
    let mut esme = Esme::bind(&smsc, BindKind::Transceiver).await;
    for (dest, text) in [("4477", "a"), ("4477", "b"), ("4478", "a"), ("4477", "a")] {
        esme.submit(dest.as_bytes(), text.as_bytes());
        assert_eq!(esme.answer().await.1, CommandStatus::OK);
    }
    let report = smsc.report();
    assert_eq!((report.submits, report.accepted), (4, 4));
    assert_eq!((report.unique, report.duplicates), (3, 1));
    assert_eq!(report.duplicate_keys.len(), 1);
    let seen = smsc.messages();
    assert_eq!(seen.len(), 4);
    assert_eq!(
        (seen[3].dest.2.as_str(), &seen[3].short_message[..]),
        ("4477", &b"a"[..])
    );
    assert_eq!(seen[3].key, seen[0].key);
    assert_eq!(seen[0].message_id, "1000000000");
    let parts: [&[u8]; 3] = [
        b"\x05\0\x03\x07\x02\x01one",
        b"\x05\0\x03\x07\x02\x02two",
        b"x",
    ];
    for text in parts {
        let udhi = if text.len() > 1 { 0x40 } else { 0 };
        let dest = Address {
            ton: 1,
            npi: 1,
            addr: b"4479",
        };
        let sm = SubmitSm {
            dest,
            esm_class: udhi,
            short_message: text,
            ..SubmitSm::default()
        };
        esme.session.submit(Instant::now(), 0, &sm).unwrap();
        assert_eq!(esme.answer().await.1, CommandStatus::OK);
    }
    drop(esme);
    let report = smsc.stop().await;
    assert_eq!(
        report.parts.into_iter().collect::<Vec<_>>(),
        [(0, 5), (1, 1), (2, 1)]
    );
    assert_eq!((report.binds, report.binds_now), (1, 0));
}

#[tokio::test]
async fn destinations_decide_the_fate() {
    let smsc = start(Faults::default()).await;
    let mut esme = Esme::bind(&smsc, BindKind::Transceiver).await;
    let cases = [
        ("447700900001", "UNDELIV err:001", 5),
        ("447700900003", "EXPIRED err:003", 3),
        ("447700900004", "REJECTD err:004", 8),
        ("447700900005", "DELETED err:005", 4),
        ("447700900006", "UNKNOWN err:006", 7),
        ("447700900123", "DELIVRD err:000", 2),
    ];
    for (dest, stat, state) in cases {
        esme.submit(dest.as_bytes(), b"Hello there, this is longer than twenty");
        let (_, status, id) = esme.answer().await;
        assert_eq!(status, CommandStatus::OK);
        let (text, found, dest_back) = esme
            .receipt(|sm| {
                assert_eq!((sm.esm_class, id_of(sm)), (0x04, id.clone()));
                let dest_back = String::from_utf8(sm.source.addr.to_vec()).unwrap();
                (text_of(sm), sm.tlvs.message_state(), dest_back)
            })
            .await;
        assert!(
            text.starts_with(&format!("id:{id} sub:001 dlvrd:")),
            "{text}"
        );
        assert!(
            text.ends_with(&format!("stat:{stat} text:Hello there, this is")),
            "{text}"
        );
        assert_eq!((found, dest_back.as_str()), (Some(state), dest));
    }
    for (dest, status) in [("4400002", 0x0B), ("4400009", 0x45), ("4400007", 0)] {
        esme.submit(dest.as_bytes(), b"x");
        assert_eq!(esme.answer().await.1, CommandStatus(status));
    }
    esme.submit(b"4400008", b"never answered");
    esme.settled().await;
    assert_eq!((esme.session.in_flight(), smsc.report().silent), (1, 1));
    let report = smsc.report();
    assert_eq!(
        (
            report.receipts_sent,
            report.receipts_acked,
            report.receipts_unacked
        ),
        (6, 6, 0)
    );
    assert_eq!(report.rejected, 2);
}

#[tokio::test]
async fn contract_is_enforced_per_second_and_violations_counted() {
    let faults = Faults {
        per_second: Some(5),
        ..receipts(Receipts {
            send: Send::Off,
            ..Receipts::default()
        })
    };
    let smsc = start(faults).await;
    let mut esme = Esme::bind(&smsc, BindKind::Transmitter).await;
    for number in 0..30 {
        esme.submit(b"4477", format!("{number}").as_bytes());
    }
    let mut throttled = 0;
    for _ in 0..30 {
        throttled += u64::from(esme.answer().await.1 == CommandStatus::THROTTLED);
    }
    let report = smsc.report();
    // A second may end in between, no more than one.
    assert!((20..=25).contains(&throttled), "{throttled}");
    assert_eq!(
        (report.throttled, report.contract_violations),
        (throttled, throttled)
    );
    assert!(report.max_per_second > 5);
}

#[tokio::test]
async fn receipts_come_doubled_before_the_response_and_in_the_other_base() {
    let smsc = start(receipts(Receipts {
        before_response: true,
        doubled: true,
        id: ReceiptId::OtherBase,
        without_text: true,
        ..Receipts::default()
    }))
    .await;
    let mut esme = Esme::bind(&smsc, BindKind::Transceiver).await;
    esme.submit(b"4477", b"x");
    for _ in 0..2 {
        let (id, text) = esme.receipt(|sm| (id_of(sm), text_of(sm))).await;
        assert_eq!((id.as_str(), text.as_str()), ("3b9aca00", ""));
    }
    assert_eq!(esme.answer().await.2, "1000000000");
}

#[tokio::test]
async fn receipts_come_on_another_bind_and_in_another_case() {
    let config = SmscConfig {
        ids: IdForm::Hex,
        faults: receipts(Receipts {
            other_bind: true,
            id: ReceiptId::UpperCase,
            delay_ms: 1,
            jitter_ms: 5,
            ..Receipts::default()
        }),
        ..SmscConfig::default()
    };
    let smsc = Smsc::start(config).await.unwrap();
    let mut receiver = Esme::bind(&smsc, BindKind::Receiver).await;
    let mut sender = Esme::bind(&smsc, BindKind::Transmitter).await;
    sender.submit(b"4477", b"x");
    assert_eq!(sender.answer().await.2, "3b9aca00");
    assert_eq!(receiver.receipt(id_of).await, "3B9ACA00");
}

#[tokio::test]
async fn shares_of_errors_and_delays_hold_and_change_live() {
    let errors = vec![
        ErrorShare {
            status: 0x58,
            share: 0.5,
        },
        ErrorShare {
            status: 0x14,
            share: 0.5,
        },
    ];
    let smsc = start(Faults {
        errors,
        delay_ms: 1,
        jitter_ms: 3,
        ..Faults::default()
    })
    .await;
    let mut esme = Esme::bind(&smsc, BindKind::Transceiver).await;
    for _ in 0..200 {
        esme.submit(b"4477", b"x");
    }
    let mut throttled = 0;
    for _ in 0..200 {
        let (_, status, _) = esme.answer().await;
        assert!(status == CommandStatus::THROTTLED || status == CommandStatus::QUEUE_FULL);
        throttled += u64::from(status == CommandStatus::THROTTLED);
    }
    assert!(
        (60..=140).contains(&throttled),
        "{throttled} of 200 at a share of one half"
    );
    assert_eq!(
        (smsc.report().accepted, smsc.report().throttled),
        (0, throttled)
    );
    smsc.set(receipts(Receipts {
        send: Send::Off,
        ..Receipts::default()
    }));
    loop {
        // The connection takes the change up with its next turn.
        esme.submit(b"4477", b"x");
        if esme.answer().await.1.is_ok() {
            break;
        }
    }
}

#[tokio::test]
async fn connection_is_cut_after_so_many_submits() {
    let smsc = start(Faults {
        disconnect_every: Some(3),
        ..Faults::default()
    })
    .await;
    let mut esme = Esme::bind(&smsc, BindKind::Transmitter).await;
    for token in 1..=2 {
        esme.submit(b"4400007", b"x");
        assert_eq!(esme.answer().await.0, token);
    }
    let last = esme.submit(b"4400007", b"x");
    assert_eq!(
        esme.next().await,
        Event::Lost {
            unknown: vec![last],
            unsent: vec![]
        }
    );
    assert_eq!(esme.next().await, Event::Closed(CloseReason::Eof));
    // The counts are entered before the connection ends.
    assert_eq!((smsc.report().disconnects, smsc.report().accepted), (1, 3));
}

#[tokio::test]
async fn half_open_connection_is_silent_until_cut() {
    let smsc = start(Faults::default()).await;
    let mut esme = Esme::bind(&smsc, BindKind::Transmitter).await;
    smsc.set(Faults {
        half_open: true,
        ..Faults::default()
    });
    // Until the change is taken up, answers may come; then none does.
    let silent = loop {
        let token = esme.submit(b"4400007", b"x");
        let answer = tokio::time::timeout(Duration::from_millis(300), esme.pump()).await;
        if answer.is_err() {
            break token;
        }
    };
    smsc.disconnect_all();
    assert_eq!(
        esme.next().await,
        Event::Lost {
            unknown: vec![silent],
            unsent: vec![]
        }
    );
    assert_eq!(esme.next().await, Event::Closed(CloseReason::Eof));
}

#[tokio::test]
async fn binds_are_refused_by_fault_name_and_password() {
    let account = Some(("acme".into(), "other".into()));
    let smsc = Smsc::start(SmscConfig {
        account,
        ..SmscConfig::default()
    })
    .await
    .unwrap();
    let mut esme = Esme::connect(&smsc, BindKind::Transmitter).await;
    let status = CommandStatus::INVALID_PASSWORD;
    assert_eq!(esme.next().await, Event::BindRefused { status });
    let refuse_binds = Some(0x0D);
    let smsc = start(Faults {
        refuse_binds,
        ..Faults::default()
    })
    .await;
    let mut esme = Esme::connect(&smsc, BindKind::Transmitter).await;
    let status = CommandStatus::BIND_FAILED;
    assert_eq!(esme.next().await, Event::BindRefused { status });
    assert_eq!(
        esme.next().await,
        Event::Closed(CloseReason::BindRefused(status))
    );
}

#[tokio::test]
async fn stop_unbinds() {
    let smsc = start(Faults::default()).await;
    let mut esme = Esme::bind(&smsc, BindKind::Transceiver).await;
    let stop = tokio::spawn(smsc.stop());
    assert_eq!(esme.next().await, Event::PeerUnbind);
    assert_eq!(esme.next().await, Event::Closed(CloseReason::PeerUnbound));
    assert_eq!(stop.await.unwrap().binds_now, 0);
}

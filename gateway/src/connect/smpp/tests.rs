//! Links against the simulated SMSC, and (in `raw`) against octets written by hand.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use sim::smsc::{ErrorShare, Faults, Smsc, SmscConfig};
use smallvec::smallvec;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::clock::UnixMs;
use crate::message::{
    Class, Encoding, FailoverOn, Message, MessageId, OnAmbiguous, Phone, Priority, RouteIx,
    TenantIx, Texts,
};
use crate::outcome::{Answer, Attempt, Form, Outcome, OutcomeResult, Reason, ReceiptState, Retry};
use crate::stop::Stopper;

mod binds;
mod crowd;
mod outbind;
mod raw;
mod resume;
mod seen;
mod silence;
mod told;
mod ways;

/// Longest that any step of a test may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A link under test and the other ends of its channels.
struct Rig {
    attempts: mpsc::Sender<Vec<Attempt>>,
    events: mpsc::Receiver<LinkEvent>,
    receipts: mpsc::Receiver<ReceiptBatch>,
    inbound: mpsc::Receiver<InboundBatch>,
    stopper: Stopper,
    task: JoinHandle<()>,
    late: Vec<Answer>,
    /// Its listener for outbind, if it has one.
    outbinds: Option<(Stopper, JoinHandle<()>)>,
}

fn config(address: impl ToString) -> Config {
    let hosts = vec![address.to_string()];
    Config::new(RouteIx(3), "carrier-a", hosts, "acme", "secret")
}

fn start(config: Config) -> Rig {
    start_at(Arc::new(config), 0, Seat::Main)
}

/// One of the links of an account.
fn start_at(config: Arc<Config>, host: usize, seat: Seat) -> Rig {
    start_with(config, host, seat, None)
}

fn start_with(config: Arc<Config>, host: usize, seat: Seat, calls: Option<Calls>) -> Rig {
    let (attempts, to_send) = mpsc::channel(64);
    let (events, seen) = mpsc::channel(64);
    let (inbound, handsets) = mpsc::channel(64);
    let (receipts, stored) = mpsc::channel(1);
    let (stopper, stop) = Stopper::new();
    let ends = Ends {
        link: LinkIx(0),
        host,
        seat,
        calls,
        attempts: to_send,
        events,
        receipts,
        inbound,
    };
    let task = tokio::spawn(run(config, ends, Clock::system(), stop));
    Rig {
        attempts,
        events: seen,
        receipts: stored,
        inbound: handsets,
        stopper,
        task,
        late: Vec::new(),
        outbinds: None,
    }
}

impl Rig {
    async fn event(&mut self) -> LinkEvent {
        timeout(PATIENCE, self.events.recv())
            .await
            .unwrap()
            .unwrap()
    }

    async fn up(&mut self) -> usize {
        match self.event().await {
            LinkEvent::Up { window, .. } => window,
            other => panic!("{other:?}"),
        }
    }

    async fn down(&mut self) -> String {
        self.falls().await.0
    }

    /// Why it goes down, and what follows.
    async fn falls(&mut self) -> (String, Then) {
        loop {
            if let LinkEvent::Down { why, then, .. } = self.event().await {
                return (why, then);
            }
        }
    }

    /// So many answers, by token; a second one for a token fails.
    async fn answers(&mut self, count: usize) -> HashMap<u64, Outcome> {
        let mut all = HashMap::new();
        while all.len() < count {
            match self.event().await {
                LinkEvent::Answers { answers, .. } => {
                    for answer in answers {
                        assert!(all.insert(answer.token, answer.outcome).is_none());
                    }
                }
                LinkEvent::Late { answers, .. } => self.late.extend(answers),
                LinkEvent::Up { .. }
                | LinkEvent::Down { .. }
                | LinkEvent::Window { .. }
                | LinkEvent::Unused { .. }
                | LinkEvent::Refusing { .. }
                | LinkEvent::TakesAgain
                | LinkEvent::Listening { .. } => {}
            }
        }
        all
    }

    async fn send(&self, attempts: Vec<Attempt>) {
        self.attempts.send(attempts).await.unwrap();
    }

    /// Stops, and fails if anything is told twice or left.
    async fn stop(mut self) -> Vec<LinkEvent> {
        // What waits for a store that is gone is refused, and need not be awaited.
        drop((self.receipts, self.inbound));
        self.stopper.stop();
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
        assert!(self.stopper.left().is_empty());
        if let Some((stopper, task)) = self.outbinds {
            stopper.stop();
            timeout(PATIENCE, task).await.unwrap().unwrap();
        }
        let mut rest = Vec::new();
        while let Some(event) = self.events.recv().await {
            rest.push(event);
        }
        rest
    }
}

pub(super) fn message(to: &str, text: &str) -> Message {
    let plan = codecs::text::plan(text, codecs::text::Options::default()).unwrap();
    Message {
        id: MessageId(1),
        tenant: TenantIx(0),
        to: Phone::parse(to).unwrap(),
        class: Class::Transactional,
        priority: Priority::Normal,
        on_ambiguous: OnAmbiguous::Retry,
        failover_on: FailoverOn::ALL,
        encoding: match plan.encoding {
            codecs::text::Encoding::Gsm7 => Encoding::Gsm7,
            codecs::text::Encoding::Ucs2 => Encoding::Ucs2,
            codecs::text::Encoding::Latin1 => Encoding::Latin1,
        },
        segments: plan.segments,
        concat_ref: 0x5A,
        sms: None,
        policy: crate::message::Policy::default(),
        callback: None,
        batch: None,
        accepted_at: UnixMs(1),
        expires_at: Clock::system().now().plus(Duration::from_secs(7_200 + 30)),
        routes: smallvec![RouteIx(3)],
        steps: None,
        texts: Texts::pack(["ACME", text, "", "", "", "", "", "", "", ""]).unwrap(),
    }
}

fn attempt(token: u64, message: &Arc<Message>, part: u8) -> Attempt {
    Attempt {
        token,
        message: message.clone(),
        part,
        form: Form::default(),
    }
}

/// Attempts with tokens 0 to `count` - 1, each to a number of its own.
fn attempts(count: u64) -> Vec<Attempt> {
    (0..count)
        .map(|token| {
            let to = format!("+4670{:06}1234", token + 1);
            attempt(token, &Arc::new(message(&to, "hello")), 0)
        })
        .collect()
}

async fn smsc(faults: Faults) -> Smsc {
    let config = SmscConfig {
        account: Some(("acme".into(), "secret".into())),
        last_max: 10_000,
        faults,
        ..SmscConfig::default()
    };
    Smsc::start(config).await.unwrap()
}

#[tokio::test]
async fn messages_go_out_as_the_carrier_wants_them() {
    let smsc = smsc(Faults::default()).await;
    let mut rig = start(config(smsc.addr()));
    assert_eq!(rig.up().await, 10);
    let plain = Arc::new(message("+46701234567", "hello @ 5 €"));
    let mut ucs2 = message("+46701234568", "привет");
    ucs2.priority = Priority::High;
    let long = Arc::new(message("+46701234569", &"x".repeat(200)));
    rig.send(vec![
        attempt(7, &plain, 0),
        attempt(8, &Arc::new(ucs2), 0),
        attempt(9, &long, 0),
        attempt(10, &long, 1),
    ])
    .await;
    let answers = rig.answers(4).await;
    for outcome in answers.values() {
        assert_eq!(outcome.result, OutcomeResult::Accepted);
        assert!(!outcome.provider_id.is_empty() && outcome.handed_at <= outcome.answered_at);
    }
    let seen = smsc.messages();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0].source, (5, 0, "ACME".into()));
    assert_eq!(seen[0].dest, (1, 1, "46701234567".into()));
    assert_eq!(seen[0].short_message, b"hello \x00 5 \x1be");
    assert!(
        seen[0].validity_period.starts_with("0000000200"),
        "{}",
        seen[0].validity_period
    );
    assert_eq!(
        (
            seen[0].esm_class,
            seen[0].data_coding,
            seen[0].registered_delivery
        ),
        (0, 0, 1)
    );
    assert_eq!((seen[1].data_coding, seen[1].short_message.len()), (8, 12));
    let udh = |part| vec![5, 0, 3, 0x5A, 2, part];
    assert_eq!(
        (seen[2].esm_class, seen[2].short_message[..6].to_vec()),
        (0x40, udh(1))
    );
    assert_eq!(
        (seen[3].esm_class, seen[3].short_message[..6].to_vec()),
        (0x40, udh(2))
    );
    assert_eq!(seen[3].short_message.len(), 6 + 47);
    let rest = rig.stop().await;
    assert!(
        matches!(&rest[..], [LinkEvent::Down { why, .. }] if why.contains("unbound")),
        "{rest:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_by_us() {
    let smsc = smsc(Faults::default()).await;
    let mut rig = start(config(smsc.addr()));
    rig.up().await;
    let mut wrong = message("+46701234567", "привет");
    wrong.encoding = Encoding::Gsm7;
    let mut sender = message("+46701234567", "hello");
    let from = "a sender longer than twenty octets";
    sender.texts = Texts::pack([from, "hello", "", "", "", "", "", "", "", ""]).unwrap();
    let mut expired = message("+46701234567", "hello");
    expired.expires_at = UnixMs(5);
    let part = message("+46701234567", "hello");
    rig.send(vec![
        attempt(0, &Arc::new(wrong), 0),
        attempt(1, &Arc::new(sender), 0),
        attempt(2, &Arc::new(expired), 0),
        attempt(3, &Arc::new(part), 4),
    ])
    .await;
    let answers = rig.answers(4).await;
    let of = |token: u64| (answers[&token].result, answers[&token].reason.unwrap());
    assert_eq!(of(0), (OutcomeResult::Refused, Reason::EncodingUnsupported));
    assert_eq!(of(1), (OutcomeResult::Refused, Reason::SenderInvalid));
    assert_eq!(of(2), (OutcomeResult::NotSent, Reason::ExpiredInQueue));
    assert_eq!(of(3), (OutcomeResult::Refused, Reason::EncodingUnsupported));
    assert!(
        answers
            .values()
            .all(|outcome| outcome.retry == Retry::Never)
    );
    assert_eq!(smsc.report().submits, 0);
    rig.stop().await;
}

#[tokio::test]
async fn refusals_are_classed() {
    let smsc = smsc(Faults::default()).await;
    let mut rig = start(config(smsc.addr()));
    rig.up().await;
    let to = |number: &str| Arc::new(message(number, "hello"));
    rig.send(vec![
        attempt(2, &to("+46700000002"), 0),
        attempt(9, &to("+46700000009"), 0),
    ])
    .await;
    let answers = rig.answers(2).await;
    assert_eq!((answers[&2].code, answers[&2].retry), (0x0B, Retry::Never));
    assert_eq!(answers[&2].reason, Some(Reason::InvalidAddress));
    assert_eq!(
        (answers[&9].code, answers[&9].retry),
        (0x45, Retry::Here { tries: 2 })
    );
    let errors = vec![ErrorShare {
        status: 0x58,
        share: 1.0,
    }];
    smsc.set(Faults {
        errors,
        ..Faults::default()
    });
    rig.send(vec![attempt(3, &to("+46701234567"), 0)]).await;
    let answers = rig.answers(1).await;
    assert_eq!(
        (answers[&3].retry, answers[&3].reason),
        (Retry::Throttle, Some(Reason::Throttled))
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_named_and_what_is_handed_over_comes_back() {
    let smsc = smsc(Faults::default()).await;
    let mut config = config(smsc.addr());
    config.password = Password("wrong".into());
    assert!(!format!("{config:?}").contains("wrong"));
    let account = config.account.clone();
    let mut rig = start(config);
    let why = rig.down().await;
    assert!(why.contains("ESME_RINVPASWD"), "{why}");
    assert!(account.is_doubtful());
    rig.send(attempts(3)).await;
    let answers = rig.answers(3).await;
    assert!(
        answers
            .values()
            .all(|outcome| outcome.result == OutcomeResult::NotSent)
    );
    rig.stop().await;
    assert_eq!(smsc.report().binds, 0);
}

/// The property, over cuts at every point of a burst: each attempt is answered once, what is said
/// not to have been sent was not, and what the peer answered is accepted.
#[tokio::test]
async fn a_link_that_dies_answers_each_attempt_once() {
    const COUNT: u64 = 120;
    for round in 0..24u64 {
        let cut = 1 + round * 5;
        let smsc = smsc(Faults {
            disconnect_every: (round % 3 != 2).then_some(cut),
            disconnect_after_ms: (round % 3 == 2).then_some(round),
            jitter_ms: round % 4 * 3,
            ..Faults::default()
        })
        .await;
        let mut config = config(smsc.addr());
        config.window = 1_000;
        let mut rig = start(config);
        // A cut by time may come before the bind: then all is handed back.
        let first = rig.event().await;
        assert!(matches!(
            first,
            LinkEvent::Up { .. } | LinkEvent::Down { .. }
        ));
        rig.send(attempts(COUNT)).await;
        let answers = rig.answers(usize::try_from(COUNT).unwrap()).await;
        let rest = rig.stop().await;
        assert!(
            rest.iter()
                .all(|event| !matches!(event, LinkEvent::Answers { .. }))
        );
        let seen: HashSet<String> = smsc
            .messages()
            .into_iter()
            .map(|seen| seen.dest.2)
            .collect();
        let mut unknown = 0;
        for (token, outcome) in &answers {
            let came = seen.contains(&format!("4670{:06}1234", token + 1));
            match outcome.result {
                OutcomeResult::Accepted => assert!(came, "round {round}: {token}"),
                OutcomeResult::NotSent => assert!(!came, "round {round}: {token}"),
                OutcomeResult::Unknown => unknown += 1,
                OutcomeResult::Refused => panic!("{outcome:?}"),
            }
        }
        // The last submit before a cut is taken and not answered.
        assert!(unknown > 0 || round % 3 == 2, "round {round}");
    }
}

#[tokio::test]
async fn a_bind_comes_back_after_the_carrier_cut_it() {
    let smsc = smsc(Faults::default()).await;
    let mut rig = start(config(smsc.addr()));
    rig.up().await;
    smsc.disconnect_all();
    let why = rig.down().await;
    assert!(why.contains("without unbind"), "{why}");
    rig.up().await;
    rig.send(attempts(1)).await;
    assert_eq!(rig.answers(1).await[&0].result, OutcomeResult::Accepted);
    rig.stop().await;
}

#[tokio::test]
async fn receipts_reach_the_store_and_are_acknowledged() {
    let smsc = smsc(Faults::default()).await;
    let mut rig = start(config(smsc.addr()));
    rig.up().await;
    let to = |number: &str| Arc::new(message(number, "hello"));
    rig.send(vec![
        attempt(0, &to("+46701234567"), 0),
        attempt(1, &to("+46700000001"), 0),
    ])
    .await;
    let answers = rig.answers(2).await;
    let mut receipts = Vec::new();
    while receipts.len() < 2 {
        let batch = timeout(PATIENCE, rig.receipts.recv())
            .await
            .unwrap()
            .unwrap();
        receipts.extend(batch.receipts);
        batch.stored.send(()).unwrap();
    }
    receipts.sort_by_key(|receipt| receipt.state != ReceiptState::Delivered);
    let (good, bad) = (&receipts[0], &receipts[1]);
    assert_eq!(good.provider_id, answers[&0].provider_id);
    assert_eq!(good.recipient, Phone::parse("+46701234567"));
    assert_eq!(
        (good.state, good.reason, good.route),
        (ReceiptState::Delivered, None, RouteIx(3))
    );
    assert!(good.raw.is_empty() && good.operator_at.is_some());
    assert_eq!(
        (bad.state, bad.network_error),
        (ReceiptState::Undeliverable, Some((3, 1)))
    );
    assert_eq!(bad.reason, Some(Reason::UnknownSubscriber));
    assert_eq!(&*bad.err, "001");
    assert!(bad.raw.starts_with("id:"));
    rig.stop().await;
    // Unbinding waits for what is to be acknowledged.
    assert_eq!(smsc.stop().await.receipts_acked, 2);
}

#[tokio::test]
async fn a_panic_is_an_end_like_any_other() {
    assert_eq!(caught(async { 7 }).await, Some(7));
    let hurt = async {
        tokio::task::yield_now().await;
        assert!(Clock::system().now() < UnixMs(1), "deliberate");
    };
    assert_eq!(caught(hurt).await, None);
}

#[tokio::test]
async fn a_dropped_ledger_answers_what_is_left_even_when_there_is_no_room() {
    let (events, mut seen) = mpsc::channel(1);
    let mut ledger = Ledger::new(LinkIx(1), events.clone(), Clock::system());
    ledger.receive(attempts(4));
    for _ in 0..2 {
        let attempt = ledger.waiting.pop_front().unwrap();
        ledger.hand(attempt.token, UnixMs(5));
    }
    let why = "full".into();
    events
        .send(LinkEvent::Down {
            link: LinkIx(1),
            why,
            then: Then::Stopped,
        })
        .await
        .unwrap();
    drop(ledger);
    drop(events);
    assert!(matches!(seen.recv().await, Some(LinkEvent::Down { .. })));
    let Some(LinkEvent::Answers { answers, .. }) = seen.recv().await else {
        panic!("answers")
    };
    let mut results: Vec<_> = answers
        .iter()
        .map(|a| (a.token, a.outcome.result))
        .collect();
    results.sort_by_key(|result| result.0);
    let (unknown, not_sent) = (OutcomeResult::Unknown, OutcomeResult::NotSent);
    assert_eq!(
        results,
        [(0, unknown), (1, unknown), (2, not_sent), (3, not_sent)]
    );
    assert!(seen.recv().await.is_none());
}

//! Random faults: each token has one fate, and none that may have been processed is called unsent.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// RFC 9113 §7.
const REFUSED_STREAM: u32 = 7;

#[derive(Clone, Debug)]
enum Step {
    Send(u64),
    /// The peer reads what has come.
    Read,
    Answer(usize),
    Head(usize),
    Refuse(usize),
    Reset(usize),
    Settings(u32),
    GoAway(usize),
    Pass(u64),
    Nonsense,
    Fence,
    Cut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..40_u64).prop_map(Step::Send),
        8 => Just(Step::Read),
        8 => (0..64_usize).prop_map(Step::Answer),
        2 => (0..64_usize).prop_map(Step::Head),
        2 => (0..64_usize).prop_map(Step::Refuse),
        2 => (0..64_usize).prop_map(Step::Reset),
        3 => (0..50_u32).prop_map(Step::Settings),
        1 => (0..64_usize).prop_map(Step::GoAway),
        3 => (1..6_000_u64).prop_map(Step::Pass),
        1 => Just(Step::Nonsense),
        1 => Just(Step::Fence),
        1 => Just(Step::Cut),
    ]
}

/// A service that keeps its word: what it refused or excluded it has not processed, all else it may have.
#[derive(Default)]
struct Service {
    /// Requests that are all there, by stream.
    open: BTreeMap<u32, u64>,
    processed: BTreeSet<u64>,
    answered_to: u32,
    last: Option<u32>,
}

impl Service {
    fn receive(&mut self, frames: &[Frame]) {
        for frame in frames {
            if frame.kind == peer::RST_STREAM {
                self.open.remove(&frame.stream);
            }
            let whole = frame.kind == peer::DATA && frame.flags & peer::END_STREAM != 0;
            if whole && self.last.is_none_or(|last| frame.stream <= last) {
                let token = u64::from_be_bytes(frame.payload[..].try_into().unwrap());
                assert!(self.processed.insert(token), "{token} came twice");
                self.open.insert(frame.stream, token);
            }
        }
    }

    /// One of the open streams, which is then done.
    fn take(&mut self, choice: usize) -> Option<(u32, u64)> {
        let at = choice.checked_rem(self.open.len())?;
        let (stream, token) = self.open.iter().nth(at)?;
        let (stream, token) = (*stream, *token);
        self.open.remove(&stream);
        self.answered_to = self.answered_to.max(stream);
        Some((stream, token))
    }

    fn exclude(&mut self, choice: usize) -> u32 {
        let streams: Vec<u32> = self.open.keys().copied().collect();
        let some = choice.checked_rem(streams.len()).map(|at| streams[at]);
        let last = some.unwrap_or(0).max(self.answered_to);
        let last = self.last.map_or(last, |before| before.min(last));
        for (_, token) in self.open.split_off(&(last + 1)) {
            self.processed.remove(&token);
        }
        self.last = Some(last);
        last
    }
}

async fn run(steps: Vec<Step>, pipe: usize) {
    let (ours, theirs) = duplex(pipe);
    let mut rig = Rig::over(ours, theirs, 5, Config::default()).await;
    let mut service = Service::default();
    let mut sent = 0;
    for step in steps {
        match step {
            Step::Send(count) => {
                rig.send(sent..sent + count);
                sent += count;
            }
            Step::Read => service.receive(&rig.peer.frames().await),
            Step::Answer(choice) => {
                if let Some((stream, _)) = service.take(choice) {
                    rig.peer.head(stream, 400, false).await;
                    rig.peer.data(stream, b"{}", true).await;
                }
            }
            Step::Head(choice) => {
                if let Some((stream, _)) = service.take(choice) {
                    rig.peer.head(stream, 200, false).await;
                }
            }
            Step::Refuse(choice) => {
                if let Some((stream, token)) = service.take(choice) {
                    service.processed.remove(&token);
                    rig.peer.reset(stream, REFUSED_STREAM).await;
                }
            }
            Step::Reset(choice) => {
                if let Some((stream, _)) = service.take(choice) {
                    rig.peer.reset(stream, 2).await;
                }
            }
            Step::Settings(streams) => rig.peer.settings(streams).await,
            Step::GoAway(choice) => {
                service.receive(&rig.peer.frames().await);
                let last = service.exclude(choice);
                rig.peer.goaway(last, 0, b"").await;
            }
            Step::Pass(ms) => advance(Duration::from_millis(ms)).await,
            Step::Nonsense => rig.peer.nonsense().await,
            Step::Fence => rig.connection.fence("chaos"),
            Step::Cut => {
                service.receive(&rig.peer.frames().await);
                rig.peer.cut();
            }
        }
        rig.settle().await;
        assert!(rig.connection.in_flight() <= 1_000);
    }
    service.receive(&rig.peer.frames().await);
    rig.settle().await;
    service.receive(&rig.peer.frames().await);
    for _ in 0..4 {
        rig.passes(Duration::from_secs(5)).await;
        service.receive(&rig.peer.frames().await);
    }
    let fates = rig.take();
    let told: BTreeSet<u64> = fates.iter().map(|(token, _)| *token).collect();
    assert_eq!(told.len(), fates.len(), "a token was answered twice");
    assert_eq!(told, (0..sent).collect(), "a token was not answered");
    for (token, fate) in fates {
        if let Fate::Unsent(why) = fate {
            assert!(!service.processed.contains(&token), "{token}: {why}");
            assert!(!matches!(why, Unsent::Invalid(_)), "{token}: {why}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn each_token_has_one_fate_whatever_happens(
        steps in prop::collection::vec(step(), 1..60),
        pipe in prop_oneof![Just(4_096_usize), Just(PIPE)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(steps, pipe));
    }
}

//! Provider tokens with their task and their files, in virtual time.

use codecs::jwt::Jws;

use super::life::{BETWEEN_MIN, REFRESH_AT};
use super::*;
use crate::connect::credentials::tests::{key_pem, name, signing};
use crate::stop::Stopper;
use crate::store::tests::TempDir;

const START: UnixMs = UnixMs(1_800_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);

/// A data directory with a key's file, and a clock.
struct World {
    dir: TempDir,
    clock: Clock,
    stopper: Stopper,
    stop: Stop,
}

impl World {
    fn new() -> Self {
        let (stopper, stop) = Stopper::new();
        let world = Self {
            dir: TempDir::new(),
            clock: Clock::manual(START),
            stopper,
            stop,
        };
        world.write(&key_pem());
        world
    }

    fn source(&self) -> Source {
        Source::File(self.dir.0.join("AuthKey.p8"))
    }

    fn write(&self, text: &str) {
        std::fs::write(self.dir.0.join("AuthKey.p8"), text).unwrap();
    }

    fn open(&self) -> Result<(Provider, ProviderTask), ProviderError> {
        Provider::open(name(), self.source(), &self.dir.0, &self.clock)
    }

    fn start(&self) -> Provider {
        let (provider, task) = self.open().unwrap();
        tokio::spawn(task.run(self.stop.clone()));
        provider
    }

    /// Lets time go by for the task, a second at a time.
    async fn pass(&self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.clock
                .set(self.clock.now().plus(Duration::from_secs(1)));
            sleep(Duration::from_secs(1)).await;
        }
    }
}

fn bearer(provider: &Provider) -> Arc<Bearer> {
    provider.state().bearer.unwrap()
}

fn verified(bearer: &Bearer, pem: &str) -> bool {
    let text = bearer.authorization.to_str().unwrap();
    let token = text.strip_prefix("bearer ").unwrap();
    Jws::parse(token)
        .unwrap()
        .verify(&signing(pem).verifying())
        .is_ok()
}

#[tokio::test(start_paused = true)]
async fn the_token_is_renewed_in_the_background_and_the_old_one_is_answered_with_the_new() {
    let world = World::new();
    let provider = world.start();
    let mut states = provider.subscribe();
    let first = bearer(&provider);
    assert!(first.authorization.is_sensitive());
    world.pass(REFRESH_AT + MINUTE * 4).await;
    let second = bearer(&provider);
    assert_eq!((first.serial, second.serial), (1, 2));
    assert_eq!(first.generation, second.generation, "the key is the same");
    assert!(states.has_changed().unwrap());
    states.mark_unchanged();
    // A request that was on its way with the old token: nothing is made for it.
    for _ in 0..1_000 {
        assert_eq!(provider.expired(first.serial), Again::With(second.clone()));
    }
    world.pass(MINUTE * 25).await;
    assert!(!states.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_askers_at_once_get_one_token_and_not_before_twenty_minutes() {
    let world = World::new();
    let provider = world.start();
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let provider = provider.clone();
        askers.spawn(async move {
            let mut states = provider.subscribe();
            let Again::Wait = provider.expired(1) else {
                return 0;
            };
            states.changed().await.unwrap();
            states
                .borrow()
                .bearer
                .as_ref()
                .map_or(0, |bearer| bearer.serial)
        });
    }
    world.pass(BETWEEN_MIN.saturating_sub(MINUTE)).await;
    assert_eq!(bearer(&provider).serial, 1);
    world.pass(MINUTE * 2).await;
    let serials = askers.join_all().await;
    assert_eq!(serials, [2; 1_000]);
    assert_eq!(bearer(&provider).serial, 2);
}

#[tokio::test(start_paused = true)]
async fn restarts_use_the_kept_token_and_a_key_changed_meanwhile_has_its_own() {
    let world = World::new();
    let (provider, task) = world.open().unwrap();
    let first = bearer(&provider);
    drop((provider, task));
    for _ in 0..20 {
        world.clock.set(world.clock.now().plus(MINUTE));
        let (provider, _task) = world.open().unwrap();
        assert_eq!(bearer(&provider).authorization, first.authorization);
        assert_eq!(bearer(&provider).issued_at, START);
    }
    // Too old to be worth anything.
    world.clock.set(START.plus(MINUTE * 55));
    let (provider, _task) = world.open().unwrap();
    assert_ne!(bearer(&provider).authorization, first.authorization);
    let pem = key_pem();
    world.write(&pem);
    let (provider, _task) = world.open().unwrap();
    assert!(verified(&bearer(&provider), &pem));
}

#[tokio::test(start_paused = true)]
async fn a_bad_new_file_changes_nothing_but_the_words_and_a_good_one_the_generation() {
    let world = World::new();
    let provider = world.start();
    let first = bearer(&provider);
    world.write("-----BEGIN PRIVATE KEY-----\nMEcCAQ s3cret\n-----END PRIVATE KEY-----\n");
    world.pass(LOOK_EVERY * 3).await;
    let state = provider.state();
    assert_eq!(state.bearer.as_ref(), Some(&first));
    let words = state.file.unwrap();
    assert!(
        words.contains("AuthKey.p8") && words.contains("in use"),
        "{words}"
    );
    assert!(!words.contains("s3cret"));
    // By rename, as careful tools do it.
    let pem = key_pem();
    let next = world.dir.0.join("next");
    std::fs::write(&next, &pem).unwrap();
    std::fs::rename(&next, world.dir.0.join("AuthKey.p8")).unwrap();
    world.pass(LOOK_EVERY * 3).await;
    let state = provider.state();
    assert_eq!(state.file, None);
    let second = state.bearer.unwrap();
    assert_eq!((first.generation, second.generation), (1, 2));
    assert!(verified(&second, &pem));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_goes_back_to_its_first_key_shows_that_keys_token_again() {
    let world = World::new();
    let pem = std::fs::read_to_string(world.dir.0.join("AuthKey.p8")).unwrap();
    let provider = world.start();
    let first = bearer(&provider);
    world.write(&key_pem());
    world.pass(LOOK_EVERY * 3).await;
    world.write(&pem);
    world.pass(LOOK_EVERY * 3).await;
    let third = bearer(&provider);
    assert_eq!(third.authorization, first.authorization);
    assert_eq!((third.serial, third.generation), (3, 3));
    // And a refusal of it by its new serial counts.
    assert_eq!(provider.expired(1), Again::With(third));
    assert_eq!(provider.expired(3), Again::Wait);
}

#[tokio::test]
async fn what_is_no_key_is_said_at_the_start_without_its_text() {
    let world = World::new();
    world.write("s3cret");
    let error = world.open().unwrap_err().to_string();
    assert!(
        error.contains("AuthKey.p8") && !error.contains("s3cret"),
        "{error}"
    );
    std::fs::remove_file(world.dir.0.join("AuthKey.p8")).unwrap();
    let error = world.open().unwrap_err().to_string();
    assert!(error.contains("No such file"), "{error}");
    let name = KeyName {
        team_id: "../../etc".into(),
        key_id: "ABC1234567".into(),
    };
    let source = world.source();
    let error = Provider::open(name, source, &world.dir.0, &world.clock).unwrap_err();
    assert!(matches!(error, ProviderError::Name(_)));
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_gateway() {
    let world = World::new();
    let (_provider, task) = world.open().unwrap();
    let task = tokio::spawn(task.run(world.stop.clone()));
    world.stopper.stop();
    task.await.unwrap();
    let left = world.stopper.finished(Duration::from_secs(1)).await;
    assert!(left.is_empty());
}

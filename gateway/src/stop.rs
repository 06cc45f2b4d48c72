//! Stopping: one signal down, labelled guards up, so that a stop can wait and name who is left.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// What a running part holds: tells when to stop, and (while held) that the part is still at work.
#[derive(Clone)]
pub struct Stop {
    signal: watch::Receiver<bool>,
    left: Arc<Left>,
}

/// The other end: gives the signal and waits.
pub struct Stopper {
    signal: watch::Sender<bool>,
    left: Arc<Left>,
}

#[derive(Default)]
struct Left {
    /// Label → how many are still at work. Labels come from the code: a bounded set.
    names: Mutex<BTreeMap<String, usize>>,
    changed: Notify,
}

/// Says that the part with its label is still at work; dropping it says that it has finished.
pub struct Guard {
    label: String,
    left: Arc<Left>,
}

impl Stopper {
    /// A stopper and the first [`Stop`] of it.
    #[must_use]
    pub fn new() -> (Self, Stop) {
        let (signal, seen) = watch::channel(false);
        let left = Arc::new(Left::default());
        (
            Self {
                signal,
                left: left.clone(),
            },
            Stop { signal: seen, left },
        )
    }

    /// Gives the signal.
    pub fn stop(&self) {
        self.signal.send_replace(true);
    }

    /// Waits until every guard is gone, for at most `grace`. Returns the labels of those still left.
    ///
    /// Cancel safe: waiting changes nothing.
    pub async fn finished(&self, grace: Duration) -> Vec<String> {
        let wait = async {
            loop {
                let changed = self.left.changed.notified();
                if self.left.names.lock().is_empty() {
                    return;
                }
                changed.await;
            }
        };
        match tokio::time::timeout(grace, wait).await {
            Ok(()) => Vec::new(),
            Err(_) => self.left(),
        }
    }

    /// Who is still at work.
    #[must_use]
    pub fn left(&self) -> Vec<String> {
        let names = self.left.names.lock();
        names
            .iter()
            .map(|(name, count)| format!("{name} ({count})"))
            .collect()
    }
}

impl Stop {
    /// Waits for the signal. Cancel safe.
    pub async fn stopped(&mut self) {
        // An error means the stopper is gone, which is a stop as well.
        if self.signal.wait_for(|stop| *stop).await.is_err() {}
    }

    /// Whether the signal has been given.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        *self.signal.borrow()
    }

    /// Registers a part under `label` until the guard is dropped.
    #[must_use]
    pub fn guard(&self, label: impl Into<String>) -> Guard {
        let label = label.into();
        *self.left.names.lock().entry(label.clone()).or_insert(0) += 1;
        Guard {
            label,
            left: self.left.clone(),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut names = self.left.names.lock();
        if let Some(count) = names.get_mut(&self.label) {
            *count -= 1;
            if *count == 0 {
                names.remove(&self.label);
            }
        }
        drop(names);
        self.left.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn finished_names_who_is_left_and_returns_when_nobody_is() {
        let (stopper, stop) = Stopper::new();
        let guard = stop.guard("bind carrier-a/0");
        stopper.stop();
        assert!(stop.is_stopped());
        assert_eq!(
            stopper.finished(Duration::from_secs(1)).await,
            ["bind carrier-a/0 (1)"]
        );
        drop(guard);
        assert!(stopper.finished(Duration::from_secs(1)).await.is_empty());
    }
}

//! One request for each message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::BytesMut;
use serde::Deserialize;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http::Connection;
use crate::message::Template;
use crate::pace::Pace;
use crate::report::{Report, Tally};

/// Pause after an answer or an error that is no 202, so that a refusing gateway is not hammered.
const PAUSE: Duration = Duration::from_millis(10);

/// Errors in a row after which a connection gives up.
const ERRORS_MAX: u32 = 100;

#[derive(Deserialize)]
struct Accepted {
    id: String,
}

/// Messages whose time has come and that no connection has taken. Chosen: ten seconds at 6,000/s.
/// Beyond it the ticker waits; latency still counts from when a message was meant to go.
const DUE_MAX: usize = 1 << 16;

/// Sends over so many keep-alive connections: with a rate in an open loop, latency from when each
/// message was meant to go; else in a closed loop.
pub(crate) async fn run(
    api: SocketAddr,
    template: Template,
    connections: usize,
    pace: Arc<Pace>,
    keep_ids: bool,
) -> anyhow::Result<Report> {
    // Opened before the clock starts: what is measured is the gateway, not the handshakes.
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut connection = Connection::new(api);
        connection.open().await?;
        open.push(connection);
    }
    let due = pace.rate().map(|rate| {
        let (due, taken) = mpsc::channel(DUE_MAX);
        let pace = Arc::clone(&pace);
        std::thread::spawn(move || tick(&pace, rate, &due));
        Arc::new(Mutex::new(taken))
    });
    let mut workers = JoinSet::new();
    for connection in open {
        let worker = Worker {
            due: due.clone(),
            connection,
            template: template.clone(),
            pace: Arc::clone(&pace),
            keep_ids,
        };
        workers.spawn(worker.run());
    }
    let mut all = Tally::default();
    while let Some(tally) = workers.join_next().await {
        all.add(tally.context("a connection's task failed")?);
    }
    Ok(all.report(pace.start().elapsed().as_secs_f64()))
}

/// Shortest sleep of the ticker. Chosen: a wake-up for each of 6,000 messages a second took half a
/// core; this adds at most as much to a latency and is in `late_us`.
const TICK: Duration = Duration::from_micros(500);

/// Hands out each message at its time, on a thread of its own: the runtime's timers are good to a
/// millisecond only.
fn tick(pace: &Pace, rate: f64, due: &mpsc::Sender<u64>) {
    while let Some(index) = pace.ticket(rate) {
        let wait = pace
            .intended(index, rate)
            .saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait.max(TICK));
        }
        if due.blocking_send(index).is_err() {
            return;
        }
    }
}

struct Worker {
    /// In an open loop: where the messages come from.
    due: Option<Arc<Mutex<mpsc::Receiver<u64>>>>,
    connection: Connection,
    template: Template,
    pace: Arc<Pace>,
    keep_ids: bool,
}

impl Worker {
    async fn run(mut self) -> Tally {
        let mut tally = Tally::default();
        let mut body = BytesMut::new();
        let mut errors = 0;
        while let Some((index, since)) = self.next(&mut tally).await {
            let request = self.template.stamp(self.pace.number(index));
            tally.sent += 1;
            match self.connection.exchange(&[request], &mut body).await {
                Ok(status) => {
                    errors = 0;
                    tally.latencies.record(since.elapsed());
                    tally.answer(status);
                    if status != 202 {
                        tally.unexplained += u64::from(!self.connection.retry_after);
                        tokio::time::sleep(PAUSE).await;
                    } else if self.keep_ids
                        && let Ok(accepted) = serde_json::from_slice::<Accepted>(&body)
                    {
                        tally.ids.push(accepted.id);
                    }
                }
                Err(error) => {
                    tally.error(&error);
                    errors += 1;
                    if errors == ERRORS_MAX {
                        break;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        tally
    }

    /// The next message and since when its latency counts.
    async fn next(&self, tally: &mut Tally) -> Option<(u64, Instant)> {
        let (Some(due), Some(rate)) = (&self.due, self.pace.rate()) else {
            let index = self.pace.take(1).await?.start;
            return Some((index, Instant::now()));
        };
        let index = due.lock().await.recv().await?;
        let intended = self.pace.intended(index, rate);
        tally.late.record(intended.elapsed());
        Some((index, intended))
    }
}

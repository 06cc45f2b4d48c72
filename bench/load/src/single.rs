//! One request for each message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::BytesMut;
use serde::Deserialize;
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

/// Sends over so many keep-alive connections: with a rate in an open loop, latency from when each
/// message was meant to go (timers are good to a millisecond, which `late_us` shows); else in a
/// closed loop.
pub(crate) async fn run(
    api: SocketAddr,
    template: Template,
    connections: usize,
    pace: Arc<Pace>,
    keep_ids: bool,
) -> anyhow::Result<Report> {
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        let worker = Worker {
            connection: Connection::new(api),
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

struct Worker {
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
        let Some(rate) = self.pace.rate() else {
            let index = self.pace.take(1).await?.start;
            return Some((index, Instant::now()));
        };
        let index = self.pace.ticket(rate)?;
        let intended = self.pace.intended(index, rate);
        tokio::time::sleep_until(intended).await;
        tally.late.record(intended.elapsed());
        Some((index, intended))
    }
}

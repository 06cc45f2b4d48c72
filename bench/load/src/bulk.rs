//! Many messages for each request: JSON batches and NDJSON streams.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::BytesMut;
use serde::Deserialize;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http::{Answers, Connection, connect};
use crate::message::{Recipe, Template};
use crate::pace::Pace;
use crate::report::{Report, Tally};

/// Messages of a JSON batch. The issue's speed table: 500.
const BATCH: u64 = 500;

/// Lines of a stream. The contract's cap for NDJSON (§2).
const LINES_MAX: usize = 100_000;

/// Lines of one write; some 16 KB.
const WRITE_LINES: u64 = 64;

/// Pause after a request that failed, so that a refusing gateway is not hammered.
const PAUSE: Duration = Duration::from_millis(50);

/// Failed requests in a row after which a connection gives up.
const ERRORS_MAX: u32 = 100;

/// One result, of a batch or of a line.
#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    index: usize,
    status: Option<u16>,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Outcome>,
}

/// Posts JSON batches of [`BATCH`], one at a time on each connection.
pub(crate) async fn batches(
    api: SocketAddr,
    recipe: Recipe,
    template: Template,
    connections: usize,
    pace: Arc<Pace>,
) -> anyhow::Result<Report> {
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn(batch_worker(
            api,
            recipe.clone(),
            template.clone(),
            Arc::clone(&pace),
        ));
    }
    let mut all = Tally::default();
    while let Some(tally) = workers.join_next().await {
        all.add(tally.context("a connection's task failed")?);
    }
    Ok(all.report(pace.start().elapsed().as_secs_f64()))
}

async fn batch_worker(
    api: SocketAddr,
    recipe: Recipe,
    mut template: Template,
    pace: Arc<Pace>,
) -> Tally {
    let mut tally = Tally::default();
    let mut connection = Connection::new(api);
    let (mut body, mut answer) = (Vec::new(), BytesMut::new());
    let mut errors = 0;
    while let Some(range) = pace.take(BATCH).await {
        body.clear();
        body.extend_from_slice(br#"{"messages":["#);
        let count = range.end - range.start;
        for index in range {
            body.extend_from_slice(template.stamp(pace.number(index)));
            body.push(b',');
        }
        body.pop();
        body.extend_from_slice(b"]}");
        let head = recipe.batch_head(body.len());
        let since = Instant::now();
        tally.sent += count;
        match connection
            .exchange(&[head.as_bytes(), &body], &mut answer)
            .await
        {
            Ok(200) => {
                errors = 0;
                tally.latencies.record(since.elapsed());
                match serde_json::from_slice::<Results>(&answer) {
                    Ok(results) => {
                        for outcome in results.results {
                            tally.answer(outcome.status.unwrap_or(0));
                        }
                    }
                    Err(error) => tally.error(&error.into()),
                }
                continue;
            }
            Ok(status) => tally.refuse(status, count),
            Err(error) => tally.error(&error),
        }
        errors += 1;
        if errors == ERRORS_MAX {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    tally
}

/// Streams NDJSON, one stream at a time on each connection, and reads results meanwhile.
pub(crate) async fn ndjson(
    api: SocketAddr,
    head: String,
    template: Template,
    streams: usize,
    pace: Arc<Pace>,
) -> anyhow::Result<Report> {
    let mut workers = JoinSet::new();
    for _ in 0..streams {
        workers.spawn(ndjson_worker(
            api,
            head.clone(),
            template.clone(),
            Arc::clone(&pace),
        ));
    }
    let mut all = Tally::default();
    while let Some(tally) = workers.join_next().await {
        all.add(tally.context("a stream's task failed")?);
    }
    Ok(all.report(pace.start().elapsed().as_secs_f64()))
}

async fn ndjson_worker(
    api: SocketAddr,
    head: String,
    mut template: Template,
    pace: Arc<Pace>,
) -> Tally {
    let mut tally = Tally::default();
    let mut errors = 0;
    // A stream is opened only for a line that may go: an empty one would be refused.
    while let Some(first) = pace.take(1).await {
        match stream(api, &head, &mut template, &pace, first.start, &mut tally).await {
            Ok(()) => errors = 0,
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

/// When each line of a stream was written.
type Written = Mutex<Vec<Instant>>;

async fn stream(
    api: SocketAddr,
    head: &str,
    template: &mut Template,
    pace: &Pace,
    first: u64,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let (read, mut write) = connect(api).await?.into_split();
    write.write_all(head.as_bytes()).await?;
    let written = Written::default();
    let (sent, results) = tokio::join!(
        write_lines(&mut write, template, pace, first, &written),
        read_results(Answers::new(read), &written, tally),
    );
    tally.sent += written.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
    // The answer says more than a broken pipe does.
    results?;
    sent
}

async fn write_lines(
    write: &mut (impl AsyncWrite + Unpin),
    template: &mut Template,
    pace: &Pace,
    first: u64,
    written: &Written,
) -> anyhow::Result<()> {
    let mut range = first..first + 1;
    let (mut lines, mut chunk) = (Vec::new(), Vec::new());
    let mut count = 0;
    loop {
        lines.clear();
        for index in range.clone() {
            lines.extend_from_slice(template.stamp(pace.number(index)));
            lines.push(b'\n');
        }
        chunk.clear();
        chunk.extend_from_slice(format!("{:x}\r\n", lines.len()).as_bytes());
        chunk.extend_from_slice(&lines);
        chunk.extend_from_slice(b"\r\n");
        {
            let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
            count += (range.end - range.start) as usize;
            written.resize(count, Instant::now());
        }
        write.write_all(&chunk).await?;
        let room = (LINES_MAX - count) as u64;
        if room == 0 {
            break;
        }
        match pace.take(WRITE_LINES.min(room)).await {
            Some(next) => range = next,
            None => break,
        }
    }
    write.write_all(b"0\r\n\r\n").await?;
    Ok(())
}

async fn read_results(
    mut answers: Answers<impl tokio::io::AsyncRead + Unpin>,
    written: &Written,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let status = answers.status().await?;
    let mut lines = BytesMut::new();
    if status != 200 {
        answers.body(&mut lines).await?;
        let sent = written.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
        tally.refuse(status, sent);
        anyhow::bail!(
            "stream refused: {status} {}",
            String::from_utf8_lossy(&lines)
        );
    }
    while answers.piece(&mut lines).await? {
        let now = Instant::now();
        let written = written.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(end) = lines.iter().position(|octet| *octet == b'\n') {
            let line = lines.split_to(end + 1);
            let outcome: Outcome = serde_json::from_slice(&line).context("a result line")?;
            // The summary, last, has no status.
            let Some(status) = outcome.status else {
                continue;
            };
            tally.answer(status);
            if let Some(at) = written.get(outcome.index) {
                tally.latencies.record(now.saturating_duration_since(*at));
            }
        }
    }
    Ok(())
}

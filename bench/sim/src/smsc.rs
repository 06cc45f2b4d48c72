//! An SMSC that answers at full speed and misbehaves on request.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use sim::smsc::{Smsc, SmscConfig};
//! let smsc = Smsc::start(SmscConfig::default()).await?;
//! println!("bind to {}", smsc.addr());
//! // ... the ESME under test runs ...
//! let report = smsc.report();
//! assert_eq!(report.duplicates, 0);
//! smsc.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! One task per connection; delays wait in a heap of that task, not in tasks of their own.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use codecs::smpp::{CommandId, HEADER_OCTETS};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

mod connection;
mod count;
mod due;
mod faults;
mod handset;
mod receipt;

pub use count::{DUPLICATE_KEYS_MAX, Report, Seen};
pub use faults::{
    ErrorShare, Faults, ReceiptId, Receipts, RefusedDest, Scripted, ScriptedAnswer, Send,
};
pub use handset::{FromHandset, Handsets};

use count::Counts;
use handset::Handed;
use receipt::Receipt;

/// Connections at once. Chosen: more than any test opens, so that a leak shows.
const CONNECTIONS_MAX: usize = 20_000;

/// How long connections may take to unbind when the SMSC stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What an SMSC is told at its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmscConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Name it answers binds with.
    pub system_id: String,
    /// If given, binds with another name and password are refused (0x0F, 0x0E).
    pub account: Option<(String, String)>,
    /// How answers write message ids.
    pub ids: IdForm,
    /// First message id; later ones count up.
    pub id_first: u64,
    /// Message keys remembered to tell duplicates; beyond, `untracked` counts. 0 = count none.
    pub keys_max: usize,
    /// Messages kept for `messages()`.
    pub last_max: usize,
    /// Max submits of one connection without an answer; then reading stops.
    pub inbound_window: usize,
    /// Max receipts of one connection without an answer.
    pub receipt_window: usize,
    /// Max receipts of one connection that wait to be sent.
    pub receipts_waiting_max: usize,
    /// Silence after which an enquire_link is sent, milliseconds.
    pub enquire_link_ms: u64,
    /// Start of every random draw.
    pub seed: u64,
    /// How it misbehaves from the start.
    pub faults: Faults,
    /// What handsets write by themselves.
    pub handsets: Option<Handsets>,
}

impl Default for SmscConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            system_id: "SMSC".into(),
            account: None,
            ids: IdForm::Decimal,
            id_first: 1_000_000_000,
            keys_max: 10_000_000,
            last_max: 0,
            inbound_window: 100_000,
            receipt_window: 1_000,
            receipts_waiting_max: 1_000_000,
            enquire_link_ms: 30_000,
            seed: 1,
            faults: Faults::default(),
            handsets: None,
        }
    }
}

/// How answers write message ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdForm {
    /// `1000000000`
    #[default]
    Decimal,
    /// `3b9aca00`
    Hex,
}

/// What connections are told while they run.
#[derive(Clone, Debug)]
struct Control {
    faults: Arc<Faults>,
    /// Counts calls of `disconnect_all`.
    cuts: u64,
    stop: bool,
}

/// One bind's way in for receipts from other binds.
#[derive(Debug)]
struct Bind {
    connection: u64,
    system_id: Vec<u8>,
    receipts: mpsc::Sender<Receipt>,
    handsets: mpsc::Sender<Handed>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    config: SmscConfig,
    counts: Counts,
    id_next: AtomicU64,
    start: Instant,
    /// Binds that can take receipts.
    binds: Mutex<HashMap<u64, Bind>>,
    /// Receipts of connections that ended, by system_id; at most `receipts_waiting_max` of each.
    left: Mutex<HashMap<Vec<u8>, Vec<Receipt>>>,
    /// How often each scripted key has come; at most `keys_max` of them.
    scripted: Mutex<HashMap<u64, usize>>,
}

impl Shared {
    fn binds(&self) -> MutexGuard<'_, HashMap<u64, Bind>> {
        self.binds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps receipts for the next bind of this name; how many there is no room for.
    fn leave(&self, system_id: &[u8], receipts: impl Iterator<Item = Receipt>) -> u64 {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let left = left.entry(system_id.to_vec()).or_default();
        let mut dropped = 0;
        for receipt in receipts {
            if left.len() < self.config.receipts_waiting_max {
                left.push(receipt);
            } else {
                dropped += 1;
            }
        }
        dropped
    }

    /// The receipts that earlier binds of this name left behind.
    fn take_left(&self, system_id: &[u8]) -> Vec<Receipt> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.remove(system_id).unwrap_or_default()
    }

    /// See [`Smsc::hand`].
    async fn hand(&self, bind: usize, message: FromHandset) -> Option<u32> {
        let handsets = {
            let binds = self.binds();
            let mut numbers: Vec<u64> = binds.keys().copied().collect();
            numbers.sort_unstable();
            let number = numbers.get(bind.checked_rem(numbers.len())?)?;
            binds.get(number)?.handsets.clone()
        };
        let (answered, answer) = oneshot::channel();
        handsets.send(Handed { message, answered }).await.ok()?;
        answer.await.ok()
    }

    /// How often a scripted key has come before; `None` when there is no room to remember it.
    fn scripted_before(&self, key: u64) -> Option<usize> {
        let mut scripted = self.scripted.lock().unwrap_or_else(PoisonError::into_inner);
        if scripted.len() >= self.config.keys_max && !scripted.contains_key(&key) {
            return None;
        }
        let times = scripted.entry(key).or_default();
        *times += 1;
        Some(*times - 1)
    }

    /// Hands a receipt to another bind of the same name; gives it back if there is none.
    fn pass_on(&self, from: u64, system_id: &[u8], receipt: Receipt) -> Result<(), Receipt> {
        let mut receipt = receipt;
        let binds = self.binds();
        let others = binds
            .values()
            .filter(|b| b.connection != from && b.system_id == system_id);
        for bind in others {
            receipt = match bind.receipts.try_send(receipt) {
                Ok(()) => return Ok(()),
                Err(refused) => refused.into_inner(),
            };
        }
        Err(receipt)
    }
}

/// A running SMSC; dropping it closes everything at once.
#[derive(Debug)]
pub struct Smsc {
    addr: SocketAddr,
    shared: Arc<Shared>,
    control: watch::Sender<Control>,
    /// Connections that we opened ourselves.
    calls: mpsc::Sender<TcpStream>,
    accept: JoinHandle<()>,
    /// The handsets that write by themselves.
    writing: Option<JoinHandle<()>>,
}

impl Smsc {
    /// Listens and serves until stopped.
    ///
    /// # Errors
    /// Fails when the address cannot be listened on, or what handsets shall write cannot be written.
    pub async fn start(config: SmscConfig) -> std::io::Result<Self> {
        let handsets = config.handsets.clone();
        if let Some(Err(error)) = handsets.as_ref().map(|handsets| handsets.parts(0)) {
            return Err(std::io::Error::new(ErrorKind::InvalidInput, error));
        }
        let listener = TcpListener::bind(config.listen).await?;
        let addr = listener.local_addr()?;
        let faults = Arc::new(config.faults.clone());
        let (control, orders) = watch::channel(Control {
            faults,
            cuts: 0,
            stop: false,
        });
        let shared = Arc::new(Shared {
            counts: Counts::new(config.keys_max, config.last_max),
            id_next: AtomicU64::new(config.id_first),
            start: Instant::now(),
            binds: Mutex::default(),
            left: Mutex::default(),
            scripted: Mutex::default(),
            config,
        });
        let (calls, called) = mpsc::channel(1);
        let accept = tokio::spawn(accept(listener, called, Arc::clone(&shared), orders));
        let writing = handsets.map(|handsets| tokio::spawn(handsets.write(Arc::clone(&shared))));
        Ok(Self {
            addr,
            shared,
            control,
            calls,
            accept,
            writing,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it saw so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.counts.report()
    }

    /// The last messages it accepted or refused, oldest first; `last_max` of them.
    #[must_use]
    pub fn messages(&self) -> Vec<Seen> {
        self.shared.counts.last()
    }

    /// Changes how it misbehaves, at once and for every connection.
    pub fn set(&self, faults: Faults) {
        self.control
            .send_modify(|control| control.faults = Arc::new(faults));
    }

    /// Connects to an ESME and asks it to bind, with outbind (SMPP v3.4 §4.1.7); then serves the
    /// connection as any other.
    ///
    /// # Errors
    /// Nobody listens there, or this SMSC has stopped.
    pub async fn outbind(
        &self,
        esme: SocketAddr,
        system_id: &str,
        password: &str,
    ) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(esme).await?;
        let body = [system_id.as_bytes(), b"\0", password.as_bytes(), b"\0"].concat();
        let length = u32::try_from(HEADER_OCTETS + body.len()).unwrap_or(u32::MAX);
        // command_length, command_id, command_status, sequence_number.
        let head = [length, CommandId::OUTBIND.0, 0, 1].map(u32::to_be_bytes);
        let pdu = [head.as_flattened(), &body].concat();
        stream.write_all(&pdu).await?;
        let stopped = |_| std::io::Error::from(ErrorKind::NotConnected);
        self.calls.send(stream).await.map_err(stopped)
    }

    /// Cuts every connection without unbind.
    pub fn disconnect_all(&self) {
        self.control.send_modify(|control| control.cuts += 1);
    }

    /// Hands a handset's message to one of the binds that receive, counted from 0 in the order of
    /// their connections (beyond the last it begins again), and waits for its answer: its
    /// command_status. `None`: there is no such bind, or it ended first.
    pub async fn hand(&self, bind: usize, message: FromHandset) -> Option<u32> {
        self.shared.hand(bind, message).await
    }

    /// Unbinds and closes every connection, then stops listening; returns the last report.
    pub async fn stop(mut self) -> Report {
        if let Some(writing) = &self.writing {
            writing.abort();
        }
        self.control.send_modify(|control| control.stop = true);
        let joined = (&mut self.accept).await;
        debug_assert!(
            joined.is_ok(),
            "accept neither panics nor is aborted before"
        );
        self.shared.counts.report()
    }
}

impl Drop for Smsc {
    fn drop(&mut self) {
        self.accept.abort();
        if let Some(writing) = &self.writing {
            writing.abort();
        }
    }
}

/// Accepts connections; they end with it.
async fn accept(
    listener: TcpListener,
    mut called: mpsc::Receiver<TcpStream>,
    shared: Arc<Shared>,
    mut orders: watch::Receiver<Control>,
) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                let Ok((stream, _)) = accepted else { continue };
                number += 1;
                let shared = Arc::clone(&shared);
                connections.spawn(connection::serve(stream, number, shared, orders.clone()));
            }
            Some(stream) = called.recv() => {
                number += 1;
                let shared = Arc::clone(&shared);
                connections.spawn(connection::serve(stream, number, shared, orders.clone()));
            }
            Some(_) = connections.join_next() => {}
            changed = orders.changed() => {
                if changed.is_err() || orders.borrow_and_update().stop {
                    break;
                }
            }
        }
    }
    drop(listener);
    let left = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_GRACE, left).await.is_err() {
        connections.shutdown().await;
    }
}

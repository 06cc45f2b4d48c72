//! One connection: a session, its faults, and what waits to be sent.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use codecs::smpp::deliver::ESM_UDHI;
use codecs::smpp::session::{BindRequest, Reply, SubmitRefused};
use codecs::smpp::{
    Address, BindKind, CommandId, CommandStatus, Config, DataSm, Event, Frame, Session, SubmitSm,
    Tag, TlvBuf,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};

use super::count::{Seen, Tally, fold};
use super::due::{Action, Due};
use super::faults::{Fate, Faults, FinalState, ReceiptId, ScriptedAnswer, Send};
use super::handset::Handed;
use super::receipt::{Receipt, written};
use super::{Bind, Control, IdForm, Shared};

/// A receipt that was refused is sent again after so long, with `receipts.resend`.
const RESEND_AFTER: Duration = Duration::from_millis(500);

/// Receipts from other binds that wait to be taken. Chosen: a burst; more are counted as dropped.
const PASSED_ON_MAX: usize = 10_000;

/// Octets of additional_status_info_text without its NUL. SMPP v3.4 §5.3.2.11.
const INFO_OCTETS_MAX: usize = 255;

/// How long the ESME may take to read what we write.
const WRITE_STALL: Duration = Duration::from_secs(10);

/// Longest sleep when nothing is planned.
const IDLE: Duration = Duration::from_secs(3600);

/// Serves one ESME until either side is done.
pub(super) async fn serve(
    stream: TcpStream,
    number: u64,
    shared: Arc<Shared>,
    orders: watch::Receiver<Control>,
) {
    let now = Instant::now();
    let mut config = Config::smsc(shared.config.system_id.as_bytes());
    config.window = shared.config.receipt_window;
    config.inbound_window = shared.config.inbound_window;
    config.enquire_link = Duration::from_millis(shared.config.enquire_link_ms);
    config.seed = shared.config.seed ^ number;
    let Ok(session) = Session::new(config, now) else {
        return;
    };
    let (passing, passed) = mpsc::channel(PASSED_ON_MAX);
    let (handing, handsets) = mpsc::channel(PASSED_ON_MAX);
    let faults = Arc::clone(&orders.borrow().faults);
    let mut connection = Connection {
        number,
        session,
        cut_at: faults
            .disconnect_after_ms
            .map(|ms| now + Duration::from_millis(ms)),
        faults,
        due: Due::default(),
        ready: VecDeque::new(),
        unanswered: HashMap::new(),
        system_id: Vec::new(),
        bound: None,
        passing,
        handing,
        handed: VecDeque::new(),
        told: HashMap::new(),
        submits: 0,
        cut: false,
        closed: false,
        random: Random(shared.config.seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
        tally: Tally {
            connections: 1,
            ..Tally::default()
        },
        batch: Vec::new(),
        in_second: (0, 0),
        now,
        token: 0,
        shared,
    };
    // The ESME's view of an I/O error is the end of the connection; the counters tell the rest.
    drop(connection.run(stream, (passed, handsets), orders).await);
}

struct Connection {
    number: u64,
    shared: Arc<Shared>,
    session: Session,
    faults: Arc<Faults>,
    due: Due,
    /// Receipts that only wait for the window.
    ready: VecDeque<Receipt>,
    /// Sent, by token; kept only if they are to be sent again. At most `receipt_window`.
    unanswered: HashMap<u64, Receipt>,
    system_id: Vec<u8>,
    bound: Option<BindKind>,
    passing: mpsc::Sender<Receipt>,
    handing: mpsc::Sender<Handed>,
    /// Handsets' messages that wait for the window.
    handed: VecDeque<Handed>,
    /// Sent, by token. At most `receipt_window`.
    told: HashMap<u64, oneshot::Sender<u32>>,
    submits: u64,
    cut_at: Option<Instant>,
    /// A fault ends the connection, without unbind.
    cut: bool,
    closed: bool,
    random: Random,
    tally: Tally,
    /// Accepted messages of this turn: key and part.
    batch: Vec<(u64, u8)>,
    /// Current second and how many of its submits are not yet in the shared count.
    in_second: (u64, u64),
    now: Instant,
    token: u64,
}

impl Connection {
    async fn run(
        &mut self,
        mut stream: TcpStream,
        (mut passed, mut handsets): (mpsc::Receiver<Receipt>, mpsc::Receiver<Handed>),
        mut orders: watch::Receiver<Control>,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut out = BytesMut::new();
        let cuts = orders.borrow().cuts;
        loop {
            let half_open = self.faults.half_open;
            if !half_open {
                self.turn();
                if self.session.poll_transmit(&mut out) {
                    tokio::time::timeout(WRITE_STALL, stream.write_all(&out)).await??;
                    out.clear();
                    self.take_events();
                }
            }
            if self.cut || self.closed {
                return Ok(());
            }
            let reads = self.session.wants_read() && !half_open;
            let wake = tokio::time::Instant::from_std(self.wake());
            tokio::select! {
                read = stream.read_buf(self.session.read_buffer()), if reads => {
                    let octets = read?;
                    self.now = Instant::now();
                    if octets == 0 {
                        self.session.handle_eof(self.now);
                    } else {
                        self.session.handle_read(self.now);
                    }
                }
                Some(receipt) = passed.recv(), if !half_open => {
                    self.now = Instant::now();
                    self.ready.push_back(receipt);
                }
                Some(handed) = handsets.recv(), if !half_open => {
                    self.now = Instant::now();
                    self.handed.push_back(handed);
                }
                () = tokio::time::sleep_until(wake), if !half_open => {
                    self.now = Instant::now();
                    self.session.handle_timeout(self.now);
                }
                changed = orders.changed() => {
                    self.now = Instant::now();
                    let control = orders.borrow_and_update().clone();
                    if changed.is_err() || control.cuts != cuts {
                        self.cut();
                    } else if control.stop {
                        self.session.unbind(self.now);
                    }
                    self.faults = control.faults;
                    if self.bound == Some(BindKind::Receiver)
                        && self.faults.refuse_receivers.is_some()
                    {
                        self.cut();
                    }
                }
            }
        }
    }

    /// Does all that can be done without waiting.
    fn turn(&mut self) {
        self.take_events();
        self.run_due();
        self.send_receipts();
        self.send_handed();
        self.flush_counts();
        if self.cut_at.is_some_and(|at| at <= self.now) && !self.faults.half_open {
            self.cut();
        }
    }

    fn wake(&self) -> Instant {
        let times = [self.session.poll_timeout(), self.due.next(), self.cut_at];
        times.into_iter().flatten().min().unwrap_or(self.now + IDLE)
    }

    fn cut(&mut self) {
        if !self.cut {
            self.cut = true;
            self.tally.disconnects += 1;
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Submitted { reply, frame } => self.on_submitted(reply, &frame),
                Event::BindRequest(request) => self.on_bind(&request),
                Event::Answered(answer) | Event::LateAnswer(answer) => {
                    if let Some(told) = self.told.remove(&answer.token) {
                        self.tally.inbound_acked += u64::from(answer.status.is_ok());
                        // Who asked may have gone.
                        let _gone = told.send(answer.status.0);
                        continue;
                    }
                    self.tally.receipts_acked += u64::from(answer.status.is_ok());
                    let receipt = self.unanswered.remove(&answer.token);
                    // Refused for now (0x64 and the like): a carrier sends it again later.
                    if let Some(receipt) = receipt.filter(|_| !answer.status.is_ok()) {
                        let receipt = Action::Receipt(Box::new(receipt));
                        self.due.push(self.now + RESEND_AFTER, receipt);
                    }
                }
                Event::Odd(_) => self.tally.odd += 1,
                Event::Closed(_) => self.closed = true,
                Event::Bound { .. }
                | Event::BindRefused { .. }
                | Event::Delivered { .. }
                | Event::TimedOut { .. }
                | Event::Lost { .. }
                | Event::PeerUnbind
                | Event::Alive { .. } => {}
            }
        }
    }

    fn on_bind(&mut self, request: &BindRequest) {
        let receivers = self.faults.refuse_receivers;
        let receivers = receivers.filter(|_| request.kind == BindKind::Receiver);
        let refused = self.faults.refuse_binds.or(receivers);
        let status = match (&refused, &self.shared.config.account) {
            (Some(status), _) => CommandStatus(*status),
            (None, Some((name, _))) if name.as_bytes() != &request.system_id[..] => {
                CommandStatus::INVALID_SYSTEM_ID
            }
            (None, Some((_, password))) if password.as_bytes() != &request.password[..] => {
                CommandStatus::INVALID_PASSWORD
            }
            (None, _) => CommandStatus::OK,
        };
        if self.session.respond_bind(self.now, status).is_err() || !status.is_ok() {
            self.tally.binds_refused += 1;
            return;
        }
        self.tally.binds += 1;
        self.bound = Some(request.kind);
        self.shared.counts.binds_now.fetch_add(1, Ordering::Relaxed);
        self.system_id = request.system_id.to_vec();
        if request.kind.receives() {
            let bind = Bind {
                connection: self.number,
                system_id: self.system_id.clone(),
                receipts: self.passing.clone(),
                handsets: self.handing.clone(),
            };
            self.shared.binds().insert(self.number, bind);
            self.ready.extend(self.shared.take_left(&self.system_id));
        }
    }

    fn on_submitted(&mut self, reply: Reply, frame: &Frame) {
        // After a cut the ESME must not see an answer, nor we take what it cannot know about.
        if self.cut {
            return;
        }
        let message = if frame.header().command == CommandId::DATA_SM {
            frame.data_sm().map(|(data, _)| from_data(&data))
        } else {
            frame.submit_sm().map(|(sm, _)| sm)
        };
        let Ok(sm) = message else { return };
        self.tally.submits += 1;
        self.submits += 1;
        let (part, key) = key(&sm);
        let verdict = self.judge(&sm, part, key);
        let id = match verdict {
            Verdict::Refuse(_) => 0,
            Verdict::Accept(_) | Verdict::Silence => {
                self.shared.id_next.fetch_add(1, Ordering::Relaxed)
            }
        };
        let status = match verdict {
            Verdict::Refuse(status) => status,
            Verdict::Accept(_) | Verdict::Silence => CommandStatus::OK,
        };
        if status.is_ok() {
            self.tally.accepted += 1;
            if self.shared.config.keys_max > 0 {
                self.batch.push((key, part));
            }
        } else if status == CommandStatus::THROTTLED {
            self.tally.throttled += 1;
        } else {
            self.tally.rejected += 1;
        }
        if self.shared.counts.keeps_last() {
            self.keep(&sm, key, status, id);
        }
        if self
            .faults
            .disconnect_every
            .is_some_and(|every| self.submits >= every)
        {
            return self.cut();
        }
        match verdict {
            Verdict::Silence => {
                self.tally.silent += 1;
                self.session.forget(reply);
            }
            Verdict::Refuse(_) => self.answer(reply, status, id),
            Verdict::Accept(state) => {
                let receipt = state
                    .filter(|_| self.wants_receipt(&sm))
                    .map(|state| Receipt::new(id, state, sm.source, sm.dest, text_of(&sm)));
                if let Some(receipt) = receipt {
                    self.plan(receipt, reply, id);
                } else {
                    self.answer(reply, status, id);
                }
            }
        }
    }

    fn judge(&mut self, sm: &SubmitSm<'_>, part: u8, key: u64) -> Verdict {
        let second = self.now.duration_since(self.shared.start).as_secs();
        if self.faults.per_second.is_some() {
            let allowed = self.faults.per_second;
            if self.shared.counts.in_second(second, 1, allowed) > 0 {
                self.tally.contract_violations += 1;
                return Verdict::Refuse(CommandStatus::THROTTLED);
            }
        } else {
            if self.in_second.0 != second {
                self.flush_second();
                self.in_second.0 = second;
            }
            self.in_second.1 += 1;
        }
        let refused = self.faults.refused.iter();
        let mut refused = refused.filter(|dest| dest.to.as_bytes() == sm.dest.addr);
        if let Some(dest) = refused.next() {
            return Verdict::Refuse(CommandStatus(dest.status));
        }
        match self.scripted(part, key) {
            ScriptedAnswer::Usual => {}
            ScriptedAnswer::Silent => return Verdict::Silence,
            ScriptedAnswer::Refused(status) => return Verdict::Refuse(CommandStatus(status)),
        }
        let state = match Fate::of(sm.dest.addr) {
            Fate::Refused(status) => return Verdict::Refuse(status),
            Fate::NeverAnswered => return Verdict::Silence,
            Fate::Accepted(state) => state,
        };
        if !self.faults.errors.is_empty() || self.faults.silent > 0.0 {
            let mut draw = self.random.unit();
            if draw < self.faults.silent {
                return Verdict::Silence;
            }
            draw -= self.faults.silent;
            for error in &self.faults.errors {
                if draw < error.share {
                    return Verdict::Refuse(CommandStatus(error.status));
                }
                draw -= error.share;
            }
        }
        Verdict::Accept(state)
    }

    /// What the script has for this part, this time.
    fn scripted(&self, part: u8, key: u64) -> ScriptedAnswer {
        let answers = self.faults.script.iter().find(|line| line.part == part);
        let answer = answers.and_then(|line| {
            let times = self.shared.scripted_before(key)?;
            line.answers.get(times).copied()
        });
        answer.unwrap_or(ScriptedAnswer::Usual)
    }

    fn wants_receipt(&self, sm: &SubmitSm<'_>) -> bool {
        let early = || concatenation(sm).is_some_and(|(total, part)| part < total);
        if self.faults.receipts.last_part_only && early() {
            return false;
        }
        match self.faults.receipts.send {
            Send::Off => false,
            Send::Always => true,
            Send::Requested => sm.registered_delivery & 0x03 != 0,
        }
    }

    /// Answers now, or after the delay that the faults ask for.
    fn answer(&mut self, reply: Reply, status: CommandStatus, id: u64) {
        match self.draw(self.faults.delay_ms, self.faults.jitter_ms) {
            Some(delay) => {
                self.due
                    .push(self.now + delay, Action::Answer { reply, status, id });
            }
            None => self.answer_now(reply, status, id),
        }
    }

    fn answer_now(&mut self, reply: Reply, status: CommandStatus, id: u64) {
        if !status.is_ok() {
            self.respond(reply, status, b"");
            return;
        }
        let mut digits = [0; 20];
        let base = if self.shared.config.ids == IdForm::Hex {
            16
        } else {
            10
        };
        let start = digits_of(id, base, &mut digits);
        let written = digits.get(start..).unwrap_or_default();
        self.respond(reply, status, written);
    }

    fn respond(&mut self, reply: Reply, status: CommandStatus, id: &[u8]) {
        let mut tlvs = TlvBuf::new();
        if let Some(state) = self.faults.congestion {
            let pushed = tlvs.push(Tag::CONGESTION_STATE, &[state]);
            debug_assert!(pushed.is_ok(), "one octet fits");
        }
        if let Some(info) = self.faults.info.as_ref().filter(|_| !status.is_ok()) {
            let text: Vec<u8> = info.bytes().take(INFO_OCTETS_MAX).chain([0]).collect();
            let pushed = tlvs.push(Tag::ADDITIONAL_STATUS_INFO_TEXT, &text);
            debug_assert!(pushed.is_ok(), "256 octets fit");
        }
        let session = &mut self.session;
        let answered = session.respond_submit_with(reply, status, id, tlvs.as_tlvs());
        debug_assert!(answered.is_ok(), "20 digits fit any message_id");
    }

    /// Answers, and sends the receipt after its delay; or first the receipt, if faults say so.
    fn plan(&mut self, receipt: Receipt, reply: Reply, id: u64) {
        let how = self.faults.receipts;
        let delay = self.draw(how.delay_ms, how.jitter_ms).unwrap_or_default();
        if how.before_response {
            self.hand_over(receipt);
            // In this order in the output: what is ready goes out before the answer is written.
            self.send_receipts();
            let later = self
                .draw(self.faults.delay_ms, self.faults.jitter_ms)
                .unwrap_or_default();
            let at = self.now + delay + later;
            self.due.push(
                at,
                Action::Answer {
                    reply,
                    status: CommandStatus::OK,
                    id,
                },
            );
            return;
        }
        self.answer(reply, CommandStatus::OK, id);
        if self.due.len() + self.ready.len() >= self.shared.config.receipts_waiting_max {
            self.tally.receipts_dropped += 1;
            return;
        }
        let answered = Duration::from_millis(self.faults.delay_ms + self.faults.jitter_ms);
        self.due.push(
            self.now + answered + delay,
            Action::Receipt(Box::new(receipt)),
        );
    }

    /// Puts a receipt where it will be sent from, twice if faults say so.
    fn hand_over(&mut self, receipt: Receipt) {
        let how = self.faults.receipts;
        if how.doubled {
            self.hand_over_once(receipt.clone(), how.other_bind);
        }
        self.hand_over_once(receipt, how.other_bind);
    }

    fn hand_over_once(&mut self, receipt: Receipt, other_bind: bool) {
        let receives = self.shared.binds().contains_key(&self.number);
        if other_bind || !receives {
            match self.shared.pass_on(self.number, &self.system_id, receipt) {
                Ok(()) => {}
                Err(receipt) if receives => self.ready.push_back(receipt),
                Err(receipt) if self.faults.receipts.resend => {
                    let left = std::iter::once(receipt);
                    self.tally.receipts_dropped += self.shared.leave(&self.system_id, left);
                }
                Err(_) => self.tally.receipts_dropped += 1,
            }
        } else {
            self.ready.push_back(receipt);
        }
    }

    fn run_due(&mut self) {
        while let Some(action) = self.due.pop(self.now) {
            match action {
                Action::Answer { reply, status, id } => self.answer_now(reply, status, id),
                Action::Receipt(receipt) => self.hand_over(*receipt),
            }
        }
    }

    /// Sends what handsets wrote, as far as the window goes.
    fn send_handed(&mut self) {
        while let Some(Handed { message, answered }) = self.handed.pop_front() {
            let sent = self.session.deliver(self.now, self.token, &message.pdu());
            match sent {
                Ok(()) => {
                    self.tally.inbound_sent += 1;
                    self.told.insert(self.token, answered);
                    self.token += 1;
                }
                Err(SubmitRefused::WindowFull | SubmitRefused::OutputFull) => {
                    return self.handed.push_front(Handed { message, answered });
                }
                // Whoever asked sees that there is no answer.
                Err(SubmitRefused::NotBound | SubmitRefused::Encode(_)) => {}
            }
        }
    }

    fn send_receipts(&mut self) {
        let (form, how) = (self.shared.config.ids, self.faults.receipts);
        while let Some(receipt) = self.ready.front() {
            let (now, token) = (self.now, self.token);
            let sent = receipt.with_pdu(form, how, |pdu| self.session.deliver(now, token, pdu));
            match sent {
                Ok(Ok(())) => self.tally.receipts_sent += 1,
                Ok(Err(SubmitRefused::WindowFull | SubmitRefused::OutputFull)) => break,
                // The connection is ending: what is left goes to the next bind.
                Ok(Err(SubmitRefused::NotBound)) if how.resend => break,
                Ok(Err(SubmitRefused::NotBound | SubmitRefused::Encode(_))) | Err(_) => {
                    self.tally.receipts_dropped += 1;
                }
            }
            let resend = how.resend && matches!(sent, Ok(Ok(())));
            if let Some(receipt) = self.ready.pop_front().filter(|_| resend) {
                self.unanswered.insert(token, receipt);
            }
            self.token += 1;
        }
    }

    fn keep(&self, sm: &SubmitSm<'_>, key: u64, status: CommandStatus, id: u64) {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let address = |address: &Address<'_>| (address.ton, address.npi, text(address.addr));
        let ids = self.shared.config.ids;
        self.shared.counts.keep(Seen {
            key,
            system_id: text(&self.system_id),
            source: address(&sm.source),
            dest: address(&sm.dest),
            service_type: text(sm.service_type),
            esm_class: sm.esm_class,
            data_coding: sm.data_coding,
            registered_delivery: sm.registered_delivery,
            validity_period: text(sm.validity_period),
            short_message: sm.user_data().to_vec(),
            tlvs: sm.tlvs.raw().to_vec(),
            status: status.0,
            message_id: if status.is_ok() {
                written(id, ids, ReceiptId::Same)
            } else {
                String::new()
            },
        });
    }

    /// Draws a delay; `None` = at once.
    fn draw(&mut self, fixed_ms: u64, jitter_ms: u64) -> Option<Duration> {
        if fixed_ms == 0 && jitter_ms == 0 {
            return None;
        }
        let jitter = Duration::from_millis(jitter_ms).mul_f64(self.random.unit());
        Some(Duration::from_millis(fixed_ms) + jitter)
    }

    fn flush_second(&mut self) {
        let (second, count) = self.in_second;
        if count > 0 {
            self.shared.counts.in_second(second, count, None);
            self.in_second.1 = 0;
        }
    }

    fn flush_counts(&mut self) {
        self.flush_second();
        self.shared.counts.accept(&mut self.batch);
        self.shared.counts.add(&mut self.tally);
    }
}

/// Counts are complete however a connection ends, even when its task is aborted.
impl Drop for Connection {
    fn drop(&mut self) {
        if self.bound.is_some() {
            self.shared.counts.binds_now.fetch_sub(1, Ordering::Relaxed);
            self.shared.binds().remove(&self.number);
        }
        let ready = std::mem::take(&mut self.ready);
        if self.faults.receipts.resend {
            let unanswered = std::mem::take(&mut self.unanswered).into_values();
            let left = ready
                .into_iter()
                .chain(self.due.take_receipts())
                .chain(unanswered);
            self.tally.receipts_dropped += self.shared.leave(&self.system_id, left);
        } else {
            self.tally.receipts_dropped += u64::try_from(ready.len()).unwrap_or_default();
        }
        self.flush_counts();
    }
}

/// What to do with a submit.
#[derive(Clone, Copy)]
enum Verdict {
    Refuse(CommandStatus),
    Accept(Option<FinalState>),
    Silence,
}

fn from_data<'a>(data: &DataSm<'a>) -> SubmitSm<'a> {
    SubmitSm {
        service_type: data.service_type,
        source: data.source,
        dest: data.dest,
        esm_class: data.esm_class,
        registered_delivery: data.registered_delivery,
        data_coding: data.data_coding,
        tlvs: data.tlvs,
        ..SubmitSm::default()
    }
}

/// A message's part number (0 = whole) and its key: destination, text and part, not the reference.
fn key(sm: &SubmitSm<'_>) -> (u8, u64) {
    let text = text_of(sm);
    let (total, part) = concatenation(sm).unwrap_or((0, 0));
    let key = fold(
        fold(u64::from(total) << 8 | u64::from(part), sm.dest.addr),
        text,
    );
    (part, key)
}

/// The text without its UDH.
fn text_of<'a>(sm: &SubmitSm<'a>) -> &'a [u8] {
    let data = sm.user_data();
    if sm.esm_class & ESM_UDHI == 0 {
        return data;
    }
    let header = data.first().map_or(0, |octets| usize::from(*octets) + 1);
    data.get(header..).unwrap_or_default()
}

/// Total and number of a part, from its UDH (3GPP TS 23.040 §9.2.3.24.1, .8) or sar_* TLVs.
fn concatenation(sm: &SubmitSm<'_>) -> Option<(u8, u8)> {
    if sm.esm_class & ESM_UDHI == 0 {
        return sm.tlvs.sar().map(|sar| (sar.total, sar.number));
    }
    let (&octets, data) = sm.user_data().split_first()?;
    let mut elements = data.get(..usize::from(octets))?;
    while let [kind, length, rest @ ..] = elements {
        let (value, after) = rest.split_at_checked(usize::from(*length))?;
        match (kind, value) {
            (0x00, [_, total, part]) | (0x08, [_, _, total, part]) => return Some((*total, *part)),
            _ => elements = after,
        }
    }
    None
}

/// Writes a number at the end of `digits`; returns where it starts.
fn digits_of(mut number: u64, base: u64, digits: &mut [u8; 20]) -> usize {
    let mut start = digits.len();
    for slot in digits.iter_mut().rev() {
        let digit = u8::try_from(number % base).unwrap_or_default();
        *slot = if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        };
        start -= 1;
        number /= base;
        if number == 0 {
            break;
        }
    }
    start
}

/// xorshift64: repeatable draws.
struct Random(u64);

impl Random {
    /// Draws from 0.0 .. 1.0.
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 32).unwrap_or_default()) / (f64::from(u32::MAX) + 1.0)
    }
}

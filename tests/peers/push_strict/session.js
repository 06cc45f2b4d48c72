// What both services watch of a connection: its stream limit, its stream ids, how it ends; and the
// faults that they make on it.
'use strict';

const http2 = require('http2');

const { NGHTTP2_NO_ERROR, NGHTTP2_CANCEL } = http2.constants;

const VIOLATIONS_MAX = 1000;

class Report {
  constructor() {
    Object.assign(this, {
      sessions: 0, requests: 0, accepted: {}, answers: {}, violations: [], violationCount: 0, goAways: 0, cuts: 0,
      refused: 0, refusedByLibrary: 0, unanswered: 0, resetAfterStatus: 0, excluded: 0, muted: 0, cancelled: 0,
      openMax: 0, lowered: 0,
    });
  }

  violation(sentence) {
    this.violationCount++;
    if (this.violations.length < VIOLATIONS_MAX) this.violations.push(sentence);
  }

  accept(target) { this.accepted[target] = (this.accepted[target] || 0) + 1; }

  answer(status, reason) {
    const key = reason ? `${status} ${reason}` : `${status}`;
    this.answers[key] = (this.answers[key] || 0) + 1;
  }
}

// One connection. `limit`: the streams that were announced first.
class Watched {
  constructor(session, limit, report, faults) {
    Object.assign(this, {
      session, report, faults, limit, acknowledged: limit, open: 0, whole: 0, nextId: 1, answeredMax: 0,
      lastId: Infinity, excused: false, waits: 1, cut: false, mute: false,
    });
    this.number = ++report.sessions;
    if (session.alpnProtocol !== 'h2') this.wrong(`ALPN is ${session.alpnProtocol}`);
    session.on('remoteSettings', (settings) => {
      if (settings.enablePush !== false) this.wrong('SETTINGS leave push enabled');
    });
    session.on('localSettings', (settings) => {
      this.waits = Math.max(0, this.waits - 1);
      this.acknowledged = settings.maxConcurrentStreams;
    });
    session.on('priority', () => this.wrong('PRIORITY, which the services ignore'));
    session.on('frameError', (type, code) => this.wrong(`frame ${type} failed with ${code}`));
    session.on('goaway', (code) => {
      if (code !== NGHTTP2_NO_ERROR) this.wrong(`the client ends the connection with error ${code}`);
    });
    session.on('error', (error) => {
      // What nghttp2 forbids. A gateway that is killed has its connections reset.
      if (!this.cut && /^ERR_HTTP2/.test(error.code)) this.wrong(`${error.code}: ${error.message}`);
    });
  }

  wrong(sentence) { this.report.violation(`connection ${this.number}: ${sentence}`); }

  // Other SETTINGS from here on.
  tell(settings) {
    if (this.session.destroyed || this.session.closed) return;
    this.waits++;
    this.session.settings(settings);
  }

  // SETTINGS_MAX_CONCURRENT_STREAMS from here on.
  announce(limit) {
    if (limit === this.limit || this.session.destroyed || this.session.closed) return;
    if (limit < this.limit) {
      this.excused = true;
      this.report.lowered++;
    }
    this.limit = limit;
    this.tell({ maxConcurrentStreams: limit });
  }

  // A stream came.
  opens(stream) {
    this.open++;
    this.report.requests++;
    this.report.openMax = Math.max(this.report.openMax, this.open);
    // nghttp2 refuses by itself what goes beyond SETTINGS that are not acknowledged yet, and does not tell:
    // it shows as a gap. While a limit falls that is a race of two honest peers; else it is not.
    const gap = (stream.id - this.nextId) / 2;
    this.nextId = stream.id + 2;
    if (gap > 0 && this.excused) this.report.refusedByLibrary += gap;
    else if (gap > 0) this.wrong(`${gap} streams before ${stream.id} went beyond the limit of ${this.limit}`);
    if (this.waits === 0) {
      this.excused = false;
      if (this.open > this.acknowledged) this.wrong(`${this.open} streams open at a limit of ${this.acknowledged}`);
    }
    stream.on('error', () => {});
    stream.on('close', () => {
      this.open--;
      if (stream.rstCode === NGHTTP2_CANCEL && !stream.ours) this.report.cancelled++;
      else if (stream.rstCode !== NGHTTP2_NO_ERROR && !stream.ours && !this.cut && stream.id <= this.lastId) {
        this.wrong(`the client resets stream ${stream.id} with ${stream.rstCode}`);
      }
    });
  }

  // Does what is due at this request: GOAWAY, or a cut.
  harm(stream) {
    const { goAway, cut } = this.faults;
    // Of whole requests: the HEADERS of many come before the first body.
    this.whole++;
    if (goAway && goAway.times > 0 && this.whole >= goAway.after && this.lastId === Infinity) {
      goAway.times--;
      // Some of what is under way is left out: nothing of that was answered, nor will it be.
      this.lastId = Math.max(stream.id - 2 * goAway.lag, this.answeredMax);
      this.report.goAways++;
      this.session.goaway(NGHTTP2_NO_ERROR, this.lastId, Buffer.from(JSON.stringify({ reason: goAway.reason })));
      if (goAway.thenCutMs !== undefined) {
        this.mute = true;
        setTimeout(() => this.breaks(), goAway.thenCutMs);
      }
    }
    if (cut && cut.times > 0 && this.whole >= cut.after && !this.cut) {
      cut.times--;
      this.report.cuts++;
      this.breaks();
    }
  }

  breaks() {
    this.cut = true;
    // Not within nghttp2's callback: Node has crashed so.
    setImmediate(() => this.session.destroy());
  }

  // Whether a stream may still be answered. What was cancelled, excluded or cut has not been processed.
  answers(stream) {
    if (stream.id > this.lastId) {
      this.report.excluded++;
      return false;
    }
    if (stream.destroyed || stream.closed || this.cut) return false;
    this.answeredMax = Math.max(this.answeredMax, stream.id);
    return true;
  }

  reset(stream, code) {
    stream.ours = true;
    stream.close(code);
  }
}

// What every request has, on both services: the pseudo-headers, and names that come once, in lower case.
function headerProblems(headers, raw, allowed) {
  const problems = [];
  if (headers[':method'] !== 'POST') problems.push([405, 'MethodNotAllowed', `method ${headers[':method']}`]);
  if (headers[':scheme'] !== 'https') problems.push([400, 'BadPath', `scheme ${headers[':scheme']}`]);
  if (!/^localhost:\d+$/.test(headers[':authority'] || '')) {
    problems.push([400, 'BadPath', `authority ${headers[':authority']}`]);
  }
  const names = raw.filter((_, at) => at % 2 === 0);
  for (const name of names) {
    if (name !== name.toLowerCase()) problems.push([400, 'BadPath', `${name} is not in lower case`]);
    if (!name.startsWith(':') && !allowed.has(name)) problems.push([400, 'BadPath', `header ${name}`]);
  }
  if (new Set(names).size !== names.length) problems.push([400, 'DuplicateHeaders', `twice in ${names}`]);
  return problems;
}

// A JSON object in UTF-8; null if it is none.
function object(body) {
  try {
    const value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
    return typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

// The body, whole. What broke off before is no request.
function read(stream, done) {
  const chunks = [];
  let octets = 0;
  stream.on('data', (chunk) => {
    octets += chunk.length;
    if (octets <= 65536) chunks.push(chunk);
  });
  stream.on('end', () => stream.aborted || done(Buffer.concat(chunks)));
}

module.exports = { Report, Watched, headerProblems, object, read };

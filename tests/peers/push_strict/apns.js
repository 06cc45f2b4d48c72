// APNs as its documentation has it (push.md §1), on Node's http2: what is not as it says is refused and
// written down with a sentence.
//
// Tokens that start so are treated in a way of their own:
//   5e700000  never answered
//   5e700001  REFUSED_STREAM once, then taken
//   5e700002  taken: HEADERS with 200, a blank of the body, and then a reset
//   5e700003  410 Unregistered, now
//   5e700004  taken, and a reset without any answer, once
//   5e700005  500 InternalServerError once, then taken
//   5e700006  taken, with 103 Early Hints before the answer
//   5e700007  410 Unregistered, as of two hours ago
'use strict';

const http2 = require('http2');
const crypto = require('crypto');
const jwt = require('./jwt');
const { Report, Watched, headerProblems, object, read } = require('./session');

const { NGHTTP2_INTERNAL_ERROR, NGHTTP2_REFUSED_STREAM } = http2.constants;

// Table of push types: what follows the bundle id in the topic; priorities.
const ANY = ['10', '5'];
const TYPES = {
  alert: { suffix: '', priorities: ['10', '5', '1'] },
  background: { suffix: '', priorities: ['5'] },
  voip: { suffix: '.voip', priorities: ['10'], octets: 5120 },
  complication: { suffix: '.complication', priorities: ANY },
  fileprovider: { suffix: '.pushkit.fileprovider', priorities: ANY },
  location: { suffix: '.location-query', priorities: ANY, only: 'token' },
  mdm: { suffix: '', priorities: ANY, only: 'certificate' },
  liveactivity: { suffix: '.push-type.liveactivity', priorities: ANY },
  pushtotalk: { suffix: '.voip-ptt', priorities: ['10'], once: true },
  widgets: { suffix: '.push-type.widgets', priorities: ANY },
  controls: { suffix: '.push-type.controls', priorities: ANY },
};

const NAMES = new Set([
  'authorization', 'apns-id', 'apns-push-type', 'apns-topic', 'apns-priority', 'apns-expiration', 'apns-collapse-id',
  'content-type', 'content-length', 'user-agent',
]);
// Their values differ from message to message: they may not enter HPACK's table.
const PER_MESSAGE = ['apns-id', 'apns-expiration', 'apns-collapse-id'];
// Theirs are the same in all: in the table they cost an octet each.
const PER_TOPIC = ['apns-topic', 'apns-push-type', 'apns-priority'];

const SETTINGS = { headerTableSize: 4096, initialWindowSize: 65535, maxFrameSize: 16384, maxHeaderListSize: 8000 };
const MONTH = 30 * 86400;

const seconds = () => Math.floor(Date.now() / 1000);

// → [status, reason, sentence] of each rule that the headers break.
function headers(headers, raw, identity, bundles) {
  const problems = headerProblems(headers, raw, NAMES);
  const wrong = (reason, sentence) => problems.push([400, reason, sentence]);
  const path = headers[':path'];
  if (!/^\/3\/device\/([0-9a-f]{2}){1,100}$/.test(path)) wrong('BadPath', `path ${path}`);
  const id = headers['apns-id'];
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id || '')) wrong('BadMessageId', `apns-id ${id}`);
  const kind = TYPES[headers['apns-push-type']];
  if (!kind) return wrong('InvalidPushType', `apns-push-type ${headers['apns-push-type']}`), problems;
  const priority = headers['apns-priority'];
  if (!kind.priorities.includes(priority)) {
    wrong('BadPriority', `${headers['apns-push-type']} with priority ${priority}`);
  }
  const expiration = headers['apns-expiration'];
  const at = Number(expiration);
  if (!/^(0|[1-9][0-9]*)$/.test(expiration || '')) wrong('BadExpirationDate', `apns-expiration ${expiration}`);
  else if (kind.once && at !== 0) wrong('BadExpirationDate', `expiration ${at} of what is tried once`);
  else if (at !== 0 && at < seconds() - 1) wrong('BadExpirationDate', `it expired ${seconds() - at} s ago`);
  else if (at > seconds() + MONTH) wrong('BadExpirationDate', `it expires in ${at - seconds()} s`);
  const collapse = headers['apns-collapse-id'];
  // Node gives values as Latin-1: a character is an octet.
  if (collapse !== undefined && !(collapse.length > 0 && collapse.length <= 64)) {
    wrong('BadCollapseId', `collapse id of ${collapse.length} octets`);
  }
  const topic = headers['apns-topic'] || '';
  if (!topic) wrong('MissingTopic', 'no topic');
  else if (!topic.endsWith(kind.suffix)) wrong('BadTopic', `topic ${topic} for ${headers['apns-push-type']}`);
  else {
    const bundle = topic.slice(0, topic.length - kind.suffix.length);
    const known = identity.topic ? bundle === identity.topic : bundles.includes(bundle);
    if (!known) wrong('TopicDisallowed', `topic ${topic}`);
  }
  const by = identity.topic ? 'certificate' : 'token';
  if (kind.only && kind.only !== by) wrong('TopicDisallowed', `${headers['apns-push-type']} by ${by}`);
  const hidden = headers[http2.sensitiveHeaders] || [];
  for (const name of PER_MESSAGE) {
    if (name in headers && !hidden.includes(name)) wrong('BadPath', `${name} may be indexed`);
  }
  for (const name of PER_TOPIC) {
    if (hidden.includes(name)) wrong('BadPath', `${name} is never indexed`);
  }
  return problems;
}

function payload(body, name) {
  const kind = TYPES[name] || {};
  const most = kind.octets || 4096;
  if (body.length > most) return [[413, 'PayloadTooLarge', `${body.length} octets for ${name}`]];
  const json = object(body);
  if (!json) return [[400, 'PayloadEmpty', `the payload is no JSON object: ${body.subarray(0, 80)}`]];
  const problems = [];
  const must = (holds, sentence) => holds || problems.push([400, 'PayloadEmpty', sentence]);
  if (name === 'mdm' || name === 'fileprovider') {
    must(!('aps' in json), `${name} with aps`);
    return problems;
  }
  must(jwt.isObject(json.aps), `${name} without aps`);
  const aps = json.aps || {};
  const shown = ['alert', 'badge', 'sound'].filter((member) => member in aps);
  const shows = ['alert', 'voip', 'liveactivity'].includes(name);
  must(shows || !shown.length, `${name} with ${shown}`);
  must(!('badge' in aps) || Number.isInteger(aps.badge), `badge ${aps.badge}`);
  if (name === 'alert') must(shown.length, 'an alert with nothing to show');
  if (name === 'background') must(aps['content-available'] === 1, 'background without content-available');
  if (name === 'widgets' || name === 'controls') must(aps['content-changed'] === true, `${name} without content-changed`);
  if (name === 'liveactivity') {
    must(Number.isFinite(aps.timestamp), `timestamp ${aps.timestamp}`);
    must(['start', 'update', 'end'].includes(aps.event), `event ${aps.event}`);
    must(jwt.isObject(aps['content-state']), 'no content-state');
  }
  return problems;
}

// Starts it. → { port, report, order, credentials }.
function start({ key, cert, clients, bundles }, listening) {
  const pair = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const credentials = {
    p8: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }), keyId: 'STRICT1234', teamId: 'TEAM567890',
  };
  const report = Object.assign(new Report(), { providerTokens: [], certificates: [], types: {} });
  const faults = {};
  const state = { limit: 1000, latencyMs: 0 };
  const sessions = new Set();
  const seen = new Set();
  // Settings are the connection's own: who shows a certificate need not show a token first.
  const server = http2.createSecureServer({
    key, cert, ca: clients, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.2',
    settings: { ...SETTINGS, maxConcurrentStreams: 1 },
  });

  // Apple knows a provider's team and key by the first request of a connection.
  function provider(own, headers) {
    const authorization = headers.authorization;
    if (own.identity.topic) {
      return authorization === undefined ? [] : [[403, 'BadCertificate', 'certificate and token on one connection']];
    }
    const [scheme, token, more] = (authorization || '').split(' ');
    if (scheme !== 'bearer' || !token || more !== undefined) {
      return [[403, 'MissingProviderToken', `authorization ${scheme}`]];
    }
    if (token !== own.token) {
      const now = seconds();
      const { why, old, claims } = jwt.check(token, { alg: 'ES256', kid: credentials.keyId, key: pair.publicKey, now });
      if (why) return [[403, old ? 'ExpiredProviderToken' : 'InvalidProviderToken', why]];
      if (claims.iss !== credentials.teamId) return [[403, 'InvalidProviderToken', `iss is ${claims.iss}`]];
      if (own.token && claims.iat - own.issued < 1200) {
        return [[429, 'TooManyProviderTokenUpdates', `a new token after ${claims.iat - own.issued} s`]];
      }
      Object.assign(own, { token, issued: claims.iat });
      const hash = crypto.createHash('sha256').update(token).digest('hex');
      if (!report.providerTokens.includes(hash)) report.providerTokens.push(hash);
    }
    return [];
  }

  function answer(own, stream, status, id, reason, more) {
    if (!own.watched.answers(stream)) return;
    report.answer(status, reason);
    // As Apple writes it.
    const head = { ':status': status, 'apns-id': (id || crypto.randomUUID()).toUpperCase() };
    if (!reason) return stream.respond(head, { endStream: true });
    stream.respond({ ...head, 'content-type': 'application/json' });
    stream.end(JSON.stringify({ reason, ...more }));
  }

  function accept(own, stream, headers, token) {
    if (!own.watched.answers(stream)) return;
    report.accept(token);
    if (own.watched.mute) return void report.muted++;
    const type = headers['apns-push-type'];
    report.types[type] = (report.types[type] || 0) + 1;
    answer(own, stream, 200, headers['apns-id']);
    own.watched.announce(state.limit);
  }

  function judge(own, stream, fields, raw, body) {
    const { watched } = own;
    const length = fields['content-length'];
    const problems = [
      ...provider(own, fields),
      ...headers(fields, raw, own.identity, bundles),
      ...payload(body, fields['apns-push-type']),
    ];
    if (length !== undefined && Number(length) !== body.length) problems.push([400, 'BadPath', `content-length ${length}`]);
    for (const [, , sentence] of problems) watched.wrong(`stream ${stream.id}: ${sentence}`);
    if (problems.length) return answer(own, stream, problems[0][0], fields['apns-id'], problems[0][1]);
    const token = fields[':path'].slice('/3/device/'.length);
    const first = !seen.has(token);
    const special = token.slice(0, 8);
    const once = ['5e700001', '5e700004', '5e700005'].includes(special);
    if (once && first) seen.add(token);
    if (special === '5e700000') return void report.unanswered++;
    if (special === '5e700001' && first) {
      report.refused++;
      return watched.reset(stream, NGHTTP2_REFUSED_STREAM);
    }
    if (special === '5e700002' && watched.answers(stream)) {
      report.accept(token);
      report.resetAfterStatus++;
      // Trailers that never come keep Node from ending the stream. nghttp2 drops HEADERS that are still queued
      // when a reset is: a blank behind them shows that they left.
      stream.respond({ ':status': 200, 'apns-id': fields['apns-id'] }, { waitForTrailers: true });
      return void stream.write(' ', () => watched.reset(stream, NGHTTP2_INTERNAL_ERROR));
    }
    if (special === '5e700003') return answer(own, stream, 410, fields['apns-id'], 'Unregistered', { timestamp: Date.now() });
    if (special === '5e700007') {
      return answer(own, stream, 410, fields['apns-id'], 'Unregistered', { timestamp: Date.now() - 7200_000 });
    }
    if (special === '5e700006') stream.additionalHeaders({ ':status': 103 });
    if (special === '5e700004' && first && watched.answers(stream)) {
      report.accept(token);
      return watched.reset(stream, NGHTTP2_INTERNAL_ERROR);
    }
    if (special === '5e700005' && first) return answer(own, stream, 500, fields['apns-id'], 'InternalServerError');
    watched.harm(stream);
    const done = () => accept(own, stream, fields, token);
    return state.latencyMs ? void setTimeout(done, state.latencyMs) : done();
  }

  server.on('session', (session) => {
    const peer = session.socket.getPeerCertificate();
    const identity = {};
    if (peer && peer.raw) {
      identity.topic = peer.subject.UID;
      report.certificates.push(peer.raw.toString('base64'));
    }
    const own = { identity, watched: new Watched(session, 1, report, faults) };
    if (identity.topic && !session.socket.authorized) own.watched.wrong('the certificate is not of its CA');
    if (identity.topic) own.watched.announce(state.limit);
    sessions.add(own);
    session.on('close', () => sessions.delete(own));
    session.on('stream', (stream, fields, _, raw) => {
      own.watched.opens(stream);
      read(stream, (body) => judge(own, stream, fields, raw, body));
    });
  });
  server.on('sessionError', () => {});
  server.on('tlsClientError', () => {});

  function order({ limit, settings, latencyMs, goAway, cut }) {
    if (latencyMs !== undefined) state.latencyMs = latencyMs;
    if (goAway) faults.goAway = goAway;
    if (cut) faults.cut = cut;
    if (settings) for (const own of sessions) own.watched.tell(settings);
    if (limit !== undefined) {
      state.limit = limit;
      for (const own of sessions) if (own.token || own.identity.topic) own.watched.announce(limit);
    }
  }

  // Connections, and whether each has acknowledged what it was told last.
  const told = () => ({ sessionsOpen: sessions.size, acknowledged: [...sessions].every((own) => own.watched.waits === 0) });
  server.listen(0, '127.0.0.1', () => listening({ port: server.address().port, credentials }));
  return { report: () => ({ ...report, ...told() }), order };
}

module.exports = { start };

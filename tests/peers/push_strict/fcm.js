// FCM's HTTP v1 and Google's token endpoint as their documentation has them (push.md §2), on Node's http2
// and https: what is not as it says is refused and written down with a sentence.
//
// Tokens that start so are treated in a way of their own:
//   gone-    404 UNREGISTERED
//   quota-   429 QUOTA_EXCEEDED with Retry-After: 1 once, then taken
//   auth-    401 UNAUTHENTICATED once: the access token is withdrawn, all need another one
//   sender-  403 SENDER_ID_MISMATCH
'use strict';

const http2 = require('http2');
const https = require('https');
const crypto = require('crypto');
const jwt = require('./jwt');
const { Report, Watched, headerProblems, object, read } = require('./session');

const AUDIENCE = 'https://oauth2.googleapis.com/token';
const SCOPES = ['https://www.googleapis.com/auth/firebase.messaging', 'https://www.googleapis.com/auth/cloud-platform'];
const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const ERROR = 'type.googleapis.com/google.firebase.fcm.v1.FcmError';

const NAMES = new Set(['authorization', 'content-type', 'content-length', 'accept', 'user-agent']);

// Members by message of the REST reference: what JSON a member must be.
const text = (value) => typeof value === 'string';
const truth = (value) => typeof value === 'boolean';
const whole = (value) => Number.isInteger(value);
const texts = (value) => jwt.isObject(value) && Object.values(value).every(text);
const free = jwt.isObject;
const list = (value) => Array.isArray(value) && value.every(text);
const one = (...words) => (value) => words.includes(value);
const duration = (value) => text(value) && /^[0-9]+(\.[0-9]{1,9})?s$/.test(value) && parseFloat(value) <= 2419200;
const label = (value) => text(value) && /^[a-zA-Z0-9\-_.~%]{1,50}$/.test(value);
const topic = (value) => text(value) && /^[a-zA-Z0-9\-_.~%]+$/.test(value);
const OPTIONS = { analytics_label: label };
const MESSAGE = {
  token: (value) => text(value) && /^[\x21-\x7e]+$/.test(value),
  topic,
  condition: (value) => text(value) && condition(value),
  data,
  notification: { title: text, body: text, image: text },
  fcm_options: OPTIONS,
  apns: free,
  webpush: free,
  android: {
    collapse_key: text, priority: one('NORMAL', 'HIGH'), ttl: duration, restricted_package_name: text, data,
    fcm_options: OPTIONS, direct_boot_ok: truth,
    notification: {
      title: text, body: text, icon: text, color: text, sound: text, tag: text, click_action: text,
      body_loc_key: text, body_loc_args: list, title_loc_key: text, title_loc_args: list, channel_id: text,
      ticker: text, sticky: truth, event_time: text, local_only: truth, default_sound: truth, image: text,
      default_vibrate_timings: truth, default_light_settings: truth, notification_count: whole,
      visibility: one('VISIBILITY_UNSPECIFIED', 'PRIVATE', 'PUBLIC', 'SECRET'),
      notification_priority: text, vibrate_timings: list, light_settings: free,
    },
  },
};

function data(value) {
  const reserved = (key) => key === 'from' || key === 'message_type' || /^(google|gcm)(\.|$)/.test(key);
  return texts(value) && !Object.keys(value).some(reserved);
}

// At most five topics in `and`, `or`, `not` and parentheses, read by descent.
function condition(source) {
  const tokens = source.match(/'[^']*'|&&|\|\||[!()]|\bin topics\b|\S/g) || [];
  let at = 0;
  let topics = 0;
  const take = (wanted) => tokens[at] === wanted && ++at > 0;
  const term = () => {
    if (take('!')) return term();
    if (take('(')) return expression() && take(')');
    const name = tokens[at++] || '';
    topics++;
    return name.length > 2 && name.startsWith("'") && topic(name.slice(1, -1)) && take('in topics');
  };
  const expression = () => {
    if (!term()) return false;
    while (take('&&') || take('||')) if (!term()) return false;
    return true;
  };
  return expression() && at === tokens.length && topics <= 5;
}

// Sentences of what is not in the reference, or not as it says.
function shape(value, rules, at) {
  if (!jwt.isObject(value)) return [`${at} is no object`];
  return Object.entries(value).flatMap(([name, member]) => {
    const rule = rules[name];
    if (!rule) return [`unknown name ${at}.${name}`];
    if (typeof rule === 'object') return shape(member, rule, `${at}.${name}`);
    return rule(member) ? [] : [`${at}.${name} is ${JSON.stringify(member)}`];
  });
}

// Keys and values, as FCM counts.
const octets = (map) => Object.entries(map || {}).reduce(
  (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(String(value)), 0);

function message(body) {
  const json = object(body);
  if (!json) return { problems: ['the body is no JSON object'] };
  const more = Object.keys(json).filter((name) => !['message', 'validate_only'].includes(name));
  const said = json.message;
  const problems = [...more.map((name) => `unknown name ${name}`), ...shape(said, MESSAGE, 'message')];
  if (problems.length) return { problems };
  const targets = ['token', 'topic', 'condition'].filter((name) => name in said);
  if (targets.length !== 1) problems.push(`targets: ${targets}`);
  const most = targets[0] === 'token' ? 4096 : 2048;
  const count = octets(said.data) + octets(said.notification);
  if (count > most) problems.push(`${count} octets of ${most}`);
  return { problems, kind: targets[0], target: said[targets[0]], said };
}

function start({ key, cert }, listening) {
  const pair = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  const account = {
    type: 'service_account', project_id: 'strict-1a2b3', private_key_id: crypto.randomBytes(20).toString('hex'),
    private_key: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }),
    client_email: 'push@strict-1a2b3.iam.gserviceaccount.com', client_id: '1234567890', token_uri: AUDIENCE,
  };
  const report = Object.assign(new Report(), { grants: 0, kinds: {}, last: {}, waits: {} });
  const faults = {};
  const state = { limit: 100, latencyMs: 0 };
  const sessions = new Set();
  const seen = new Map();
  // Withdrawn tokens are gone from it.
  const tokens = new Set();

  const seconds = () => Math.floor(Date.now() / 1000);

  function grant(body, type) {
    const wrong = (error, sentence) => {
      report.violation(`token endpoint: ${sentence}`);
      return [400, { error, error_description: sentence }];
    };
    if (type !== 'application/x-www-form-urlencoded') return wrong('invalid_request', `content-type ${type}`);
    const form = new URLSearchParams(body.toString('utf8'));
    const names = [...form.keys()].sort().join();
    if (names !== 'assertion,grant_type') return wrong('invalid_request', `the form has ${names}`);
    if (form.get('grant_type') !== GRANT) return wrong('unsupported_grant_type', form.get('grant_type'));
    const now = seconds();
    const checked = jwt.check(form.get('assertion'), {
      alg: 'RS256', kid: account.private_key_id, key: pair.publicKey, now,
    });
    if (checked.why) return wrong('invalid_grant', checked.why);
    const { iss, scope, aud, iat, exp, sub } = checked.claims;
    if (iss !== account.client_email) return wrong('invalid_grant', `iss is ${iss}`);
    if (aud !== AUDIENCE) return wrong('invalid_grant', `aud is ${aud}`);
    if (!(scope || '').split(' ').every((each) => SCOPES.includes(each))) return wrong('invalid_scope', scope);
    if (!Number.isInteger(exp) || exp - iat > 3600 || exp <= now) return wrong('invalid_grant', `exp is ${exp - iat} s on`);
    if (sub !== undefined && sub !== iss) return wrong('invalid_grant', `sub is ${sub}`);
    const token = `ya29.${crypto.randomBytes(60).toString('base64url')}`;
    tokens.add(token);
    report.grants++;
    return [200, { access_token: token, expires_in: 3599, token_type: 'Bearer' }];
  }

  const endpoint = https.createServer({ key, cert }, (request, response) => {
    if (request.method !== 'POST' || request.url !== '/token') {
      report.violation(`token endpoint: ${request.method} ${request.url}`);
    }
    read(request, (body) => {
      const [status, json] = grant(body, request.headers['content-type']);
      response.writeHead(status, { 'content-type': 'application/json; charset=UTF-8' });
      response.end(JSON.stringify(json));
    });
  });

  function refuse(own, stream, http, status, code, more = {}) {
    if (!own.watched.answers(stream)) return;
    report.answer(http, code || status);
    const details = code ? [{ '@type': ERROR, errorCode: code }] : [];
    stream.respond({ ':status': http, 'content-type': 'application/json; charset=UTF-8', ...more });
    stream.end(JSON.stringify({ error: { code: http, message: 'Refused.', status, details } }));
  }

  function accept(own, stream, { kind, target, said }) {
    if (!own.watched.answers(stream)) return;
    report.accept(target);
    if (own.watched.mute) return void report.muted++;
    report.answer(200);
    report.kinds[kind] = (report.kinds[kind] || 0) + 1;
    report.last = said;
    stream.respond({ ':status': 200, 'content-type': 'application/json; charset=UTF-8' });
    stream.end(JSON.stringify({ name: `projects/${account.project_id}/messages/${crypto.randomUUID()}` }));
  }

  function judge(own, stream, headers, raw, body) {
    const { watched } = own;
    const problems = headerProblems(headers, raw, NAMES).map(([, , sentence]) => sentence);
    const path = `/v1/projects/${account.project_id}/messages:send`;
    if (headers[':path'] !== path) problems.push(`path ${headers[':path']}`);
    if (headers['content-type'] !== 'application/json') problems.push(`content-type ${headers['content-type']}`);
    const length = headers['content-length'];
    if (length !== undefined && Number(length) !== body.length) problems.push(`content-length ${length}`);
    const read = message(body);
    problems.push(...read.problems);
    const [scheme, token] = (headers.authorization || '').split(' ');
    if (scheme !== 'Bearer' || !token) problems.push(`authorization ${scheme}`);
    for (const sentence of problems) watched.wrong(`stream ${stream.id}: ${sentence}`);
    if (problems.length) return refuse(own, stream, 400, 'INVALID_ARGUMENT', 'INVALID_ARGUMENT');
    if (!tokens.has(token)) {
      // Those under way when it was withdrawn could not know.
      return refuse(own, stream, 401, 'UNAUTHENTICATED');
    }
    const { target } = read;
    const before = seen.get(target);
    seen.set(target, { at: Date.now() });
    if (target.startsWith('gone-')) return refuse(own, stream, 404, 'NOT_FOUND', 'UNREGISTERED');
    if (target.startsWith('sender-')) return refuse(own, stream, 403, 'PERMISSION_DENIED', 'SENDER_ID_MISMATCH');
    if (target.startsWith('quota-') && !before) {
      return refuse(own, stream, 429, 'RESOURCE_EXHAUSTED', 'QUOTA_EXCEEDED', { 'retry-after': '1' });
    }
    if (target.startsWith('quota-')) {
      report.waits[target] = Date.now() - before.at;
      if (report.waits[target] < 1000) watched.wrong(`${target} came again after ${report.waits[target]} ms of 1,000`);
    }
    if (target.startsWith('auth-') && !before) {
      tokens.clear();
      return refuse(own, stream, 401, 'UNAUTHENTICATED');
    }
    watched.harm(stream);
    const done = () => accept(own, stream, read);
    return state.latencyMs ? void setTimeout(done, state.latencyMs) : done();
  }

  const server = http2.createSecureServer({ key, cert, minVersion: 'TLSv1.2', settings: { maxConcurrentStreams: 100 } });
  server.on('session', (session) => {
    const own = { watched: new Watched(session, 100, report, faults) };
    own.watched.announce(state.limit);
    sessions.add(own);
    session.on('close', () => sessions.delete(own));
    session.on('stream', (stream, headers, _, raw) => {
      own.watched.opens(stream);
      read(stream, (body) => judge(own, stream, headers, raw, body));
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
      for (const own of sessions) own.watched.announce(limit);
    }
  }

  const told = () => ({ sessionsOpen: sessions.size, acknowledged: [...sessions].every((own) => own.watched.waits === 0) });
  server.listen(0, '127.0.0.1', () => endpoint.listen(0, '127.0.0.1', () => {
    listening({ port: server.address().port, tokenPort: endpoint.address().port, account });
  }));
  return { report: () => ({ ...report, ...told() }), order };
}

module.exports = { start, condition };

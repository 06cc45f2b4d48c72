// A sender to FCM: access tokens by Google's google-auth-library, sends on Node's own HTTP/2.
//
// On stdin, one JSON object per line; for each one line on stdout:
//   {"connect": {"port": 1, "ca": "PEM", "account": {…}}}     → {"ok": true} or {"error": "…"}
//   {"send": [{"message": {…}}, …]}       → {"answers": [{"status": 200, "body": {…}, "retryAfter": "…"} or {"error": "…"}]}
// All messages of one line are on their way at once. Lines are done in order.
'use strict';

const http2 = require('http2');
const readline = require('readline');
const { JWT, gaxios } = require('google-auth-library');

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');

let session, bearer, path;

async function connect({ port, ca, account }) {
  // The library asks at Google's address, whatever the account's file says.
  const transporter = new gaxios.Gaxios();
  transporter.interceptors.request.add({
    resolved: async (options) => Object.assign(options, { url: new URL(account.token_uri), retry: false }),
  });
  const jwt = new JWT({
    email: account.client_email,
    key: account.private_key,
    keyId: account.private_key_id,
    scopes: ['https://www.googleapis.com/auth/firebase.messaging'],
    transporter,
  });
  const { access_token: token } = await jwt.authorize();
  bearer = `Bearer ${token}`;
  path = `/v1/projects/${account.project_id}/messages:send`;
  if (session) session.destroy();
  session = http2.connect(`https://localhost:${port}`, { ca });
  session.on('error', () => {});
  return { ok: true };
}

const send = (message) => new Promise((resolve) => {
  const stream = session.request({
    ':method': 'POST', ':path': path, authorization: bearer, 'content-type': 'application/json',
  });
  let status, retryAfter;
  let body = '';
  stream.setEncoding('utf8');
  stream.on('response', (headers) => {
    status = headers[':status'];
    retryAfter = headers['retry-after'];
  });
  stream.on('data', (data) => { body += data; });
  stream.on('error', (error) => resolve({ error: error.code, rst: stream.rstCode }));
  stream.on('close', () => {
    let json = null;
    try { json = JSON.parse(body); } catch { /* A front end's page. */ }
    resolve({ status, retryAfter, body: json });
  });
  stream.end(JSON.stringify(message));
});

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    try {
      say(order.connect ? await connect(order.connect)
        : { answers: await Promise.all(order.send.map(send)) });
    } catch (error) {
      say({ error: String(error && error.message || error) });
    }
  }
  if (session) session.destroy();
})();

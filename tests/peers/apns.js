// Providers on @parse/node-apn: what they are told, they push; what came of it, they say.
//
// On stdin, one JSON object per line; for each one line on stdout:
//   {"connect": {"port": 1, "ca": "PEM", "key": "PEM", "keyId": "…", "teamId": "…"}}   or
//   {"connect": {"port": 1, "ca": "PEM", "certificate": "PEM", "key": "PEM"}}          → {"ok": true}
//   {"push": {"devices": ["…"], "topic": "…", …}}    → {"sent": [device], "failed": [{device, status, reason, error}]}
// All devices of one push are on their way at once. Lines are done in order.
'use strict';

const readline = require('readline');
const apn = require('@parse/node-apn');

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');

let provider;

function connect({ port, ca, certificate, key, keyId, teamId }) {
  if (provider) provider.shutdown();
  provider = new apn.Provider({
    ...(certificate ? { cert: certificate, key } : { token: { key, keyId, teamId } }),
    address: 'localhost',
    port,
    ca,
    production: false,
    requestTimeout: 5000,
    connectionRetryLimit: 3,
  });
  return { ok: true };
}

async function push({ devices, ...fields }) {
  const { sent, failed } = await provider.send(new apn.Notification(fields), devices);
  return {
    sent: sent.map((one) => one.device),
    failed: failed.map(({ device, status, response, error }) => ({
      device, status, reason: response && response.reason, timestamp: response && response.timestamp,
      error: error && String(error.message || error),
    })),
  };
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    try {
      say(order.connect ? connect(order.connect) : await push(order.push));
    } catch (error) {
      say({ error: String(error && error.stack || error) });
    }
  }
  if (provider) provider.shutdown();
  // Timers of requests that were never answered keep the process.
  process.exit(0);
})();

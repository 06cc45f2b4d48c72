// APNs, FCM and Google's token endpoint, strict: on Node's own http2, https and crypto and nothing else.
//
//   node push_strict.js KEY CERTIFICATE CLIENTS BUNDLE…
//
// KEY and CERTIFICATE are the server's for `localhost`, CLIENTS the CA of clients' certificates, all of them
// PEM files; BUNDLE the bundle ids that the provider's key is for. It makes the provider's key and the
// service account itself, and says them:
//   {"event": "listening", "apns": {"port", "credentials": {"p8", "keyId", "teamId"}},
//    "fcm": {"port", "tokenPort", "account": {…}}}
// On stdin, one JSON object per line:
//   {"order": {"apns" or "fcm": {"limit": streams, "settings": others, by Node's names, "latencyMs": answers' delay,
//     "goAway": {"after": requests on a connection, "lag": of them left out, "times": connections, "reason",
//       "thenCutMs": what is included is taken, not answered, and then the connection is cut},
//     "cut": {"after": requests on a connection, "times": connections}}, "id"}}  → {"event": "done", "id"}
//   {"report": {"id"}}                              → {"event": "report", "id", "apns": {…}, "fcm": {…}}
// A report has what was accepted by target, and a sentence for each violation.
'use strict';

const fs = require('fs');
const readline = require('readline');
const apns = require('./push_strict/apns');
const fcm = require('./push_strict/fcm');

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');

const [key, cert, clients] = process.argv.slice(2, 5).map((path) => fs.readFileSync(path));
const bundles = process.argv.slice(5);

const told = {};
const tells = (service) => (what) => {
  told[service] = what;
  if (told.apns && told.fcm) say({ event: 'listening', ...told });
};
const services = {
  apns: apns.start({ key, cert, clients, bundles }, tells('apns')),
  fcm: fcm.start({ key, cert }, tells('fcm')),
};

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { order, report } = JSON.parse(line);
  if (order) {
    for (const service of Object.keys(services)) if (order[service]) services[service].order(order[service]);
    say({ event: 'done', id: order.id });
  }
  if (report) say({ event: 'report', id: report.id, apns: services.apns.report(), fcm: services.fcm.report() });
}).on('close', () => process.exit(0));

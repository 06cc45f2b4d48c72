// Feeds requests to npm's standardwebhooks and says what it thinks of each, one line per request.
//
// On stdin, one JSON object per line: {"secret", "headers", "body"}, the body in base64.
'use strict';

const readline = require('readline');
const { Webhook } = require('standardwebhooks');

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { secret, headers, body } = JSON.parse(line);
  try {
    const event = new Webhook(secret).verify(Buffer.from(body, 'base64').toString('utf8'), headers);
    console.log(JSON.stringify({ ok: true, type: event.type }));
  } catch (error) {
    console.log(JSON.stringify({ ok: false, error: String(error) }));
  }
});

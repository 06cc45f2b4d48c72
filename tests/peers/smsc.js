// An SMSC on node-smpp: says every PDU as a line of JSON, answers, and sends on command.
//
//   node smsc.js PORT [KEY.pem CERT.pem]        with a key and a certificate: TLS
//
// On stdin, one JSON object per line:
//   {"receipt": {"id": "…", "stat": "DELIVRD"}}
//   {"mo": {"source": "…", "dest": "…", "octets": "68656a", "data_coding": 0, "esm_class": 0}}
//   {"enquire_link": true}, {"unbind": true}
// smsc.py (smpp.twisted3) and smsc.pl (Net::SMPP) understand and say the same.
'use strict';

const fs = require('fs');
const readline = require('readline');
const smpp = require('smpp');

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');

// Message id → the submit that it was given to, for receipts.
const taken = new Map();
const sessions = new Set();
let last = 7000000000;

const [port, key, cert] = process.argv.slice(2);
const tls = key ? { key: fs.readFileSync(key), cert: fs.readFileSync(cert), secure: true } : {};

const server = smpp.createServer(tls, (session) => {
  session.on('error', (error) => say({ event: 'error', error: String(error) }));
  session.on('close', () => {
    sessions.delete(session);
    say({ event: 'close' });
  });
  session.on('pdu', (pdu) => {
    if (pdu.command === 'unknown') say({ event: 'unknown', id: pdu.command_id });
  });
  for (const bind of ['bind_transceiver', 'bind_transmitter', 'bind_receiver']) {
    session.on(bind, (pdu) => {
      const ok = pdu.system_id === 'main' && pdu.password === 'secret';
      // A transmitter cannot be delivered to.
      if (ok && bind !== 'bind_transmitter') sessions.add(session);
      say({
        event: 'bind', command: bind, ok, system_id: pdu.system_id,
        interface_version: pdu.interface_version,
      });
      session.send(pdu.response({
        command_status: ok ? smpp.ESME_ROK : smpp.ESME_RINVPASWD, system_id: 'node-smpp',
      }));
    });
  }
  session.on('submit_sm', (pdu) => {
    const id = String(++last);
    taken.set(id, pdu);
    session.send(pdu.response({ message_id: id }));
    // node-smpp has decoded short_message by data_coding, and taken the UDH off it.
    const { message, udh } = pdu.short_message;
    // A tag that it has no name for comes under its number.
    const tlvs = {};
    for (const [name, value] of Object.entries(pdu)) {
      if (/^\d+$/.test(name)) tlvs[Number(name).toString(16).padStart(4, '0')] = Buffer.from(value).toString('hex');
    }
    say({
      event: 'submit_sm', id, message, udh: (udh || []).map((part) => part.toString('hex')),
      source: [pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr],
      dest: [pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr],
      data_coding: pdu.data_coding, esm_class: pdu.esm_class,
      registered_delivery: pdu.registered_delivery, tlvs,
    });
  });
  session.on('enquire_link', (pdu) => {
    say({ event: 'enquire_link' });
    session.send(pdu.response());
  });
  session.on('unbind', (pdu) => {
    say({ event: 'unbind' });
    session.send(pdu.response(), () => session.close());
  });
});

function deliver(what, fields) {
  const session = sessions.values().next().value;
  if (!session) return say({ ...what, status: 'no bind' });
  session.deliver_sm({
    source_addr_ton: 1, source_addr_npi: 1, dest_addr_ton: 1, dest_addr_npi: 1, ...fields,
  }, (answer) => say({ ...what, status: answer.command_status }));
}

const commands = {
  receipt({ id, stat }) {
    const submit = taken.get(id);
    const text = `id:${id} sub:001 dlvrd:001 submit date:2611211200 done date:2611211201 stat:${stat} err:000 text:`;
    deliver({ event: 'receipt_answered', id }, {
      source_addr: submit.destination_addr, destination_addr: submit.source_addr,
      esm_class: 4, short_message: text,
    });
  },
  mo({ source, dest, octets, data_coding = 0, esm_class = 0 }) {
    deliver({ event: 'mo_answered', source }, {
      source_addr: source, destination_addr: dest, data_coding, esm_class,
      short_message: Buffer.from(octets, 'hex'),
    });
  },
  enquire_link() {
    const [session] = sessions;
    session.enquire_link((answer) => say({ event: 'enquire_link_answered', status: answer.command_status }));
  },
  unbind() {
    const [session] = sessions;
    session.unbind((answer) => {
      say({ event: 'unbound', status: answer.command_status });
      session.close();
    });
  },
};

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  for (const [name, arguments_] of Object.entries(JSON.parse(line))) commands[name](arguments_);
}).on('close', () => process.exit(0));

server.on('error', (error) => { say({ event: 'error', error: String(error) }); process.exit(1); });
server.listen(Number(port), '127.0.0.1', () => {
  say({ event: 'listening', port: server.address().port });
});

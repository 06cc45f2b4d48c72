// An SMSC on node-smpp: says every PDU as a line of JSON, answers, and sends receipts on command.
//
//   node smsc.js PORT
//
// On stdin, one JSON object per line: {"receipt": {"id": "…", "stat": "DELIVRD"}}.
'use strict';

const readline = require('readline');
const smpp = require('smpp');

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');

// Message id → the submit that it was given to, for receipts.
const taken = new Map();
const sessions = new Set();
let last = 7000000000;

const server = smpp.createServer({}, (session) => {
  sessions.add(session);
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
      const ok = pdu.password === 'secret';
      say({
        event: 'bind', command: bind, ok, system_id: pdu.system_id, password: pdu.password,
        interface_version: pdu.interface_version,
      });
      session.send(pdu.response({
        command_status: ok ? smpp.ESME_ROK : smpp.ESME_RBINDFAIL, system_id: 'node-smpp',
      }));
    });
  }
  session.on('submit_sm', (pdu) => {
    const id = String(++last);
    taken.set(id, pdu);
    session.send(pdu.response({ message_id: id }));
    // node-smpp has decoded short_message by data_coding, and taken the UDH off it.
    const { message, udh } = pdu.short_message;
    say({
      event: 'submit_sm', id, message, udh: (udh || []).map((part) => part.toString('hex')),
      source: [pdu.source_addr_ton, pdu.source_addr_npi, pdu.source_addr],
      dest: [pdu.dest_addr_ton, pdu.dest_addr_npi, pdu.destination_addr],
      data_coding: pdu.data_coding, esm_class: pdu.esm_class,
      registered_delivery: pdu.registered_delivery,
    });
  });
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => {
    say({ event: 'unbind' });
    session.send(pdu.response(), () => session.close());
  });
});

function receipt({ id, stat }) {
  const submit = taken.get(id);
  const session = sessions.values().next().value;
  if (!submit || !session) return say({ event: 'receipt_failed', id });
  const now = new Date().toISOString().replace(/[-:T]/g, '').slice(2, 12);
  const text = `id:${id} sub:001 dlvrd:001 submit date:${now} done date:${now} stat:${stat} err:000 text:`;
  session.deliver_sm({
    source_addr: submit.destination_addr, destination_addr: submit.source_addr,
    esm_class: 4, short_message: text,
  }, (answer) => say({ event: 'receipt_answered', id, status: answer.command_status }));
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  if (command.receipt) receipt(command.receipt);
}).on('close', () => process.exit(0));

server.on('error', (error) => { say({ event: 'error', error: String(error) }); process.exit(1); });
server.listen(Number(process.argv[2]), '127.0.0.1', () => {
  say({ event: 'listening', port: server.address().port });
});

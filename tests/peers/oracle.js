// Cuts texts with npm's sms-segments-calculator and split-sms, one line for each line on stdin.
//
// A JSON string is answered with {"calculator", "split"}: each the encoding (gsm7 or ucs2) and the
// septets or 16-bit units of each segment.
'use strict';

const readline = require('readline');
const { SegmentedMessage } = require('sms-segments-calculator');
const split = require('split-sms');

function calculator(text) {
  const message = new SegmentedMessage(text);
  const units = (segment) => segment.reduce((n, c) => n + (c.codeUnits ? c.codeUnits.length : 0), 0);
  return {
    encoding: message.encodingName === 'GSM-7' ? 'gsm7' : 'ucs2',
    segments: message.segments.map(units),
  };
}

function splitSms(text) {
  const { characterSet, parts } = split.split(text);
  const gsm = characterSet === 'GSM';
  return {
    encoding: gsm ? 'gsm7' : 'ucs2',
    segments: parts.map((part) => (gsm ? part.bytes : part.bytes / 2)),
  };
}

const lines = [];
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const text = JSON.parse(line);
  lines.push(JSON.stringify({ calculator: calculator(text), split: splitSms(text) }));
}).on('close', () => process.stdout.write(lines.map((line) => line + '\n').join('')));

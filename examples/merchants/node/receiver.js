// Takes NewPay's payment and refund callbacks: verifies, stores, acknowledges.
//
// Node 18 or newer, no packages. It speaks plain HTTP on loopback; put a web server that speaks TLS
// in front of it. What it is configured by stands in ../README.md, what it does and why in
// docs/merchants.md.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');

const PATH = '/newpay/callback';
const BODY_BYTES_MAX = 64 * 1024;

// Every member of either message, and its type. Exactly these: the signed text has no quotes, so a
// message that lacks a member, or has one more, could be another one's text cut up differently.
const PAYMENT = {
  appId: 'text', payMethod: 'number', orderAmt: 'text', currency: 'text', newpayOrderNo: 'text',
  orderNo: 'text', subject: 'text', transStatus: 'number', transInfo: 'text',
  settlementStatus: 'number', timestamp: 'text', extra: 'text', sign: 'text',
};
const REFUND = {
  appId: 'text', payMethod: 'number', refundOrderAmt: 'text', currency: 'text',
  newpayOrderNo: 'text', newpayRefundOrderNo: 'text', orderNo: 'text', refundOrderNo: 'text',
  tranStatus: 'number', transInfo: 'text', timestamp: 'text', sign: 'text',
};

/** The callback is not acknowledged. */
class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

/**
 * The members of a flat JSON object, as a Map from name to {type, text}. JSON.parse would do, but
 * it keeps the last of doubled members in silence and forgets how a number was written.
 */
function parse(bytes) {
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Refused(400, 'the body is not UTF-8');
  }
  const members = new Map();
  const token = /[ \t\r\n]*("(?:[^"\\]|\\.)*"|-?(?:0|[1-9][0-9]*)(?![0-9.eE])|[{}:,])[ \t\r\n]*/y;
  const next = (expected) => {
    const found = token.exec(text);
    if (!found || !expected.test(found[1])) {
      throw new Refused(400, 'the body is not a JSON object of texts and integers');
    }
    return found[1];
  };
  next(/^\{/);
  do {
    const name = decode(next(/^"/));
    next(/^:/);
    const value = next(/^["\-0-9]/);
    if (members.has(name)) throw new Refused(400, 'a member is there twice');
    members.set(name, value.startsWith('"')
      ? { type: 'text', text: decode(value) }
      : { type: 'number', text: value });
  } while (next(/^[,}]/) === ',');
  if (token.lastIndex !== text.length) throw new Refused(400, 'text follows the JSON object');
  return members;
}

/** What a JSON string stands for. */
function decode(literal) {
  let text;
  try {
    text = JSON.parse(literal);
  } catch {
    throw new Refused(400, 'a text is not JSON');
  }
  // Half a surrogate pair has no UTF-8; it would be signed as a question mark.
  if (Buffer.from(text, 'utf8').toString('utf8') !== text) {
    throw new Refused(400, 'a text is not Unicode');
  }
  return text;
}

/** Whether it is one of the two messages, whole and unambiguous. */
function checkMembers(message) {
  const expected = message.has('newpayRefundOrderNo') ? REFUND : PAYMENT;
  const names = Object.keys(expected);
  if (message.size !== names.length || !names.every((name) => message.has(name))) {
    throw new Refused(400, 'members are missing, or there are others');
  }
  for (const [name, { type }] of message) {
    if (type !== expected[name]) throw new Refused(400, `${name} has the wrong type`);
  }
  if (isAmbiguous(message)) {
    throw new Refused(400, 'another message could have the same signed text');
  }
}

/** Whether another message could have the same signed text: docs/merchants.md, "Ambiguous texts". */
function isAmbiguous(message) {
  const names = [...message.keys()].filter((name) => name !== 'sign').sort();
  const holdsOwnOrNext = names.some((name, at) =>
    names.slice(Math.max(at, 1), at + 2).some((begun) => message.get(name).text.includes(`&${begun}=`)));
  if (holdsOwnOrNext) return true;
  const other = Object.keys(message.has('newpayRefundOrderNo') ? PAYMENT : REFUND);
  const text = canonicalForm(message);
  let at = 0;
  return other.filter((name) => name !== 'appId' && name !== 'sign').sort().every((name) => {
    const found = text.indexOf(`&${name}=`, at);
    at = found + name.length + 2;
    return found >= 0;
  });
}

/** The text that is signed. */
function canonicalForm(message) {
  const names = [...message.keys()].filter((name) => name !== 'sign').sort();
  return names.map((name) => `${name}=${message.get(name).text}`).join('&');
}

/** Whether the sign holds, by one of the secrets or by the platform's public key. */
function isSigned(message, { secrets, publicKey }) {
  const text = Buffer.from(canonicalForm(message), 'utf8');
  const sign = Buffer.from(message.get('sign').text, 'utf8');
  if (publicKey) {
    return isBase64(sign)
      && crypto.verify('sha256', text, publicKey, Buffer.from(sign.toString(), 'base64'));
  }
  let holds = false;
  for (const secret of secrets) {
    const expected = Buffer.from(crypto.createHmac('sha256', secret).update(text).digest('base64'));
    if (expected.length === sign.length && crypto.timingSafeEqual(expected, sign)) holds = true;
  }
  return holds;
}

/** Whether decoding and encoding gives the same: Node skips what is no Base64. */
function isBase64(bytes) {
  const text = bytes.toString();
  return Buffer.from(text, 'base64').toString('base64') === text;
}

/** Each attempt has a timestamp of its own, so an old one is not a late retry but a replay. */
function checkAge(timestamp, maxAgeSeconds) {
  if (!/^[0-9]{1,15}$/.test(timestamp)) {
    throw new Refused(400, 'timestamp is not a number of milliseconds');
  }
  if (Math.abs(Date.now() - Number(timestamp)) > maxAgeSeconds * 1000) {
    throw new Refused(403, 'the timestamp is too old, or in the future');
  }
}

/** What the message says. The two status members are each other's opposite. */
function readResult(message) {
  const text = (name) => message.get(name).text;
  const isRefund = message.has('newpayRefundOrderNo');
  const words = isRefund ? { 1: 'success', 0: 'failure' } : { 0: 'success', 1: 'failure' };
  const status = text(isRefund ? 'tranStatus' : 'transStatus');
  if (!Object.hasOwn(words, status)) throw new Refused(400, 'the status is neither 0 nor 1');
  return {
    kind: isRefund ? 'refund' : 'payment',
    number: text(isRefund ? 'newpayRefundOrderNo' : 'newpayOrderNo'),
    result: words[status],
    amount: text(isRefund ? 'refundOrderAmt' : 'orderAmt'),
    currency: text('currency'),
    orderNo: text('orderNo'),
    refundOrderNo: isRefund ? text('refundOrderNo') : '',
  };
}

/**
 * A file with a line of JSON for each payment and each refund. One process only: it knows what is
 * in the file without reading it again, and does one thing at a time. Several processes need a
 * database with a unique key.
 */
class Results {
  #file;
  #known = new Map();

  constructor(path) {
    this.#file = fs.openSync(path, 'a+', 0o600);
    const text = fs.readFileSync(this.#file);
    // A line that a crash cut off was never acknowledged.
    const whole = text.subarray(0, text.lastIndexOf('\n') + 1);
    fs.ftruncateSync(this.#file, whole.length);
    for (const line of whole.toString('utf8').split('\n').filter(Boolean)) {
      const { receivedAt, ...result } = JSON.parse(line);
      this.#known.set(this.#key(result), JSON.stringify(result));
    }
  }

  /** Returns once the result is on disk; whether it was new. */
  store(result) {
    const key = this.#key(result);
    const known = this.#known.get(key);
    if (known !== undefined) {
      if (known === JSON.stringify(result)) return false;
      throw new Refused(409, 'another result is stored under this number');
    }
    const end = fs.fstatSync(this.#file).size;
    try {
      const line = JSON.stringify({ ...result, receivedAt: Date.now() });
      fs.writeFileSync(this.#file, `${line}\n`);
      fs.fsyncSync(this.#file);
    } catch (error) {
      fs.ftruncateSync(this.#file, end);
      throw error;
    }
    this.#known.set(key, JSON.stringify(result));
    return true;
  }

  #key({ kind, number }) {
    return `${kind} ${number}`;
  }
}

/** The whole body, or a refusal. */
async function readBody(request) {
  // Told before the body is read: leaving the loop below cuts the connection.
  if (Number(request.headers['content-length']) > BODY_BYTES_MAX) {
    throw new Refused(413, 'the body is too large');
  }
  const parts = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) throw new Refused(413, 'the body is too large');
    parts.push(part);
  }
  return Buffer.concat(parts);
}

async function receive(request, settings, results) {
  if (request.url !== PATH) throw new Refused(404, `callbacks go to ${PATH}`);
  if (request.method !== 'POST') throw new Refused(405, 'callbacks are POSTs');
  const message = parse(await readBody(request));
  checkMembers(message);
  if (message.get('appId').text !== settings.appId) throw new Refused(403, 'the appId is another');
  if (!isSigned(message, settings)) throw new Refused(403, 'the sign does not hold');
  checkAge(message.get('timestamp').text, settings.maxAgeSeconds);
  const result = readResult(message);
  const added = results.store(result);
  return `${added ? 'stored' : 'known'}: ${result.kind} ${result.number} ${result.result}`;
}

function answer(response, status, members) {
  const body = JSON.stringify(members);
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    // What is left of a refused body must not be taken for the next request.
    ...(status === 200 ? {} : { Connection: 'close' }),
  });
  response.end(body);
}

/** Control characters would command the terminal. */
function log(text) {
  console.log(text.replace(/[^\x20-\x7e]/gu, '?'));
}

function setting(name, otherwise) {
  const value = process.env[name] ?? otherwise;
  if (value === undefined) {
    console.error(`${name} is not set; see README.md`);
    process.exit(1);
  }
  return value;
}

function readSettings() {
  const settings = {
    appId: setting('NEWPAY_APP_ID'),
    maxAgeSeconds: Number(setting('MAX_AGE_SECONDS', '300')),
  };
  if (process.env.NEWPAY_PUBLIC_KEY_FILE) {
    const pem = fs.readFileSync(process.env.NEWPAY_PUBLIC_KEY_FILE);
    return { ...settings, publicKey: crypto.createPublicKey(pem) };
  }
  const lines = fs.readFileSync(setting('NEWPAY_SECRETS_FILE'), 'utf8').split(/\r?\n/);
  const secrets = lines.filter(Boolean);
  if (secrets.length === 0) {
    console.error('NEWPAY_SECRETS_FILE is empty; write one secret per line into it');
    process.exit(1);
  }
  return { ...settings, secrets };
}

const settings = readSettings();
const results = new Results(setting('RESULTS', 'results.ndjson'));
const server = http.createServer(async (request, response) => {
  try {
    log(await receive(request, settings, results));
    answer(response, 200, { transResult: 'SUCCESS' });
  } catch (error) {
    const isOurs = error instanceof Refused;
    log(isOurs ? `refused: ${error.message}` : `failed: ${error.message}`);
    const reason = isOurs ? error.message : 'the result could not be stored';
    answer(response, isOurs ? error.status : 503, { transResult: 'FAIL', reason });
  }
});
server.requestTimeout = 10_000;
server.listen(Number(setting('PORT', '8080')), '127.0.0.1', () => {
  console.log(`listening on ${server.address().port}`);
});

// A merchant in Node: checks the signature as the document says, and hangs up early.
// Arguments: secret, certificate, key, then milliseconds idle and requests to each connection.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const https = require('https');

const [secret, certificate, key, idleMs, requestsMax] = process.argv.slice(2);

function isSigned(message) {
  const { sign, ...members } = message;
  const names = Object.keys(members).sort();
  const canonical = names.map((name) => `${name}=${members[name]}`).join('&');
  return sign === crypto.createHmac('sha256', secret).update(canonical).digest('base64');
}

const credentials = { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) };
const server = https.createServer(credentials, (request, response) => {
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    const signed = isSigned(JSON.parse(Buffer.concat(parts).toString('utf8')));
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ transResult: signed ? 'SUCCESS' : 'FAIL' }));
  });
});
server.keepAliveTimeout = Number(idleMs);
server.maxRequestsPerSocket = Number(requestsMax);
server.on('secureConnection', () => console.log('connection'));
server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`));

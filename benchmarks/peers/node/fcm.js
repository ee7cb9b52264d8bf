// A Node client of FCM as its users call it; run in the folder that the package is installed in, behind the guard of
// tests/interop (Google's names are led to loopback). Prints {"messages", "seconds", "cpu_s"}, as python/fcm.py does.
//
//     node --require guard.js fcm.js sendAll|sendEach|sendMulticast '{"key": ..., "messages": 10000, "plain": "host:port"}'
'use strict';

const http2 = require('http2');
const https = require('https');
const net = require('net');
const path = require('path');
const { createRequire } = require('module');

const load = createRequire(path.join(process.cwd(), 'package.json'));
const CHUNK = 500;
const WARM = 1000;

const token = (number) => `bench${String(number).padStart(11, '0')}:APA91b${'x'.repeat(118)}`;
const content = {
  notification: { title: 'New message', body: 'Anna: see you at the harbour at eight?' },
  data: { chat: '4711', kind: 'text' },
  android: { priority: 'high' },
};

// firebase-admin writes `:scheme: https:`, colon and all. Google's servers let that pass, nginx does not.
const { connect } = http2;
http2.connect = (...given) => {
  const session = connect(...given);
  const { request } = session;
  session.request = (headers, options) => {
    if (headers[':scheme'] === 'https:') headers[':scheme'] = 'https';
    return request.call(session, headers, options);
  };
  return session;
};

function firebaseAdmin(method, { key, plain }) {
  const { initializeApp, cert } = load('firebase-admin/app');
  const { getMessaging } = load('firebase-admin/messaging');
  let agent;
  if (plain) {
    const [host, port] = plain.split(':');
    agent = new https.Agent({ keepAlive: true });
    agent.createConnection = () => net.connect({ host, port: Number(port) });
  }
  const messaging = getMessaging(initializeApp({ credential: cert(key, agent), httpAgent: agent }));
  return async (first, last) => {
    let accepted = 0;
    for (let start = first; start < last; start += CHUNK) {
      const messages = [];
      for (let n = start; n < Math.min(last, start + CHUNK); n += 1) messages.push({ token: token(n), ...content });
      const answer = await messaging[method](messages);
      if (answer.failureCount) throw answer.responses.find((response) => !response.success).error;
      accepted += answer.successCount;
    }
    return accepted;
  };
}

function fcmV1Http2({ key }) {
  const Client = load('fcm-v1-http2');
  const client = new Client({ serviceAccount: require(key) });
  return async (first, last) => {
    const tokens = [];
    for (let n = first; n < last; n += 1) tokens.push(token(n));
    // One call for all of them: each opens connections of its own.
    const dead = await client.sendMulticast(content, tokens);
    return tokens.length - dead.length;
  };
}

async function main() {
  const [method, text] = process.argv.slice(2);
  const given = JSON.parse(text);
  const send = method === 'sendMulticast' ? fcmV1Http2(given) : firebaseAdmin(method, given);
  await send(0, Math.min(WARM, given.messages)); // the compiler needs some, too
  const began = process.hrtime.bigint();
  const before = process.cpuUsage();
  const messages = await send(0, given.messages);
  const used = process.cpuUsage(before);
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  if (messages !== given.messages) throw new Error(`${messages} of ${given.messages} were accepted`);
  process.stdout.write(`${JSON.stringify({ messages, seconds, cpu_s: (used.user + used.system) / 1e6 })}\n`);
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

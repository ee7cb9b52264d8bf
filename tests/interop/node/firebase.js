// Drives firebase-admin as its users do. Run in the folder that the package is installed in; same protocol as the
// Python driver: one JSON object a line in, one out.
//
//     {"call": "sendAll", "messages": [...], "dryRun": false}
//     -> {"responses": [{"id": "projects/..."} | {"error": "messaging/..."}]}
'use strict';

const dns = require('dns');
const https = require('https');
const net = require('net');
const path = require('path');
const readline = require('readline');
const { createRequire } = require('module');

const load = createRequire(path.join(process.cwd(), 'package.json'));
const { initializeApp, cert } = load('firebase-admin/app');
const { getMessaging } = load('firebase-admin/messaging');

let messaging;

function told(response) {
  return response.success ? { id: response.messageId } : failure(response.error);
}

function failure(error) {
  return { error: error.code || error.name, text: error.message };
}

function many(batch) {
  return { responses: batch.responses.map(told), succeeded: batch.successCount, failed: batch.failureCount };
}

const calls = {
  // With `plain` (HOST:PORT) an agent of ours opens the connections, for an emulator without TLS.
  start({ key, plain }) {
    let agent;
    if (plain) {
      const [host, port] = plain.split(':');
      agent = new https.Agent({ keepAlive: true });
      agent.createConnection = () => net.connect({ host, port: Number(port) });
    }
    const app = initializeApp({ credential: cert(key, agent), httpAgent: agent });
    messaging = getMessaging(app);
    return { version: require(path.join(process.cwd(), 'node_modules/firebase-admin/package.json')).version };
  },
  async resolve({ name }) {
    return { address: (await dns.promises.lookup(name)).address };
  },
  async send({ message, dryRun }) {
    return { id: await messaging.send(message, dryRun) };
  },
  async sendAll({ messages, dryRun }) {
    return many(await messaging.sendAll(messages, dryRun));
  },
  async sendEach({ messages, dryRun }) {
    return many(await messaging.sendEach(messages, dryRun));
  },
  async sendMulticast({ message }) {
    return many(await messaging.sendMulticast(message));
  },
  // Any of the calls that subscribe and unsubscribe, by its name.
  async topic({ name, tokens, topic }) {
    const answer = await messaging[name](tokens, topic);
    const errors = answer.errors.map(({ index, error }) => [index, error.code]);
    return { succeeded: answer.successCount, failed: answer.failureCount, errors: Object.fromEntries(errors) };
  },
  async sendEachForMulticast({ message }) {
    return many(await messaging.sendEachForMulticast(message));
  },
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try {
      answer = await calls[request.call](request);
    } catch (error) {
      answer = { raised: error.name || 'Error', ...failure(error) };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
  process.exit(0);
}

main();

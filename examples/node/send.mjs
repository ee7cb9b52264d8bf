// Enqueues one message for the tokens given, and prints what becomes of each.
//
//     DISPATCHER_REDIS_URL=redis://localhost node examples/node/send.mjs demo-orchard-41 fQ7x... dK2p...
//
// What a job and an outcome look like: README.md, and as JSON Schema in docs/schemas/.

import { randomUUID } from "node:crypto";
import { connect } from "./redis.mjs";

const [project, ...tokens] = process.argv.slice(2);
if (!project || tokens.length < 1 || tokens.length > 500) {
  console.error("usage: node send.mjs PROJECT TOKEN... (1 to 500)");
  process.exit(2);
}
const outcomes = `fcm:{${project}}:outcomes`;
const redis = await connect(process.env.DISPATCHER_REDIS_URL ?? "redis://localhost");

// Where to begin to read: behind what is there before the job is.
const newest = await redis.call("XREVRANGE", outcomes, "+", "-", "COUNT", 1);
let position = newest.length ? newest[0][0] : "0-0";

const job = randomUUID();
const message = { notification: { title: "Hi", body: "From Node" }, data: { order: "4711" } };
await redis.call(
  "XADD", `fcm:{${project}}:jobs:normal`, "*",
  "message", JSON.stringify(message),
  "tokens", JSON.stringify(tokens),
  "id", job,
  "expires_at", Math.floor(Date.now() / 1000) + 3600,
);

let left = tokens.length;
while (left > 0) {
  const reply = await redis.call("XREAD", "BLOCK", 5000, "COUNT", 100, "STREAMS", outcomes, position);
  for (const [id, fields] of reply?.[0][1] ?? []) {
    position = id;
    for (const outcome of JSON.parse(fields[fields.indexOf("outcomes") + 1])) {
      if (outcome.job !== job) continue;
      console.log(outcome.target.token, outcome.status, outcome.code ?? "");
      left -= 1;
    }
  }
}
redis.close();

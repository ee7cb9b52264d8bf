// The little of Redis's protocol (RESP2) that a producer needs, without any package: commands out, replies in, in order.
// With the package `redis` or `ioredis` in your project use that instead; the commands are the same.

import { connect as tcp } from "node:net";
import { connect as tls } from "node:tls";

/** Connects to redis://[user:password@]host[:port][/db], rediss://... or unix:///path. */
export async function connect(url) {
  const at = url.startsWith("unix://") ? null : new URL(url);
  const where = at
    ? { host: at.hostname || "localhost", port: Number(at.port || 6379), servername: at.hostname }
    : { path: url.slice("unix://".length) };
  const socket = (at?.protocol === "rediss:" ? tls : tcp)(where);
  const waiting = [];
  let bytes = Buffer.alloc(0);

  socket.on("data", (chunk) => {
    bytes = bytes.length ? Buffer.concat([bytes, chunk]) : chunk;
    for (let found = parse(bytes, 0); found; found = parse(bytes, 0)) {
      bytes = bytes.subarray(found.end);
      const { resolve, reject } = waiting.shift();
      found.value instanceof Error ? reject(found.value) : resolve(found.value);
    }
  });
  const fail = (error) => {
    for (const { reject } of waiting.splice(0)) reject(error);
  };
  socket.on("error", fail);
  socket.on("close", () => fail(new Error("Redis closed the connection")));

  const call = (...words) =>
    new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(new Error("not connected to Redis"));
      waiting.push({ resolve, reject });
      const parts = words.map((word) => Buffer.from(String(word)));
      socket.cork();
      socket.write(`*${parts.length}\r\n`);
      for (const part of parts) {
        socket.write(`$${part.length}\r\n`);
        socket.write(part);
        socket.write("\r\n");
      }
      socket.uncork();
    });
  if (at?.password) {
    const user = at.username ? [decodeURIComponent(at.username)] : [];
    await call("AUTH", ...user, decodeURIComponent(at.password));
  }
  if (at && at.pathname.length > 1) await call("SELECT", at.pathname.slice(1));
  return { call, close: () => socket.end() };
}

// One reply at `start`: {value, end}, or null if it is not all there yet. Errors within an array are values.
function parse(bytes, start) {
  const line = bytes.indexOf("\r\n", start);
  if (line < 0) return null;
  const text = bytes.toString("utf8", start + 1, line);
  let end = line + 2;
  switch (String.fromCharCode(bytes[start])) {
    case "+":
      return { value: text, end };
    case "-":
      return { value: new Error(text), end };
    case ":":
      return { value: Number(text), end };
    case "$": {
      const length = Number(text);
      if (length < 0) return { value: null, end };
      if (bytes.length < end + length + 2) return null;
      return { value: bytes.toString("utf8", end, end + length), end: end + length + 2 };
    }
    default: {
      const count = Number(text);
      if (count < 0) return { value: null, end };
      const value = [];
      for (let i = 0; i < count; i++) {
        const item = parse(bytes, end);
        if (!item) return null;
        value.push(item.value);
        end = item.end;
      }
      return { value, end };
    }
  }
}

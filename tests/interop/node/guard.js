// Loaded by --require before the client: the world ends at loopback. The client's own package is not touched.
//
// LOOPBACK_NAMES (comma-separated) resolve to 127.0.0.1, and connections to their port 443 go to LOOPBACK_PORT, so
// that a client which knows no other address than Google's finds the emulator under it, over real TLS.
'use strict';

const dns = require('dns');
const net = require('net');

const names = new Set((process.env.LOOPBACK_NAMES || '').split(',').filter(Boolean));
const port = Number(process.env.LOOPBACK_PORT || 0);

function isLoopback(host) {
  return !host || host === 'localhost' || host === '::1' || /^127\./.test(host);
}

function refusal(host) {
  process.stderr.write(`refused: ${host}\n`);
  return Object.assign(new Error(`${host} is not on loopback`), { code: 'ENOTFOUND', hostname: host });
}

dns.lookup = function lookup(host, options, callback) {
  const done = typeof options === 'function' ? options : callback;
  const all = typeof options === 'object' && options !== null && options.all;
  if (!isLoopback(host) && !names.has(host)) {
    process.nextTick(done, refusal(host));
  } else if (all) {
    process.nextTick(done, null, [{ address: '127.0.0.1', family: 4 }]);
  } else {
    process.nextTick(done, null, '127.0.0.1', 4);
  }
};

dns.promises.lookup = (host, options) =>
  new Promise((resolve, reject) => {
    dns.lookup(host, options || {}, (error, address, family) =>
      error ? reject(error) : resolve(Array.isArray(address) ? address : { address, family }));
  });

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function redirected(...given) {
  // Inside Node the arguments come as one array, [options, callback].
  const options = Array.isArray(given[0]) ? given[0][0] : given[0];
  if (options !== null && typeof options === 'object' && !options.path) {
    if (names.has(options.host) && Number(options.port) === 443) {
      options.port = port;
    } else if (net.isIP(options.host) && !isLoopback(options.host)) {
      throw refusal(options.host);
    }
  }
  return connect.apply(this, given);
};

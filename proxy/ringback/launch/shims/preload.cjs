/* Runs at the start of every Node program that Ringback launches, in its workers too. Node 8 can read it.
 *
 * - fetch: before Node 22.21 and 24 it knows no proxy. Its connections to Twilio go through ours.
 * - dns.lookup: a client that looks up Twilio's address is on its way past the proxy. It is stopped there.
 *
 * twilio itself (axios, request) reads HTTP_PROXY and needs nothing of this.
 */
'use strict';

const fs = require('fs');
const path = require('path');

const LAUNCH = path.dirname(__dirname);
const DISPATCHER = Symbol.for('undici.globalDispatcher.1');

function leaveMark(kind, text) {
  try {
    fs.writeFileSync(path.join(LAUNCH, `${kind}-node-${process.pid}`), text);
  } catch (gone) {
    // The launch is over, or this user may not write to its directory: nobody is there to read it.
  }
}

function isTwilio(host) {
  return /(^|\.)twilio\.com\.?$/i.test(String(host));
}

/** Whether this Node's own fetch reads the proxy variables (NODE_USE_ENV_PROXY=1). */
function fetchKnowsProxies() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  return major > 22 ? major >= 24 : major === 22 && minor >= 21;
}

function proxyUrl() {
  const text = process.env.https_proxy || process.env.HTTPS_PROXY;
  return text ? new URL(text) : null;
}

/** undici's `connect` option: a tunnel through the proxy, then TLS. */
function connectThroughProxy(options, callback) {
  const http = require('http');
  const proxy = proxyUrl();
  const port = options.port || (options.protocol === 'http:' ? 80 : 443);
  const target = `${options.hostname}:${port}`;
  const headers = { Host: target };
  if (proxy.username) {
    const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
    headers['Proxy-Authorization'] = `Basic ${Buffer.from(pair).toString('base64')}`;
  }
  const request = http.request({
    host: proxy.hostname.replace(/^\[|\]$/g, ''),
    port: proxy.port || 80,
    method: 'CONNECT',
    path: target,
    headers,
    agent: false,
  });
  request.once('error', (error) => callback(error, null));
  request.once('connect', (answer, socket) => {
    if (answer.statusCode !== 200) {
      socket.destroy();
      callback(new Error(`the proxy refused the tunnel to ${target} with ${answer.statusCode}`), null);
      return;
    }
    if (options.protocol === 'http:') {
      callback(null, socket);
      return;
    }
    const secure = require('tls').connect({
      socket,
      servername: options.servername || options.hostname,
      ALPNProtocols: ['http/1.1'],
    });
    secure.once('error', (error) => callback(error, null));
    secure.once('secureConnect', () => callback(null, secure));
  });
  request.end();
}

function giveFetchTheProxy() {
  if (typeof fetch !== 'function' || fetchKnowsProxies() || !proxyUrl()) return;
  // Any fetch loads the undici that Node carries, which leaves its agent here, the only way to its classes.
  const { emitWarning } = process;
  process.emitWarning = () => {}; // Node 18 would call every program's fetch experimental, used or not
  fetch('data:,').catch(() => {});
  process.emitWarning = emitWarning;
  const direct = globalThis[DISPATCHER];
  if (!direct) return;
  const Agent = direct.constructor;
  const proxied = new Agent({ connect: connectThroughProxy });
  class TwilioThroughProxy extends Agent {
    dispatch(options, handler) {
      const host = new URL(String(options.origin)).hostname;
      return (isTwilio(host) ? proxied : direct).dispatch(options, handler);
    }
  }
  globalThis[DISPATCHER] = new TwilioThroughProxy();
}

/** Node 22 calls NODE_USE_ENV_PROXY experimental in every program, used or not; all other warnings stay. */
function silenceExperimentalProxy() {
  const printers = process.listeners('warning');
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    if (warning.code !== 'UNDICI-EHPA') printers.forEach((printer) => printer.call(process, warning));
  });
}

function guardLookups() {
  const dns = require('dns');
  const refusal = (host) => {
    leaveMark('bypassed', `${host}\n${process.argv.slice(1).join(' ')}\n`);
    const error = new Error(
      `Ringback stopped a connection to ${host} that would have gone past its proxy: this client does not use HTTPS_PROXY`,
    );
    return Object.assign(error, { code: 'ENOTFOUND', syscall: 'getaddrinfo', hostname: host });
  };
  const lookup = dns.lookup;
  const guarded = function (host, ...rest) {
    if (!isTwilio(host)) return lookup.call(this, host, ...rest);
    process.nextTick(rest[rest.length - 1], refusal(host));
    return {};
  };
  dns.lookup = Object.defineProperties(guarded, Object.getOwnPropertyDescriptors(lookup));
  if (!dns.promises) return; // before Node 10.6
  const promised = dns.promises.lookup;
  dns.promises.lookup = function (host, ...rest) {
    return isTwilio(host) ? Promise.reject(refusal(host)) : promised.call(this, host, ...rest);
  };
}

leaveMark('started', process.version);
if (process.version.startsWith('v22.')) silenceExperimentalProxy();
guardLookups();
giveFetchTheProxy();

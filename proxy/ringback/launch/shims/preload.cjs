/* Runs at the start of every Node program that Ringback launches, in its workers too. Node 8 can read it.
 *
 * - fetch before Node 22.21 and 24, which knows no proxy until then, and undici 8 from npm on Node 22, which does not
 *   find the dispatcher that Node made. Their connections to Twilio go through ours.
 * - https's global agent (https.get, got, node-fetch) and `agent: false` (superagent): before 22.21 and 24.5 the one
 *   knows no proxy, the other never. An agent that a program makes stays what it is.
 * - dns: a client that looks up Twilio's address is on its way past the proxy. It is stopped there.
 *
 * twilio itself (axios, request) reads HTTP_PROXY and needs nothing of this.
 */
'use strict';

const fs = require('fs');
const path = require('path');
const { URL } = require('url'); // no global in Node 8

const LAUNCH = path.dirname(__dirname);
const DISPATCHER = Symbol.for('undici.globalDispatcher.1');
const NEWER_DISPATCHER = Symbol.for('undici.globalDispatcher.2'); // undici 8's

const RUNTIME = process.versions.deno ? 'deno' : process.versions.bun ? 'bun' : 'node';

function leaveMark(kind, text) {
  try {
    fs.writeFileSync(path.join(LAUNCH, `${kind}-${RUNTIME}-${process.pid}`), text);
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

/** A socket through the proxy to HOST:PORT. */
function tunnel(target, callback) {
  const http = require('http');
  const proxy = proxyUrl();
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
    callback(null, socket);
  });
  request.end();
}

function secured(options, callback) {
  const secure = require('tls').connect(options);
  secure.once('error', callback);
  secure.once('secureConnect', () => callback(null, secure));
}

/** undici's `connect` option. */
function connectThroughProxy(options, callback) {
  const plain = options.protocol === 'http:';
  const servername = options.servername || options.hostname;
  tunnel(`${options.hostname}:${options.port || (plain ? 80 : 443)}`, (error, socket) => {
    if (error || plain) callback(error, socket);
    else secured({ socket, servername, ALPNProtocols: ['http/1.1'] }, callback);
  });
}

/** Twilio through the proxy, everything else by `direct`, an agent of an undici. */
function dividing(direct) {
  const Agent = direct.constructor;
  const proxied = new Agent({ connect: connectThroughProxy });
  class TwilioThroughProxy extends Agent {
    dispatch(options, handler) {
      const host = new URL(String(options.origin)).hostname;
      return (isTwilio(host) ? proxied : direct).dispatch(options, handler);
    }
  }
  return new TwilioThroughProxy();
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
  globalThis[DISPATCHER] = dividing(direct);
}

/** undici 8 finds no dispatcher of its kind on Node 22, and puts its own in the place of that and of Node's. */
function giveNewerUndiciTheProxy() {
  if (!process.version.startsWith('v22.') || NEWER_DISPATCHER in globalThis || !proxyUrl()) return;
  const define = Object.defineProperty;
  Object.defineProperty = function defineProperty(target, key, descriptor) {
    if (target === globalThis && key === NEWER_DISPATCHER) {
      return define(target, key, Object.assign({}, descriptor, { value: dividing(descriptor.value) }));
    }
    if (target === globalThis && key === DISPATCHER && NEWER_DISPATCHER in globalThis) {
      Object.defineProperty = define; // what a program sets from now on is its own affair
      return target;
    }
    return define(target, key, descriptor);
  };
}

/** Also for `agent: false`, which takes the class of the global agent for one of its own. */
function giveHttpsTheProxy() {
  const https = require('https');
  if (!proxyUrl()) return;
  class TwilioThroughProxy extends https.Agent {
    createConnection(options, callback) {
      if (!isTwilio(options.host)) return super.createConnection(options, callback);
      tunnel(`${options.host}:${options.port || 443}`, (error, socket) => {
        if (error) callback(error);
        else secured(Object.assign({ servername: options.host }, options, { socket }), callback);
      });
      return undefined;
    }
  }
  Object.setPrototypeOf(https.globalAgent, TwilioThroughProxy.prototype);
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
    const lost = process.env.HTTPS_PROXY || process.env.https_proxy ? '' : 'HTTPS_PROXY is gone';
    const program = process.argv.slice(1).join(' ').replace(/\n/g, ' ');
    leaveMark('bypassed', `${host}\n${program}\n${lost}\n`);
    const error = new Error(
      `Ringback stopped a connection to ${host} that would have gone past its proxy: this client does not use HTTPS_PROXY`,
    );
    return Object.assign(error, { code: 'ENOTFOUND', syscall: 'getaddrinfo', hostname: host });
  };
  const guard = (owner, promised) => {
    for (const name of ['lookup', 'resolve', 'resolve4', 'resolve6', 'resolveAny']) {
      const original = owner[name];
      if (!original) continue;
      const guarded = function (host, ...rest) {
        if (!isTwilio(host)) return original.call(this, host, ...rest);
        if (promised) return Promise.reject(refusal(host));
        process.nextTick(rest[rest.length - 1], refusal(host));
        return {};
      };
      owner[name] = Object.defineProperties(guarded, Object.getOwnPropertyDescriptors(original));
    }
  };
  guard(dns);
  if (dns.Resolver) guard(dns.Resolver.prototype);
  if (!dns.promises) return; // before Node 10.6
  guard(dns.promises, true);
  guard(dns.promises.Resolver.prototype, true);
}

/** Deno and Node's permission model refuse some of this; that must not end a program that needs none of it. */
function attempt(step) {
  try {
    step();
  } catch (refused) {
    // The lookup guard stands by then, or nothing of this program's reaches a network at all.
  }
}

attempt(() => leaveMark('started', RUNTIME === 'node' ? process.version : process.versions[RUNTIME]));
attempt(() => process.version.startsWith('v22.') && silenceExperimentalProxy());
attempt(guardLookups);
attempt(giveFetchTheProxy);
attempt(giveNewerUndiciTheProxy);
attempt(giveHttpsTheProxy);

// talkback: a TLS server that replays one tape. node talkback.js CERTIFICATE KEY DIRECTORY BODY
const talkback = require('talkback');
const fs = require('fs');
const http = require('http');
const net = require('net');

(async () => {
  const [certPath, keyPath, path, body] = process.argv.slice(2);
  // A port of the kernel's: talkback wants a number.
  const port = await new Promise((resolve) => {
    const probe = net.createServer().listen(0, '127.0.0.1', () => {
      const chosen = probe.address().port;
      probe.close(() => resolve(chosen));
    });
  });
  const upstream = http.createServer((request, response) => {
    request.resume();
    response.writeHead(201, { 'content-type': 'application/json', 'content-length': body.length });
    response.end(body);
  });
  await new Promise((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  const server = talkback({
    host: `http://127.0.0.1:${upstream.address().port}`,
    record: talkback.Options.RecordMode.NEW,
    port,
    path,
    https: { enabled: true, certPath, keyPath },
    ignoreBody: true,
    allowHeaders: [],
    silent: true,
    summary: false,
  });
  await server.start();
  console.log(JSON.stringify({ port }));
})();

// mockttp: an HTTPS proxy that answers a constant. node mockttp.js CERTIFICATE KEY BODY
const mockttp = require('mockttp');
const fs = require('fs');

(async () => {
  const [cert, key, body] = process.argv.slice(2);
  const server = mockttp.getLocal({
    https: { cert: fs.readFileSync(cert), key: fs.readFileSync(key) },
    recordTraffic: false,
    http2: false,
  });
  await server.start();
  await server.forAnyRequest().thenReply(201, body, { 'content-type': 'application/json', 'content-length': String(body.length) });
  console.log(JSON.stringify({ port: server.port }));
})();

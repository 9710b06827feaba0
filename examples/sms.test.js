// npm install twilio; ringback run -- node --test sms.test.js
const assert = require("node:assert");
const { test } = require("node:test");
const client = require("twilio")("AC" + "0".repeat(32), "anytoken");
const from = "+15005550006";

test("a text is queued", async () => {
  const sent = await client.messages.create({ from, to: "+14105550100", body: "hi" });
  assert.equal(sent.status, "queued");
});

test("a landline gets no text", async () => {
  await assert.rejects(client.messages.create({ from, to: "+15005550009", body: "hi" }), { code: 21614 });
});

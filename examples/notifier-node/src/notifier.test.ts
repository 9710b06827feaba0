// npm install; ringback run -- npm test
import assert from "node:assert";
import { Server } from "node:http";
import { AddressInfo } from "node:net";
import { after, before, test } from "node:test";

import { app } from "./notifier";

let server: Server;
let address: string;

before(async () => {
  server = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => server.close());

async function shipped(phone: string): Promise<{ status: number; body: any }> {
  const answer = await fetch(`${address}/orders/1204/shipped`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ phone }),
  });
  return { status: answer.status, body: await answer.json() };
}

/** What the proxy has sent to a number: `messages`, `calls` or `requests`. */
async function sent(what: string, to: string): Promise<any[]> {
  const query = new URLSearchParams({ to });
  const answer = await fetch(`${process.env.RINGBACK_PROXY_URL}/ringback/${what}?${query}`);
  return ((await answer.json()) as any)[what];
}

test("the customer gets a text", async () => {
  assert.equal((await shipped("+14105550100")).body.by, "text");
  const bodies = (await sent("messages", "+14105550100")).map((message) => message.body);
  assert.deepEqual(bodies, ["Your order 1204 is on its way."]);
});

test("a landline gets a call", async () => {
  assert.equal((await shipped("+15005550009")).body.by, "call");
  assert.deepEqual(await sent("messages", "+15005550009"), []);
  assert.equal((await sent("calls", "+15005550009"))[0].url, "https://example.com/shipped.xml");
});

test("who answered STOP gets nothing", async () => {
  assert.equal((await shipped("+15005550004")).status, 409);
  assert.deepEqual(await sent("messages", "+15005550004"), []);
});

test("a wrong number is reported", async () => {
  const { status, body } = await shipped("+15005550001");
  assert.equal(status, 502);
  assert.match(body.detail, /not a valid phone number/);
});

test("a failure of a moment is tried again", async () => {
  assert.equal((await shipped("+14105550153")).body.by, "text");
  const statuses = (await sent("requests", "+14105550153")).map((request) => request.status);
  assert.deepEqual(statuses, [201, 503]); // newest first
});

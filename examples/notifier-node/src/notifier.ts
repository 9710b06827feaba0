// A shop's notifier: tells a customer that an order is on its way, by text or by a call.
import express from "express";
import twilio from "twilio";

const LANDLINE = 21614;
const STOPPED = 21610;
const ATTEMPTS = 3;

const client = twilio(process.env.TWILIO_ACCOUNT_SID ?? "AC" + "0".repeat(32), process.env.TWILIO_AUTH_TOKEN ?? "anytoken");
const from = process.env.TWILIO_FROM ?? "+15005550006";

type Refused = { status: number; code?: number; message: string };

export const app = express();
app.use(express.json());

app.post("/orders/:order/shipped", async (request, response) => {
  const to: string = request.body.phone;
  try {
    const sid = await text(to, `Your order ${request.params.order} is on its way.`);
    response.status(202).json({ by: "text", sid });
  } catch (thrown) {
    const error = thrown as Refused;
    if (error.code === STOPPED) {
      response.status(409).json({ detail: "the customer wants no messages" });
    } else if (error.code === LANDLINE) {
      const call = await client.calls.create({ from, to, url: "https://example.com/shipped.xml" });
      response.status(202).json({ by: "call", sid: call.sid });
    } else {
      response.status(502).json({ detail: `Twilio: ${error.message}` });
    }
  }
});

/** Sends a text; what may pass at a later attempt is tried again. */
async function text(to: string, body: string): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await client.messages.create({ from, to, body })).sid;
    } catch (thrown) {
      const { status } = thrown as Refused;
      if (attempt === ATTEMPTS || (status !== 429 && status < 500)) throw thrown;
    }
  }
}

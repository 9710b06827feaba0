// Send every case with twilio-node 2 to 6 and print what the SDK made of each answer, one JSON object a line.
// Usage: node driver.js CASES.json. Runs as a user's program does: nothing in it knows a proxy.
'use strict';

const fs = require('fs');
const twilio = require('twilio');

const SID = 'AC' + '0123456789abcdef'.repeat(2);
const VERSION = require('twilio/package.json').version;
const OLD = VERSION.startsWith('2.'); // its methods take a callback and are called otherwise
const MESSAGE = 'SM' + '0'.repeat(32);

const client = twilio(SID, 'a-test-token');
const RESOURCES = { IncomingPhoneNumbers: 'incomingPhoneNumbers', Messages: 'messages', Calls: 'calls' };

// What test credentials cannot reach, in the SDK's words.
const OTHERS = {
  'fetch-message': () => (OLD ? called((done) => client.messages(MESSAGE).get(done)) : client.messages(MESSAGE).fetch()),
  'list-calls': () => (OLD ? called((done) => client.calls.list(done)) : client.calls.list({ limit: 1 })),
  'fetch-account': () => (OLD ? called((done) => client.accounts(SID).get(done)) : client.api.accounts(SID).fetch()),
  lookup: () =>
    OLD
      ? called((done) => new twilio.LookupsClient(SID, 'a-test-token').phoneNumbers('+14105550100').get(done))
      : client.lookups.v1.phoneNumbers('+14105550100').fetch(),
};

// A callback's answer as a promise.
function called(call) {
  return new Promise((resolve, reject) => call((error, made) => (error ? reject(error) : resolve(made))));
}

function create(resource, form) {
  const list = client[RESOURCES[resource]];
  return OLD ? called((done) => list.create(form, done)) : list.create(form);
}

async function told(id, call) {
  try {
    const made = await call();
    const date = made.dateCreated;
    return {
      id,
      sid: made.sid,
      account_sid: made.accountSid,
      to: made.to,
      from_: made.from,
      body: made.body,
      status: made.status,
      phone_number: made.phoneNumber,
      voice_url: made.voiceUrl,
      uri: made.uri,
      created: Object.prototype.toString.call(date),
    };
  } catch (error) {
    return {
      id,
      exception: error.constructor.name,
      status: error.status,
      code: error.code,
      message: error.message,
    };
  }
}

async function main() {
  const say = (value) => console.log(JSON.stringify(value));
  say({ id: 'version', version: VERSION });
  for (const { id, resource, form } of JSON.parse(fs.readFileSync(process.argv[2]))) {
    const options = {};
    for (const name of Object.keys(form)) options[name[0].toLowerCase() + name.slice(1)] = form[name];
    say(await told(id, () => create(resource, options)));
  }
  for (const name of Object.keys(OTHERS)) say(await told(name, OTHERS[name]));
  if (!OLD) {
    const moved = twilio(SID, 'a-test-token', { region: 'ie1', edge: 'dublin' });
    const form = { from: '+15005550006', to: '+14105550100', body: 'moved' };
    say(await told('edge', () => moved.messages.create(form)));
  }
}

main();

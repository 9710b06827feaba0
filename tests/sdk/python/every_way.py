# ruff: noqa: T201 - a user's program
"""Ask Twilio in every way in which a client can: the SDK, other methods, HTTP/2, plain HTTP, other hosts.

Prints one JSON object: what each way got.
"""

import json
import subprocess

import httpx
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

SID = "AC" + "0123456789abcdef" * 2
TOKEN = "a-test-token"
MESSAGES = f"api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
FORM = {"From": "+15005550006", "To": "+14105550100", "Body": "every way"}

# name: (method, URL)
WAYS = {
    "post": ("POST", f"https://{MESSAGES}"),
    "plain": ("POST", f"http://{MESSAGES}"),
    "head": ("HEAD", f"https://{MESSAGES}"),
    "options": ("OPTIONS", f"https://{MESSAGES}"),
    "region": ("POST", f"https://{MESSAGES.replace('api.', 'api.dublin.ie1.', 1)}"),
    "product": ("GET", "https://lookups.twilio.com/v1/PhoneNumbers/+14105550100"),
    "no such host": ("GET", "https://no-such-name.twilio.com/"),
}
CURL = ["curl", "--silent", "--http2", "--write-out", "%{http_version} %{http_code}", "--output", "/dev/null"]

got = {}
for name, (method, url) in WAYS.items():
    answer = httpx.request(method, url, auth=(SID, TOKEN), data=FORM if method == "POST" else None)
    got[name] = answer.status_code

# httpx offers HTTP/2 behind HTTP/1.1 and so never gets it through a proxy.
fields = [part for field in FORM.items() for part in ("--data-urlencode", "=".join(field))]
curl = [*CURL, "--user", f"{SID}:{TOKEN}", *fields, f"https://{MESSAGES}"]
got["http/2"] = subprocess.run(curl, check=True, capture_output=True, text=True).stdout

sdk = Client(SID, TOKEN)
got["sdk"] = sdk.messages.create(from_=FORM["From"], to=FORM["To"], body="every way").status
try:
    sdk.messages.create(from_=FORM["From"], to="+15005550001", body="every way")
except TwilioRestException as error:
    got["sdk error"] = error.code
print(json.dumps(got))

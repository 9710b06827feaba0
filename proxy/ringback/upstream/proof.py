"""Proof that credentials are test credentials, by one request that costs nothing.

`GET /2010-04-01/Accounts/{sid}.json` is a resource that test credentials cannot use: 403 with code 20008
means test, 200 means live, 401 means that sid and token do not belong together (documented: every other
resource is refused; quoted: the body).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

from ringback import __version__
from ringback.exchange import LARGEST_ERROR, Answer, Request, basic_auth
from ringback.state import Verdicts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_API: Final = "api.twilio.com"
Verdict: TypeAlias = Literal["test", "live", "wrong", "unclear"]

_TEST_CODE: Final = 20008  # Resource not accessible with Test Account Credentials


class NotProvenError(Exception):
    """Credentials that may not be used for forwarding.

    Attributes:
        rule: The refusal that reports it, `credentials.…`.
        detail: The host's answer, for people.
        answer: The answer to the probe, or None.
    """

    def __init__(self, rule: str, detail: str = "", answer: Answer | None = None) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence that one pair is a pair of test credentials at one host. Only `Proofs` makes a valid one.

    Attributes:
        host: The host that said so.
        account: The AccountSid.
        digest: Of the pair, under a key that only this process knows.
    """

    host: str
    account: str
    digest: bytes = field(repr=False)


class Proofs:
    """Verdicts about credentials: one probe for each pair and host, however many requests wait for it.

    Tokens are not kept, only digests under a key of this process.

    Args:
        ask: Sends the probe.
        verdicts: What others found out; by default nobody else asks.
        scope: What answers in the place of the live API, such as a mock's URL: its verdicts are its own.
    """

    def __init__(
        self,
        ask: Callable[[Request], Awaitable[Answer]],
        verdicts: Verdicts | None = None,
        scope: str = "",
    ) -> None:
        self._ask = ask
        self._verdicts = verdicts or Verdicts()
        self._scope = scope
        self._known: dict[Proof, Verdict] = {}
        self._asking: dict[Proof, asyncio.Task[Verdict]] = {}

    async def prove(self, request: Request) -> Proof:
        """Return the proof that `request`'s credentials are test credentials at its host.

        Raises:
            NotProvenError: They are not, or it cannot be found out.
            UpstreamError: The host could not be asked.
        """
        proof = self._claim(request)
        if proof is None:
            raise NotProvenError("credentials.ambiguous", "this one has another form")
        verdict = self._known.get(proof)
        if verdict is None:
            task = self._asking.get(proof)
            if task is None:
                task = asyncio.create_task(self._probe(proof, request))
                self._asking[proof] = task
                task.add_done_callback(lambda done: self._asked(proof, done))
            # One client that gives up must not take the answer from the others.
            verdict = await asyncio.shield(task)
        if verdict == "test":
            return proof
        raise NotProvenError(f"credentials.{verdict}")

    def covers(self, proof: Proof, request: Request) -> bool:
        """Report whether `proof` was made here and is about the credentials and the host of `request`."""
        return self._known.get(proof) == "test" and self._claim(request) == proof

    def _claim(self, request: Request) -> Proof | None:
        """Return the proof that `request` needs, or None if its credentials are ambiguous."""
        pair = plain_pair(request)
        if pair is None:
            return None
        host = proving_host(request)
        if host is None:
            return None
        digest = hashlib.blake2b(
            b"\0".join(part.encode("utf-8", "surrogateescape") for part in (self._scope, host, *pair)),
            key=self._verdicts.key,
        ).digest()
        return Proof(host, pair[0], digest)

    async def _probe(self, proof: Proof, request: Request) -> Verdict:
        async def find_out() -> Verdict:
            answer = await self._ask(probe(request, proof.host, proof.account))
            verdict = verdict_of(answer)
            if verdict == "unclear":
                raise NotProvenError("credentials.unclear", f"{proof.host} answered {answer.status}", answer)
            return verdict

        verdict = cast("Verdict", await self._verdicts.settle(proof.digest, find_out))
        self._known[proof] = verdict
        return verdict

    def _asked(self, proof: Proof, task: asyncio.Task[Verdict]) -> None:
        del self._asking[proof]
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may be left to


def plain_pair(request: Request) -> tuple[str, str] | None:
    """Read sid and token of the one Authorization field, if every reader must read the same pair in it.

    A second field, or base64 that readers decode differently, could prove one pair and send another.
    """
    fields = [value for name, value in request.headers if name.lower() == "authorization"]
    if len(fields) != 1:
        return None
    pair = basic_auth(fields[0])
    if pair is None:
        return None
    sid, token = pair
    canonical = base64.b64encode(f"{sid}:{token}".encode()).decode()
    if fields[0].partition(" ")[2] != canonical or not (sid.isascii() and sid.isalnum()):
        return None
    return sid, token


def proving_host(request: Request) -> str | None:
    """Return the host that can judge the credentials of `request`, or None where it must not be sent at all.

    Each API host judges for itself. Twilio's other products know no accounts: the API judges for them, and
    only GET is sent to them (by the drift check).
    """
    if request.host.startswith("api."):
        return request.host
    return _API if request.method == "GET" else None


def probe(request: Request, host: str, account: str) -> Request:
    """Make the request that proves the credentials of `request` at `host`."""
    fields = [field for field in request.headers if field[0].lower() == "authorization"]
    own = (("Host", host), ("Accept", "application/json"), ("User-Agent", f"ringback/{__version__}"))
    return Request("GET", host, f"/2010-04-01/Accounts/{account}.json", (*own, *fields))


def verdict_of(answer: Answer) -> Verdict:
    """Judge the answer to the probe."""
    if answer.status == 401:
        return "wrong"
    if len(answer.body) > LARGEST_ERROR:
        return "unclear"  # an account or an error is far smaller; parsing it would keep others waiting
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return "unclear"
    if not isinstance(body, dict):
        return "unclear"  # somebody else's page, e.g. of a network that wants a login
    if answer.status == 200:
        return "live"
    # A number, as Twilio writes it: a code in quotes comes from something else that answers in its place.
    code = body.get("code")
    return "test" if answer.status == 403 and type(code) is int and code == _TEST_CODE else "unclear"

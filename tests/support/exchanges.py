"""Exchanges for tests of cassettes: made of few words, with throw-away credentials."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ringback.cassettes.cassette import Cassette, CassetteDirectory
from ringback.cassettes.misses import Miss
from ringback.cassettes.vcr_format import Interaction, dump
from ringback.exchange import Answer, Request, Source

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SID = "AC" + "1a2b3c4d" * 4
OTHER_SID = "AC" + "9f8e7d6c" * 4
TOKEN = "5f4e3d2c" * 4
FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
XML = ("Content-Type", "application/xml")
KEY = "a key for tests, long enough"


def basic(user: str = SID, token: str = TOKEN) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


def request(
    form: Iterable[tuple[str, str]] | dict[str, str] | bytes = (("To", "+14105550100"), ("Body", "hello")),
    *,
    sid: str = SID,
    resource: str = "Messages.json",
    query: str = "",
    headers: tuple[tuple[str, str], ...] = (FORM,),
    method: str = "POST",
    host: str = "api.twilio.com",
    token: str = TOKEN,
) -> Request:
    """A request to `resource` of the account `sid`."""
    if not isinstance(form, bytes):
        form = urlencode(list(form.items()) if isinstance(form, dict) else list(form)).encode()
    target = f"/2010-04-01/Accounts/{sid}/{resource}" + (f"?{query}" if query else "")
    return Request(method, host, target, (basic(sid, token), *headers), form)


def answer(
    body: bytes | dict[str, Any] | None = None,
    *,
    status: int = 201,
    headers: tuple[tuple[str, str], ...] = (JSON,),
    number: int = 1,
) -> Answer:
    """An answer as it comes from the live API."""
    if body is None:
        body = {"sid": f"SM{number:032x}", "account_sid": SID, "n": number}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = (*headers, ("Content-Length", str(len(content))))
    return Answer(status, "CREATED" if status == 201 else "BAD REQUEST", fields, content, Source("live"))


def numbered(cassette: Cassette, asked: Request) -> int | None:
    """Which answer of `answer(number=...)` the cassette gives; None for a miss."""
    found = cassette.lookup(asked)
    return None if isinstance(found, Miss) else int(json.loads(found.body)["n"])


def found(cassette: Cassette, asked: Request) -> Answer:
    got = cassette.lookup(asked)
    assert isinstance(got, Answer), got.text
    return got


def missed(cassette: Cassette, asked: Request) -> Miss:
    got = cassette.lookup(asked)
    assert isinstance(got, Miss)
    return got


def record(cassette: Cassette, *exchanges: tuple[Request, Answer]) -> list[str]:
    """Record one after another; returns where they are."""
    return [cassette.record(*exchange).result(timeout=60) for exchange in exchanges]


@dataclass
class Shelf:
    """A cassette directory, whose libraries report their lines to `reported`."""

    directory: Path
    reported: list[str] = field(default_factory=list)

    def library(self, mode: str = "offline", **options: Any) -> CassetteDirectory:
        options.setdefault("environ", {"RINGBACK_REDACT_KEY": KEY})
        return CassetteDirectory(self.directory, mode=mode, report=self.reported.append, **options)  # type: ignore[arg-type]  # str

    def write(self, *exchanges: tuple[Request, Answer], name: str = "default", **options: Any) -> Path:
        """A cassette with `exchanges`, recorded in one go; returns its file."""
        with self.library("auto", **options) as library:
            record(library.open(name), *exchanges)
        return self.file(name)

    def file(self, name: str = "default") -> Path:
        return self.directory / f"{name}.yaml"


def written(shelf: Shelf, *exchanges: tuple[Request, Answer], name: str = "default") -> Path:
    """A cassette as vcrpy would write it: nothing redacted."""
    shelf.directory.mkdir(parents=True, exist_ok=True)
    items = b"".join(dump(Interaction(*exchange)) for exchange in exchanges)
    shelf.file(name).write_bytes(b"interactions:\n" + items + b"version: 1\n")
    return shelf.file(name)

"""No leak: secrets that clients, settings and the live API put everywhere are found in nothing that is kept.

The proxy forwards and records with drift report, journal file and log. Afterwards everything that it wrote or
shows is searched for the secrets, as they are, in base64 at each offset, and percent-encoded.
"""

from __future__ import annotations

import base64
import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from support.clients import GOOD, basic, http, path
from support.proxying import serve
from support.upstream import arguments, module_upstream, response, twilio, upstream, upstream_ca

if TYPE_CHECKING:
    from support.upstream import LoopbackUpstream, Seen

__all__ = ["module_upstream", "upstream", "upstream_ca"]

PROMISE = "secrets are in nothing that is kept or shown"
TRIED = "secrets planted in requests, answers and settings, then searched for"
ACCOUNT = "AC" + "0f" * 16
SECRETS = {
    "token": "5ec2e70000aa5ec2e71111bb5ec2e722",
    "proxy password": "correct-horse-battery-7",
    "redact key": "b0" * 32,
}
TOKEN = SECRETS["token"]


def spellings(secret: str) -> list[bytes]:
    """The secret in each form in which bytes could carry it."""
    found = {
        secret.encode(),
        quote(secret).encode(),
        "".join(f"%{byte:02X}" for byte in secret.encode()).encode(),
    }
    for before in range(3):  # what of base64 does not depend on what stands around it
        encoded = base64.b64encode(b"\0" * before + secret.encode())
        found.add(encoded[4 if before else 0 : len(encoded) // 4 * 4 - 4])
    return [*found]


def planted(number: int) -> dict[str, Any]:
    """The parts of a request that carry the token in one place."""
    form, name = {**GOOD["Messages"], "Body": f"number {number}"}, f"t{number}"
    places: list[dict[str, Any]] = [
        {"form": form},
        {"form": {**form, "Body": f"my token is {TOKEN}"}},
        {"form": {**form, "StatusCallback": f"https://me:{TOKEN}@callback.example/"}},
        {"form": {**form, "StatusCallback": f"https://callback.example/?AuthToken={TOKEN}"}},
        {"form": {**form, TOKEN: "1"}},
        {"form": form, "target": path(account=ACCOUNT) + f"?AuthToken={TOKEN}"},
        {"form": form, "target": path(account=ACCOUNT, resource=TOKEN)},
        {"form": form, "headers": [("X-Auth-Token", TOKEN)]},
        {"form": form, "headers": [("Cookie", f"session={TOKEN}")]},
        {"form": form, "headers": [("User-Agent", f"client/{TOKEN}")]},
        {"form": form, "headers": [("Content-Type", f"application/{TOKEN}")]},
        {"body": f"Body={TOKEN}%zz".encode()},
        {
            "body": json.dumps({"token": TOKEN, name: 1}).encode(),
            "headers": [("Content-Type", "application/json")],
        },
    ]
    return places[number]


ANSWERS = (
    lambda seen: twilio(201, None, sid="SM" + "0" * 32, body=seen.header("Authorization"), token=TOKEN),
    lambda _: twilio(400, 21211, message=f"no {TOKEN}"),
    lambda _: response(400, b"<html>" + TOKEN.encode(), reason=f"BAD {TOKEN}"),
    lambda _: response(
        503,
        TOKEN.encode(),
        ("Set-Cookie", f"a={TOKEN}"),
        ("X-Token", TOKEN),
        ("Location", f"https://{TOKEN}.example/"),
    ),
    lambda _: f"HTTP/1.1 {TOKEN}\r\n\r\n".encode(),
    lambda _: f"HTTP/1.1 200 OK\r\nContent-Length: {TOKEN}\r\n\r\n".encode(),
    lambda _: None,
)


@pytest.fixture
def kept(upstream: LoopbackUpstream, tmp_path: Path) -> dict[str, bytes]:
    """Everything that a proxy kept or showed, by where it was."""
    home, directory, temporary = (tmp_path / name for name in ("home", "directory", "temporary"))
    for one in (home, directory, temporary):
        one.mkdir()
    upstream.probe = lambda seen: (
        None if TOKEN[::-1] in seen.target else twilio(403, 20008, message=f"x {TOKEN}")
    )
    turn = iter(range(1_000_000))

    def answer(seen: Seen) -> bytes | None:
        return ANSWERS[next(turn) % len(ANSWERS)](seen)

    upstream.rule = answer
    places = {
        "--cassettes": "cassettes",
        "--drift-report": "drift.json",
        "--journal-file": "journal.jsonl",
    }
    written = [word for option, name in places.items() for word in (option, str(directory / name))]
    options = arguments(upstream, "online", *written, "--log-format", "json", "--redact", "To")
    settings = {
        "TMPDIR": str(temporary),
        "RINGBACK_PROXY_PASSWORD": SECRETS["proxy password"],
        "RINGBACK_TEST_ACCOUNT_SID": ACCOUNT,
        "RINGBACK_TEST_AUTH_TOKEN": TOKEN,
        "RINGBACK_REDACT_KEY": SECRETS["redact key"],
    }
    found: dict[str, bytes] = {}
    proxied = (("Proxy-Authorization", basic("default", SECRETS["proxy password"])[1]),)
    with serve(home, directory, *options, more=settings) as running:
        for number in range(13 * len(ANSWERS)):
            parts = planted(number % 13)
            target = parts.pop("target", path(account=ACCOUNT))
            headers = [*parts.pop("headers", []), basic(ACCOUNT, TOKEN)]
            name, value = proxied[0]
            with (
                running.wire()
                .tunnel("api.twilio.com:443", f"{name}: {value}\r\n".encode())
                .tls(running.ca) as wire
            ):
                wire.send(http(target=target, headers=headers, authorized=False, **parts)).answer_or_end()
        found["command line"] = Path(f"/proc/{running.process.pid}/cmdline").read_bytes()
        for page in (
            "requests",
            "messages",
            "calls",
            "numbers",
            "health",
            "session",
            "contract/rows",
            "requests/2",
            "metrics",
        ):
            asked = http(
                "GET",
                f"/ringback/{page}",
                host=f"127.0.0.1:{running.port}",
                headers=[("Authorization", proxied[0][1])],
                authorized=False,
            )
            with running.wire() as wire:
                found[f"/ringback/{page}"] = wire.send(asked).answer_or_end()
        assert b'"Body"' in found["/ringback/requests"]
        running.process.send_signal(signal.SIGTERM)
        found["stdout"] = running.process.communicate(timeout=60)[0]
    for place in (directory, temporary):
        for file in place.rglob("*"):
            if file.is_file():
                found[str(file.relative_to(tmp_path))] = file.read_bytes()
    return found


def test_no_secret_is_kept_or_shown(kept: dict[str, bytes], record_property: pytest.RecordProperty) -> None:
    record_property("tries", len(kept) * len(SECRETS))
    assert b"interactions:" in b"".join(kept.values())
    assert {"directory/stderr.txt", "directory/journal.jsonl", "directory/drift.json"} <= set(kept)
    leaks = [
        (where, name, content[max(0, at - 60) : at + 60])
        for where, content in kept.items()
        for name, secret in SECRETS.items()
        for spelling in spellings(secret)
        if (at := content.find(spelling)) >= 0
    ]
    assert not leaks, "\n".join(str(leak) for leak in leaks)

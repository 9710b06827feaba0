"""Who answers: the gate, else the contract; counted once, whoever it was."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from ringback import __version__
from ringback.contract import Answer, Credentials, Names, Request, load
from ringback.contract.gate import Admitted
from ringback.contract.render import SeededStamps
from ringback.control import Control
from ringback.responder import Responder
from ringback.settings import load as load_settings
from support.clients import (
    ACCOUNT,
    FORM_TYPE,
    GOOD,
    TOKEN,
    basic,
    better,
    body_of,
    fail_of,
    path,
    post,
    respond,
)

if TYPE_CHECKING:
    from pathlib import Path

if TYPE_CHECKING:
    from pathlib import Path

FINE = post("Messages", GOOD["Messages"])
NAMES = Names("api.twilio.com")


@pytest.fixture
def responder() -> Responder:
    return Responder(load(), stamps=SeededStamps(1))


def test_what_the_gate_admits_gets_the_contracts_answer(responder: Responder) -> None:
    assert isinstance(responder.admit(FINE, NAMES), Admitted)
    assert responder.tally.total == 0, "admitting is no answer"
    got = respond(responder, FINE, NAMES)
    assert (got.status, got.source.kind) == (201, "contract")
    assert body_of(got)["account_sid"] == ACCOUNT
    assert responder.tally.by_source == {"contract": 1}


def test_a_failure_is_logged_without_the_token(
    responder: Responder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ValueError(f"cannot read {TOKEN}")

    monkeypatch.setattr(responder, "decide", fail)
    asked = replace(FINE, target=f"{FINE.target}/{TOKEN}")
    assert respond(responder, asked, NAMES).status >= 400
    assert "ValueError: cannot read token" in caplog.text, "the traceback"
    assert TOKEN not in caplog.text


def test_what_the_gate_refuses_is_counted_as_refused(responder: Responder) -> None:
    got = respond(responder, replace(FINE, method="GET"), NAMES)
    assert (got.status, got.source.rule) == (403, "resource.unsupported")
    refused = responder.admit(replace(FINE, method="GET"), NAMES)
    assert isinstance(refused, Answer)
    assert refused.status == 403
    assert responder.tally.refused == {"resource.unsupported": 1}


def test_a_body_that_is_no_form_is_refused(responder: Responder) -> None:
    assert respond(responder, replace(FINE, body=b"%"), NAMES).source.rule == "form.malformed"
    assert responder.tally.refused == {"form.malformed": 1}


def test_the_configured_pair_is_asked_for() -> None:
    responder = Responder(load(), Credentials(ACCOUNT, TOKEN))
    assert respond(responder, FINE, NAMES).status == 201
    assert respond(responder, replace(FINE, headers=(basic(ACCOUNT, "x"), FORM_TYPE)), NAMES).status == 401


@pytest.mark.parametrize(
    "option, value, fields, default, changed",
    [
        (
            "texts",
            "newest",
            {"To": "+15005550001"},
            "The 'To' number +15005550001 is not a valid phone number.",
            "Invalid 'To' Phone Number: +1500555XXXX",
        ),
        ("account", "trial", {}, "hello", "Sent from your Twilio trial account - hello"),
        (
            "allow_local_urls",
            "true",
            {"StatusCallback": "http://localhost/s"},
            "The StatusCallback URL http://localhost/s is not a valid URL.",
            "hello",
        ),
    ],
)
def test_settings_choose_texts_account_and_urls(
    tmp_path: Path, option: str, value: str, fields: dict[str, str], default: str, changed: str
) -> None:
    request = post("Messages", better("Messages", **fields))
    for environ, wanted in (({}, default), ({f"RINGBACK_{option.upper()}": value}, changed)):
        responder = Responder.open(load_settings({}, environ, tmp_path))
        found = body_of(respond(responder, request, NAMES))
        assert found.get("body", found.get("message")) == wanted


@pytest.mark.parametrize("extension, content", [(".json", "application/json"), ("", "application/xml")])
def test_head_gets_headers_alone(responder: Responder, extension: str, content: str) -> None:
    got = respond(responder, replace(FINE, method="HEAD", target=path(extension=extension)), NAMES)
    assert (got.status, got.body, got.header("Content-Type")) == (403, b"", content)
    assert int(got.header("Content-Length") or 0) > 0


def test_refusing_by_name(responder: Responder) -> None:
    got = responder.refuse(FINE, "proxy.error", detail="what happened")
    assert fail_of(got)["code"] == 20001
    assert got.source.reason == "Ringback failed on this request, see its log: what happened"
    assert responder.tally.refused == {"proxy.error": 1}
    with pytest.raises(KeyError):
        responder.refuse(FINE, "no.such.rule")


def test_its_own_health_is_not_counted(responder: Responder) -> None:
    respond(responder, FINE, NAMES)
    got = Control(responder).handle(Request("GET", "127.0.0.1", "/ringback/health" + "?x=1"))
    found = body_of(got)
    assert (got.status, got.header("Content-Type")) == (200, "application/json")
    assert (found["status"], found["version"], found["mode"]) == ("ok", __version__, "offline")
    assert (found["answered"], found["by_source"]) == (1, {"contract": 1})
    assert responder.tally.total == 1


@pytest.mark.parametrize(
    "method, target",
    [("GET", "/"), ("POST", "/ringback/healthy"), ("GET", "/ringback/health/"), ("GET", path())],
)
def test_everything_else_of_its_own_is_not_found(responder: Responder, method: str, target: str) -> None:
    got = Control(responder).handle(Request(method, "127.0.0.1", target))
    failed = fail_of(got)
    assert (failed["status"], failed["code"]) == (404, 20404)
    assert failed["message"] == f"The requested resource {target} was not found"
    assert responder.tally.total == 0


def test_an_answer_with_a_delay_waits_that_long(tmp_path: Path) -> None:
    rows = tmp_path / "rows.yaml"
    rows.write_text(
        "magic:\n  - {resource: Messages, parameter: To, value: '+15005550010', error: 30003, delay: 0.05}\n"
        "errors:\n  - {code: 30003, message: Unreachable}\n"
    )
    responder = Responder(load((rows,)))
    request = post("Messages", {**GOOD["Messages"], "To": "+15005550010"})

    async def main() -> tuple[Answer, float]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        answer = responder.handle(request, NAMES)
        assert not isinstance(answer, Answer), "others are answered meanwhile"
        return await answer, loop.time() - started

    answer, waited = asyncio.run(main())
    assert body_of(answer)["code"] == 30003
    assert waited >= 0.05

"""A line for each request: what a person needs, and nothing that a terminal would obey."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ringback.cli.summary import callback_line, failures, follow, line
from ringback.contract import Names, load
from ringback.contract.render import SeededStamps
from ringback.journal import Journal
from ringback.records import Callback, Filter
from ringback.responder import Responder
from ringback.settings import Settings
from support.clients import FORM_TYPE, GOOD, basic, http, path, post, respond
from support.proxying import requesting, ringback, serve

if TYPE_CHECKING:
    from pathlib import Path

NAMES = Names("api.twilio.com")
FORM = {"From": "+15005550006", "To": "+14105550101"}


@pytest.fixture
def responder() -> Responder:
    return Responder(load(), stamps=SeededStamps(1))


def shown(responder: Responder, width: int = 0, *, colour: bool = False) -> str:
    return line(responder.journal.find(Filter())[0], width=width, colour=colour)


def test_a_message_its_numbers_and_its_text(responder: Responder) -> None:
    respond(responder, post("Messages", {**FORM, "Body": "Your code is 481231"}), NAMES)
    got = shown(responder).partition(" ")[2]
    assert got == ('Messages +15005550006 -> +14105550101 201 Messages.from.valid "Your code is 481231"')


def test_an_error_has_its_code_and_its_text(responder: Responder) -> None:
    respond(responder, post("Messages", {**FORM, "To": "+15005550001", "Body": "x"}), NAMES)
    assert " 400 21211 Messages.to.invalid \"The 'To' number" in shown(responder)


def test_a_status_callback_has_a_line_too(responder: Responder, capsys: pytest.CaptureFixture[str]) -> None:
    sid = "SM" + "0" * 32
    made = Callback(1, "s", sid, "Messages", "sent", "http://127.0.0.1/\x1b[31m", "POST", (), 204, None)
    for options in (Settings(verbose=True), Settings(log_format="json")):
        follow(responder.journal, options, default=False)
        responder.journal.add_callback(made)
        responder.journal.callback_listeners.clear()
    plain, as_json = capsys.readouterr().err.splitlines()
    assert plain.partition(" ")[2] == f"Messages {sid} sent -> http://127.0.0.1/ [31m 204"
    assert json.loads(as_json)["callback"]["status"] == "sent"
    failed = callback_line(replace(made, answered=None, error="no answer within 15 s"), colour=True)
    assert failed.endswith("\x1b[33mno answer within 15 s\x1b[0m")


def test_a_line_fits_the_terminal(responder: Responder) -> None:
    respond(responder, post("Messages", {**FORM, "Body": "\N{GRINNING FACE}" * 1000}), NAMES)
    got = shown(responder, 100)
    assert got.endswith("...")
    assert len(got) + got.count("\N{GRINNING FACE}") <= 100


def test_a_terminal_is_reported_nothing_by_a_message(responder: Responder) -> None:
    text = "\x1b]0;owned\x07\r\n\N{RIGHT-TO-LEFT OVERRIDE}\x9b31m"
    respond(responder, post("Messages", {"From": "+15005550006", "To": text, "Body": text}), NAMES)
    assert shown(responder).isprintable()


@pytest.mark.parametrize("to, code", [("+14105550101", "32"), ("+15005550001", "33")])
def test_colours_report_the_outcome(responder: Responder, to: str, code: str) -> None:
    respond(responder, post("Messages", {**FORM, "To": to, "Body": "x"}), NAMES)
    assert f"\x1b[{code}m" in shown(responder, colour=True)


def test_what_was_refused_is_listed_the_last_ones(responder: Responder) -> None:
    respond(responder, post("Messages", {**FORM, "Body": "x"}), NAMES)
    assert failures(responder.journal) == []
    for _ in range(12):
        respond(responder, post("Recordings", GOOD["Messages"]), NAMES)
    found = failures(responder.journal)
    assert found[0] == "(2 earlier)"
    assert len(found) == 11
    assert "403 20008 resource.unsupported" in found[1]
    assert failures(Journal(0)) == []


def test_run_shows_lines_when_asked_and_lists_what_was_refused(home: Path) -> None:
    program = requesting([*FORM.items(), ("Body", "hello")])
    done = ringback(home, "run", "-v", "--", "python", "-c", program)
    assert "Messages +15005550006 -> +14105550101 201 Messages.from.valid" in done.stderr
    assert "201 Messages" not in ringback(home, "run", "--", "python", "-c", program).stderr
    failing = requesting([*FORM.items()], "Recordings") + "\nsys.exit(1)"
    done = ringback(home, "run", "--", "python", "-c", failing)
    assert done.returncode == 1
    assert "requests that were refused or missed:" in done.stderr
    assert "403 20008 resource.unsupported" in done.stderr


def test_serve_writes_json_lines_and_a_file(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "requests.jsonl"
    with serve(home, tmp_path, "--log-format", "json", "--journal-file", str(file)) as running:
        running.ask(
            http(
                "POST",
                path(),
                b"From=%2B15005550006&To=%2B14105550101&Body=hello",
                headers=(basic(), FORM_TYPE),
            )
        )
        (record,) = map(json.loads, file.read_text().splitlines())
        assert (record["number"], record["resource"], record["rule"]) == (
            1,
            "Messages",
            "Messages.from.valid",
        )
        lines = [json.loads(one) for one in running.stderr().splitlines() if one.startswith("{")]
        assert [one["number"] for one in lines] == [1]
        assert "answer" not in lines[0]


def test_serve_keeps_as_many_as_it_is_reported(home: Path, tmp_path: Path) -> None:
    with serve(home, tmp_path, "--journal", "0") as running:
        assert running.health()["journal"] == 0

"""Cassettes kept in order: prune, refresh, what is worth recording, and what a rerecording inherits."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from ringback.cassettes import verify
from ringback.cassettes.files import CassetteFormatError
from ringback.cassettes.manager import CassetteManager, CassetteOptions, CassetteUsage
from ringback.cassettes.redaction import known_of
from ringback.cli import ringback
from ringback.cli.summary import cassettes_code, summary
from ringback.tally import Tally
from support.exchanges import KEY, SID, TOKEN, Shelf, answer, found, numbered, record, request
from support.upstream import arguments, twilio

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from support.upstream import LoopbackUpstream

FORM = {"To": "+14105550100", "From": "+15005550006"}
ONE, TWO, THREE = (request({**FORM, "Body": str(n)}) for n in (1, 2, 3))
LIST = request(b"", method="GET")
HTML = (("Content-Type", "text/html; charset=utf-8"),)


def run(*words: str | Path) -> Result:
    result = CliRunner().invoke(ringback, ["cassettes", *map(str, words)], catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


@pytest.fixture(autouse=True)
def _place(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(shelf.directory.parent)
    monkeypatch.setenv("RINGBACK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RINGBACK_REDACT_KEY", KEY)


def manager(shelf: Shelf, mode: Any = "offline", **options: Any) -> CassetteManager:
    return CassetteManager(CassetteOptions(shelf.directory, **options), mode)


def bodies(path: Path) -> list[str]:
    return [verify.load(path).placed[at].interaction.request.body.decode()[-1:] for at in range(count(path))]


def count(path: Path) -> int:
    return len(verify.load(path).placed)


def test_prune_takes_out_what_the_last_run_did_not_use(shelf: Shelf) -> None:
    file = shelf.write((ONE, answer()), (TWO, answer()), (LIST, answer(status=200)), (THREE, answer()))
    assert "no run is known that used" in run("prune", "default", "--unused").stderr
    used = manager(shelf)
    used.lookup(TWO, None)
    (usage,) = used.close()
    assert usage.unused == 2
    dry = run("prune", "default", "--unused", "--dry-run")
    assert [line.split(": ")[1] for line in dry.stdout.splitlines()] == ["1", "4"]
    assert "2 would be taken out, 2 interactions left" in dry.stderr
    assert count(file) == 4
    assert run("prune", "default", "--unused").exit_code == 0
    assert bodies(file) == ["2", ""]
    again = run("prune", "default", "--unused")
    assert again.exit_code == 1
    assert "was changed since the last run that used it" in again.stderr


def test_prune_by_age_and_rule(shelf: Shelf) -> None:
    now = datetime.now(UTC)
    for age, asked in ((100, ONE), (1, TWO)):
        with shelf.library("auto", clock=lambda age=age: now - timedelta(days=age)) as library:
            refused = answer({"code": 21211}, status=400)
            record(library.open(), (asked, refused if age == 1 else answer()))
    assert run("prune", "default").exit_code == 2
    assert run("prune", "default", "--older-than", "30", "--rule", "contract").exit_code == 0
    assert count(shelf.file()) == 2, "of several options all have to hold"
    assert run("prune", "default", "--older-than", "30").exit_code == 0
    assert bodies(shelf.file()) == ["2"]
    assert run("prune", "default", "--rule", "contract").exit_code == 0
    assert count(shelf.file()) == 0


async def _recorded(used: CassetteManager, *exchanges: tuple[Any, Any]) -> list[str]:
    return [await used.record(asked, got, None) for asked, got in exchanges]


def finished(used: CassetteManager, *exchanges: tuple[Any, Any]) -> tuple[list[str], CassetteUsage]:
    places = asyncio.run(_recorded(used, *exchanges))
    (usage,) = used.close()
    return places, usage


def test_what_is_not_worth_recording_is_not_recorded(shelf: Shelf) -> None:
    used = manager(shelf, "auto", record_statuses=("2xx", "400"))
    places, usage = finished(
        used,
        (ONE, answer(status=201)),
        (TWO, answer(status=400)),
        (THREE, answer(status=404)),
        (LIST, answer(b"<h1>Back soon</h1>", status=200, headers=HTML)),
    )
    assert places == [
        "default#1",
        "default#2",
        "not recorded: status 404 (--record-statuses)",
        "not recorded: an HTML page is no answer of the API",
    ]
    assert (usage.recorded, usage.failed, count(shelf.file())) == (2, 0, 2)


def test_a_maintenance_page_leaves_the_old_cassette_and_the_run_has_its_own_code(shelf: Shelf) -> None:
    file = shelf.write((ONE, answer()), (TWO, answer()))
    before = file.read_bytes()
    page = answer(b"<h1>Back soon</h1>", status=200, headers=HTML)
    _, usage = finished(manager(shelf, "online"), (ONE, answer()), (TWO, page))
    assert file.read_bytes() == before
    assert usage.put_aside == "default-interrupted-1"
    assert cassettes_code([usage], failing=False) == 6
    assert cassettes_code([usage], failing=True) == 4
    assert "its new recording was put aside as cassette default-interrupted-1" in "\n".join(
        summary(Tally(), "online", [usage])
    )
    _, usage = finished(manager(shelf, "online"), (ONE, answer()), (TWO, answer()))
    assert (usage.put_aside, cassettes_code([usage], failing=False)) == ("", 0)


@pytest.mark.parametrize("asked", [(), ("From",)])
def test_online_redacts_what_the_old_cassette_has_redacted(shelf: Shelf, asked: tuple[str, ...]) -> None:
    file = shelf.write((ONE, answer()), redact=["To", "Body"])
    text = file.read_text().replace("    redaction:", "    match_ignore: [SendAt]\n    redaction:")
    file.write_text(text)
    with shelf.library("online", redact=asked) as library:
        record(library.open(), (request({**FORM, "Body": "a new secret"}), answer({"body": "a new secret"})))
    text = file.read_text()
    assert "a new secret" not in text
    assert "14105550100" not in text
    known = known_of(verify.load(file).metadata)
    assert known["redaction"]["fields"] == [*asked, "To", "Body"]
    assert known["match_ignore"] == ["SendAt"]
    with shelf.library() as library:
        got = found(library.open(), request({**FORM, "Body": "a new secret", "SendAt": "now"}))
    assert json.loads(got.body)["body"] == "a new secret"


def test_show_names_what_holds_for_all_interactions(shelf: Shelf) -> None:
    file = shelf.write((ONE, answer()), redact=["Body"])
    rules = "    match_ignore: ['Body=[0-9]{6}']\n"
    file.write_text(file.read_text().replace("    redaction:", f"{rules}    redaction:"))
    shown = run("show", "default")
    assert shown.stderr.splitlines() == [
        "not compared (match-ignore): Body=[0-9]{6}",
        "pseudonyms (redact): Body",
    ]
    assert shown.stdout.splitlines()[0].startswith("number\t")


def test_an_item_that_changes_while_it_is_in_use_answers_nothing(shelf: Shelf) -> None:
    file = shelf.write((ONE, answer(number=1)), (TWO, answer(number=2)))
    with shelf.library() as library:
        cassette = library.open()
        with file.open("r+b") as written:  # in place, of the same length, and still YAML
            data = written.read()
            written.seek(data.index(b'"n": 2'))
            written.write(b'"n": 7')
        assert numbered(cassette, ONE) == 1
        with pytest.raises(CassetteFormatError, match="changed while it was in use"):
            cassette.lookup(TWO)


def test_refresh_asks_for_the_named_ones_alone(
    shelf: Shelf, upstream: LoopbackUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.rule = lambda seen: twilio(201, None, sid="SM" + "9" * 32, body=dict(seen.form)["Body"])
    live = [word for word in arguments(upstream, "online") if word not in ("--mode", "online")]
    ways = [live[live.index(one) + shift] for one in ("--upstream", "--upstream-ca") for shift in (0, 1)]
    file = shelf.write((ONE, answer(number=1)), (TWO, answer(number=2)), (LIST, answer(status=200, number=3)))
    assert "set RINGBACK_TEST_ACCOUNT_SID" in run("refresh", "default", "2", *ways).stderr
    monkeypatch.setenv("RINGBACK_TEST_ACCOUNT_SID", SID)
    monkeypatch.setenv("RINGBACK_TEST_AUTH_TOKEN", TOKEN)
    result = run("refresh", "default", "2", *ways)
    assert result.exit_code == 0, result.output
    assert f"cassettes/{file.name}: 2: 201 CREATED, now 201" in result.stdout
    sids = [json.loads(one.interaction.answer.body)["sid"] for one in verify.load(file).placed]
    assert sids == ["SM" + f"{1:032x}", "SM" + "9" * 32, "SM" + f"{3:032x}"]
    assert SID not in file.read_text()
    assert [dict(seen.form)["Body"] for seen in upstream.seen if seen.form] == ["2"]
    result = run("refresh", "default", "3", *ways)
    assert result.exit_code == 1
    assert "3: not asked again: test credentials cannot make this request" in result.stderr
    assert run("refresh", "default", "9", *ways).exit_code == 2
    shelf.write((ONE, answer()), name="hidden", redact=["Body"])
    assert "Body stand in it as pseudonyms" in run("refresh", "hidden", "1", *ways).stderr

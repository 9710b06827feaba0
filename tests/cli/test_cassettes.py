"""`ringback cassettes`: what people see of their recordings, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from ringback.cassettes.matching import ACCOUNT_PLACEHOLDER
from ringback.cli import ringback
from ringback.cli.cassettes import command
from support.exchanges import KEY, SID, TOKEN, Shelf, answer, basic, numbered, request, written

if TYPE_CHECKING:
    from click.testing import Result

SENT = {"From": "+15005550006", "To": "+14105550100", "Body": "hello"}

FILE = Path("cassettes/default.yaml")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RINGBACK_REDACT_KEY", KEY)
    return Shelf(tmp_path / "cassettes")


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert "Traceback" not in result.output
    return result


def test_the_command_is_known() -> None:
    result = CliRunner().invoke(ringback, ["cassettes", "--help"])
    assert result.exit_code == 0
    assert all(name in result.output for name in ("list", "show", "verify", "redact"))


def test_list(shelf: Shelf) -> None:
    without = run("list")
    assert without.exit_code == 2
    assert "there is no directory cassettes" in without.stderr
    shelf.directory.mkdir()
    assert "no cassettes in cassettes" in run("list").stderr
    shelf.write((request(), answer()), (request(), answer()), redact=["To"])
    written(shelf, (request(), answer()), name="theirs")
    shelf.file("broken").write_text("a: b")
    result = run("list")
    assert result.exit_code == 0
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert rows[0] == ["name", "interactions", "bytes", "last recorded", "source", "redacted", "layout"]
    assert rows[1][:2] == ["broken", "-"]
    assert rows[1][-1] == "broken"
    assert (
        result.stderr == f"{Path('cassettes/broken.yaml')}:1: `interactions` is missing, it must be a list\n"
    )
    assert (rows[2][0], rows[2][1], rows[2][4:]) == ("default", "2", ["live", "To", "own"])
    assert (rows[3][0], rows[3][1], rows[3][4:]) == ("theirs", "1", ["vcrpy", "-", "vcrpy's"])
    assert rows[2][2] == str(shelf.file().stat().st_size)


def test_a_slip_in_the_last_exchange_is_named_by_list_and_verify(shelf: Shelf) -> None:
    file = shelf.write((request({"Body": "a"}), answer()), (request({"Body": "b"}), answer()))
    text = file.read_text()
    file.write_text(text[: text.rindex("201")] + "oops\n      message: CREATED\n")
    line = text[: text.rindex("201")].count("\n") + 1
    said = "`response.status.code` is text, it must be a number from 200 to 599"
    assert run("list").stderr.startswith(f"{FILE}:{line}: {said}; ")
    assert run("verify").stdout == f"{FILE}:{line}: format: {said}; correct it, or --repair takes it out\n"


def test_show_lists_the_exchanges(shelf: Shelf) -> None:
    error = answer({"code": 21614, "message": "m"}, status=400)
    shelf.write((request(SENT), answer()), (request({"Body": "\x1b[31mred"}), error))
    rows = [line.split("\t") for line in run("show", "default").stdout.splitlines()]
    assert rows[1][0] == "1"
    assert rows[1][2].endswith("Messages.json (From=+15005550006, To=+14105550100, Body=hello)")
    assert rows[1][3] == "201 CREATED"
    assert rows[2][3] == "400 BAD REQUEST 21614"
    assert "?[31mred" in rows[2][2]


def test_show_shows_one_exchange(shelf: Shelf) -> None:
    shelf.write((request(), answer()), (request(SENT), answer({"a": "b"})), (request(), answer(b"\xff")))
    shown = run("show", "default", "2").stdout
    assert "POST https://api.twilio.com/2010-04-01/Accounts/AC0000" in shown
    assert "Body=hello" in shown
    assert '{"a": "b"}' in shown
    assert "Ringback-Source: live" in shown
    assert "(1 byte, no text)" in run("show", "default", "3").stdout
    result = run("show", "default", "4")
    assert result.exit_code == 2
    assert "has 3 interactions, no number 4" in result.stderr


def test_show_masks_the_secrets_of_a_cassette_of_vcrpy(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "an-odd-token")
    reported = answer(
        {"account_sid": SID, "text": "an-odd-token", "auth_token": "named"},
        headers=(("Content-Type", "application/json"), ("Set-Cookie", "session=kept"), ("X-From", SID)),
    )
    written(shelf, (request({**SENT, "Body": TOKEN, "AuthToken": "secret words"}), reported))
    shown = run("show", "default", "1").stdout
    rows = run("show", "default").stdout
    for secret in (
        SID,
        TOKEN,
        basic()[1].partition(" ")[2],
        "an-odd-token",
        "named",
        "secret",
        "session=kept",
    ):
        assert secret not in shown + rows, secret
    assert "Authorization: REDACTED\n" in shown
    assert "Set-Cookie: REDACTED\n" in shown
    assert f"X-From: {ACCOUNT_PLACEHOLDER}\n" in shown
    assert f'"account_sid": "{ACCOUNT_PLACEHOLDER}"' in shown
    assert "To=%2B14105550100" in shown
    assert TOKEN in shelf.file().read_text()


@pytest.mark.parametrize("name", ["absent", "../x", "a b"])
def test_show_of_what_is_not_there_is_a_usage_error(shelf: Shelf, name: str) -> None:
    shelf.write((request(), answer()))
    result = run("show", name)
    assert result.exit_code == 2
    assert "there are: default" in result.stderr or "cannot name a cassette" in result.stderr


def test_show_of_a_broken_one_reports_where(shelf: Shelf) -> None:
    shelf.directory.mkdir()
    shelf.file().write_text("a: b")
    result = run("show", "default")
    assert result.exit_code == 1
    assert "default.yaml:1: " in result.stderr


def test_verify_is_quiet_and_green_when_all_is_well(shelf: Shelf) -> None:
    shelf.write((request(SENT), answer()))
    result = run("verify")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "1 cassette checked, 0 findings" in result.stderr


def test_verify_finds_with_file_and_line_and_exit_1(shelf: Shelf) -> None:
    written(shelf, (request(SENT), answer({"x": TOKEN})))
    result = run("verify", str(shelf.directory))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert all(line.startswith(f"{shelf.file()}:") for line in lines)
    assert any(line.endswith("secret: auth token in the answer's body") for line in lines)
    assert TOKEN not in result.output
    assert SID not in result.output


def test_verify_looks_for_the_tokens_of_the_environment(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(shelf, (request(SENT, headers=()), answer({"x": "an-odd-token"})))
    text = shelf.file().read_text()
    start = text.index("      Authorization:")
    shelf.file().write_text(text[:start] + text[text.index("    method:") :])
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "an-odd-token")
    assert "a configured secret in the answer's body" in run("verify").stdout


def test_verify_reports_what_it_cannot_judge(shelf: Shelf) -> None:
    shelf.write((request(SENT), answer()))
    assert run("redact", "--redact", "To,Body").exit_code == 0
    why = "To, Body were recorded as pseudonyms (--redact), which get other answers than what was sent"
    result = run("verify")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        f"{FILE}: not held against the contract: {why}\n1 cassette checked, 0 findings\n"
    )
    reported = json.loads(run("verify", "--json").stdout)
    skipped = [{"path": str(FILE), "why": why}]
    assert reported == {
        "checked": 1,
        "findings": [],
        "not_held_against_contract": skipped,
        "not_used": [],
        "not_looked_at": [],
    }


def test_of_two_files_with_one_name_it_is_reported_which_is_used(shelf: Shelf) -> None:
    shelf.write((request(SENT), answer()))
    other = FILE.with_suffix(".json")
    other.write_text('{"version": 1, "interactions": []}')
    said = f"{other}: not used, because {FILE} has the same name\n"
    assert run("list").stderr == said
    result = run("verify")
    assert (result.exit_code, result.stderr) == (0, f"{said}2 cassettes checked, 0 findings\n")
    reported = json.loads(run("verify", "--json").stdout)
    assert reported["not_used"] == [{"path": str(other), "used": str(FILE)}]


def test_verify_as_json(shelf: Shelf) -> None:
    shelf.directory.mkdir()
    shelf.file().write_text("a: b")
    result = run("verify", "--json")
    assert (result.exit_code, result.stderr) == (1, "")
    (found,) = json.loads(result.stdout)["findings"]
    assert found == {
        "path": str(FILE),
        "line": 1,
        "rule": "format",
        "detail": "`interactions` is missing, it must be a list",
    }


@pytest.mark.parametrize("text", ["", " \n\n"])
def test_verify_of_an_empty_file(shelf: Shelf, text: str) -> None:
    shelf.directory.mkdir()
    shelf.file().write_text(text)
    result = run("verify")
    assert (result.exit_code, result.stderr) == (0, "1 cassette checked, 0 findings\n")


def test_verify_looks_at_each_file_once(shelf: Shelf) -> None:
    shelf.write((request(SENT), answer()))
    result = run("verify", "cassettes", str(FILE), "cassettes")
    assert result.stderr == "1 cassette checked, 0 findings\n"


def test_verify_repairs(shelf: Shelf) -> None:
    file = shelf.write((request(SENT), answer(number=1)), (request(SENT), answer(number=2)))
    file.write_bytes(file.read_bytes()[:-3])
    assert run("verify").exit_code == 1
    result = run("verify", "--repair")
    assert result.exit_code == 0
    assert f"repaired: {FILE}: it ends in " in result.stdout
    assert f"cut, and kept in {FILE}.torn-1; 1 whole interaction before that" in result.stdout
    assert run("verify").exit_code == 0


def test_verify_without_a_directory_is_a_usage_error(shelf: Shelf) -> None:
    result = run("verify")
    assert result.exit_code == 2
    assert "there is no directory cassettes" in result.stderr
    assert run("verify", "nowhere").exit_code == 2
    assert not shelf.directory.exists()


def test_redact_rewrites_and_still_matches(shelf: Shelf) -> None:
    written(shelf, (request(SENT), answer({"to": SENT["To"], "n": 1})))
    result = run("redact", "--redact", "To, Body")
    assert result.exit_code == 0
    assert f"{Path('cassettes/default.yaml')}: 1 interaction redacted" in result.stdout
    for secret in (SID, TOKEN, "4105550100", "hello"):
        assert secret not in shelf.file().read_text()
    with shelf.library() as library:
        assert numbered(library.open(), request(SENT)) == 1
    assert run("verify").exit_code == 0


def test_what_cannot_be_redacted_is_reported_and_the_others_are(shelf: Shelf) -> None:
    for name in ("one", "two"):
        written(shelf, (request(SENT), answer({"to": SENT["To"]})), name=name)
    shelf.file("latin").write_bytes(b"interactions: [\xff]\n")
    shelf.file("other").write_text("a: b")
    result = run("redact", "--redact", "to")
    assert result.exit_code == 1
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == [
        str(Path("cassettes/one.yaml")),
        str(Path("cassettes/two.yaml")),
    ]
    for name in ("one", "two"):
        assert "4105550100" not in shelf.file(name).read_text()
        assert "- To\n" in shelf.file(name).read_text()
    assert result.stderr.splitlines() == [
        f"not redacted: {Path('cassettes/latin.yaml')}:1: byte 15 is not UTF-8",
        f"not redacted: {Path('cassettes/other.yaml')}:1: `interactions` is missing, it must be a list",
    ]


@pytest.mark.parametrize(
    "fields, said", [("to,boddy", "did you mean Body? There are:"), ("To;Body", "cannot name a form field")]
)
def test_a_typo_in_a_field_is_a_usage_error(shelf: Shelf, fields: str, said: str) -> None:
    before = written(shelf, (request(SENT), answer())).read_bytes()
    result = run("redact", "--redact", fields)
    assert result.exit_code == 2
    assert "'--redact'" in result.stderr
    assert said in result.stderr
    assert shelf.file().read_bytes() == before


def test_the_documentations_cassette_is_the_one_that_ships(shelf: Shelf) -> None:
    shipped = (Path(__file__).parents[2] / "cassettes" / "documentation.yaml").read_bytes()
    assert run("documentation").stdout_bytes == shipped
    result = run("documentation", "--output", "cassettes/documentation.yaml")
    assert (result.exit_code, result.stdout) == (0, "")
    assert shelf.file("documentation").read_bytes() == shipped
    result = run("documentation", "--output", "cassettes/documentation.yaml/x")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: cassettes/documentation.yaml/x cannot be written: ")


def test_redact_of_nothing_says_so(shelf: Shelf) -> None:
    assert "no cassettes in cassettes" in run("redact").stderr
    assert run("redact", "absent").exit_code == 2
    shelf.directory.mkdir()
    shelf.file().write_text("a: b")
    result = run("redact")
    assert result.exit_code == 1
    assert "default.yaml:1" in result.stderr

"""docs/cassettes.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from click.testing import CliRunner

from ringback.cassettes import pseudonyms, redaction, verify
from ringback.cassettes.formats import to_ruby_vcr
from ringback.cli.cassettes import command
from ringback.cli.run import command as run
from support.exchanges import Shelf, answer, missed, request

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[2] / "docs" / "cassettes.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def block(language: str) -> str:
    (found,) = [text for name, text in BLOCKS if name == language]
    return found


def test_the_file_shown_is_a_cassette(shelf: Shelf) -> None:
    shelf.directory.mkdir()
    shelf.file().write_text(block("yaml"))
    with shelf.library() as library:
        cassette = library.open()
        assert not cassette.foreign
        assert getattr(cassette.lookup(request()), "status", None) == 201
    assert verify.load(shelf.file()).ours


def test_the_commands_shown_work(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shelf.directory.parent)
    monkeypatch.setenv("RINGBACK_REDACT_KEY", "x" * 20)
    shelf.write(
        *((request({"To": "+14105550100", "From": "+15005550006", "Body": "x"}), answer()) for _ in range(5))
    )
    (shelf.directory.parent / "other").mkdir()
    lines = [line.removeprefix("$ ") for line in block("console").splitlines()]
    assert len(lines) == 12
    (shelf.directory.parent / "theirs").mkdir()
    theirs = [(request(), answer(), "")]
    (shelf.directory.parent / "theirs" / "twilio.yml").write_text(to_ruby_vcr(theirs, "1"))
    for line in lines:
        (shelf.directory.parent / "other" / "default.yaml").write_bytes(shelf.file().read_bytes())
        result = CliRunner().invoke(
            command, line.removeprefix("ringback cassettes ").split(), catch_exceptions=False
        )
        assert result.exit_code == 0, line


def test_the_miss_shown_is_reported_so(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shelf.directory.parent)
    shelf.write((request(resource="Calls.json"), answer()), (request(), answer()))
    with Shelf(Path("cassettes")).library() as library:
        reported = missed(library.open(), request({"To": "+14105550101", "Body": "hello"})).text
    shown = block("")
    assert re.sub(r":\d+ ", ":N ", reported) == re.sub(r":\d+ ", ":N ", shown.rstrip("\n"))


def test_every_rule_of_verify_is_named() -> None:
    source = Path(verify.__file__).read_text()
    rules = set(re.findall(r'"(format|torn|interrupted|draft|secret|contract)"', source))
    assert len(rules) == 6
    assert all(f"`{rule}`" in TEXT for rule in rules)


def test_every_option_named_is_one() -> None:
    known = {
        name for part in (run, *command.commands.values()) for option in part.params for name in option.opts
    }
    assert set(re.findall(r"--[a-z][a-z-]+", TEXT)) <= known | {
        "--ringback",
        "--ringback-required",
    }  # pytest's


def test_kept_headers_and_names_are_the_ones_in_force() -> None:
    listed = re.search(r"request header fields other than (.*)\n", TEXT)
    assert listed
    names = re.split(r", | and ", listed[1])
    assert {name.lower() for name in names} == redaction.KEPT_REQUEST_HEADERS
    for name in (pseudonyms.KEY_VARIABLE, pseudonyms.KEY_FILE, redaction.ACCOUNT_PLACEHOLDER):
        assert name in TEXT
    assert f"({pseudonyms.SHORTEST_KEY} characters or more)" in TEXT

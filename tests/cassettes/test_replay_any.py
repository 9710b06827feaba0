"""Recordings of requests that test credentials cannot make: named in the refusal, or replayed on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ringback import contract
from ringback.cassettes.manager import CassetteManager, CassetteOptions, CassetteUsage
from ringback.cli.summary import cassettes_fail
from ringback.contract import Names
from ringback.exchange import Answer
from ringback.responder import Responder
from ringback.tally import Tally
from support.exchanges import Shelf, answer, request, written

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.exchange import Request

LIST = request(b"", method="GET")
LOOKUP = request(b"", method="GET", host="lookups.twilio.com")
CREATE = request()


@pytest.fixture
def directory(shelf: Shelf) -> Path:
    written(
        shelf,
        (LIST, answer({"n": 1}, status=200)),
        (LOOKUP, answer({"n": 2}, status=200)),
        (CREATE, answer({"n": 3})),
    )
    return shelf.directory


def asked(
    directory: Path, *requests: Request, mode: Any = "offline", **options: Any
) -> tuple[list[Answer], CassetteUsage]:
    manager = CassetteManager(CassetteOptions(directory, **options), mode)
    responder = Responder(contract.load(), mode=mode, cassettes=manager)
    decided = [responder.decide(one, Names(one.host)) for one in requests]
    answers = [one for one in decided if isinstance(one, Answer)]
    (usage,) = manager.close()
    return answers, usage


@pytest.mark.parametrize("one,number", [(LIST, 1), (LOOKUP, 2)])
def test_a_refusal_names_the_recording_that_there_is(directory: Path, one: Request, number: int) -> None:
    (refused,), usage = asked(directory, one, strict=True)
    assert refused.status == 403
    assert f"interaction {number} of cassette default" in str(refused.source.reason)
    assert usage.refused == 1
    assert cassettes_fail(Tally(), [usage], fail_on_unused=False, strict=True)
    assert not cassettes_fail(Tally(), [usage], fail_on_unused=False)


def test_a_refusal_without_a_recording_is_as_before(directory: Path) -> None:
    (refused,), usage = asked(directory, request(b"", method="GET", resource="Calls.json"), strict=True)
    assert refused.status == 403
    assert "interaction" not in str(refused.source.reason)
    assert usage.refused == 0


def test_recordings_of_any_resource_replay_on_request(directory: Path) -> None:
    answers, usage = asked(directory, LIST, LOOKUP, CREATE, replay_any=True)
    assert [one.body for one in answers] == [b'{"n": 1}', b'{"n": 2}', b'{"n": 3}']
    assert (usage.replayed, usage.refused, usage.unused) == (3, 0, 0)


def test_replay_any_is_for_offline_alone(directory: Path) -> None:
    (refused,), _ = asked(directory, LIST, replay_any=True, mode="auto")
    assert refused.status == 403


def test_replay_any_needs_credentials_all_the_same(directory: Path) -> None:
    bare = type(LIST)("GET", LIST.host, LIST.target)
    answers, _ = asked(directory, bare, CREATE, replay_any=True)
    assert [one.status for one in answers] == [401, 201]


def test_what_can_never_be_used_is_not_unused(directory: Path) -> None:
    assert asked(directory, CREATE)[1].unused == 0
    assert asked(directory, CREATE, replay_any=True)[1].unused == 2
    assert asked(directory, LIST)[1].unused == 1


def test_recordings_that_are_too_old_are_counted(shelf: Shelf) -> None:
    file = shelf.write((CREATE, answer()))
    _, usage = asked(shelf.directory, CREATE, max_age=1)
    assert usage.old == 0
    text = file.read_text()
    at = text.index("Ringback-Recorded")
    file.write_text(text[:at] + text[at:].replace("20", "19", 1))
    _, usage = asked(shelf.directory, CREATE, max_age=1)
    assert usage.old == 1
    assert cassettes_fail(Tally(), [usage], fail_on_unused=False, strict=True)


def test_match_ignore_by_option_and_by_metadata(shelf: Shelf) -> None:
    shelf.write((request({"Body": "code 123"}), answer({"n": 1})))
    other = request({"Body": "code 456"})
    (found,), _ = asked(shelf.directory, other, strict=True, match_ignore=("Body=[0-9]+",))
    assert found.body == b'{"n": 1}'
    file = shelf.file()
    rule = "  ringback:\n    match_ignore: ['Body=[0-9]+']\n"
    file.write_text(file.read_text().replace("  ringback:\n", rule))
    (found,), _ = asked(shelf.directory, other, strict=True)
    assert found.body == b'{"n": 1}'
    (missed,), _ = asked(shelf.directory, request({"Body": "cod 456"}), strict=True)
    assert b"Not compared (match-ignore): Body=[0-9]+" in missed.body

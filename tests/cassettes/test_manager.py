from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ringback.cassettes.files import UnusableCassetteError
from ringback.cassettes.manager import CassetteManager, CassetteOptions
from ringback.contract import Answer, Source
from support.clients import GOOD, post

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.responder import Mode

REQUEST = post("Messages", GOOD["Messages"])
OTHER = post("Messages", {**GOOD["Messages"], "Body": "other"})
ANSWER = Answer(201, "CREATED", (("Content-Type", "application/json"),), b'{"sid": "SM1"}', Source("live"))


def record(directory: Path, mode: Mode = "auto", user: str | None = None) -> str:
    replay = CassetteManager(CassetteOptions(directory), mode)
    try:
        return asyncio.run(replay.record(REQUEST, ANSWER, user))
    finally:
        replay.close()


@pytest.mark.parametrize("mode", ["auto", "online"])
def test_what_was_recorded_is_found(tmp_path: Path, mode: Mode) -> None:
    assert record(tmp_path, mode) == "default#1"
    assert record(tmp_path, mode, "mine") == "mine#1"
    replay = CassetteManager(CassetteOptions(tmp_path), "offline")
    for user in (None, "", "mine"):
        found = replay.lookup(REQUEST, user)
        assert isinstance(found, Answer)
        assert (found.status, found.body) == (201, ANSWER.body)
    assert replay.lookup(REQUEST, "nobodys") is None
    used = replay.close()
    assert [(one.name, one.replayed, one.unused) for one in used] == [("default", 2, 0), ("mine", 1, 0)]


def test_a_miss_is_something_else_than_nothing_to_look_in(tmp_path: Path) -> None:
    record(tmp_path)
    replay = CassetteManager(CassetteOptions(tmp_path), "offline")
    missed = replay.lookup(OTHER, None)
    assert missed is not None
    assert not isinstance(missed, Answer)
    assert missed.answer().status == 404
    [used] = replay.close()
    assert (used.missed, used.unused, len(used.labels)) == (1, 1, 1)


def test_strict_misses_where_there_is_no_cassette(tmp_path: Path) -> None:
    replay = CassetteManager(CassetteOptions(tmp_path, strict=True), "offline")
    missed = replay.lookup(REQUEST, None)
    assert missed is not None
    assert not isinstance(missed, Answer)
    replay.close()


def test_the_cassette_of_clients_that_name_none_counts_only_if_nobody_names_one(tmp_path: Path) -> None:
    record(tmp_path)
    record(tmp_path, user="mine")
    replay = CassetteManager(CassetteOptions(tmp_path), "offline")
    replay.check()
    assert [(one.name, one.unused) for one in replay.close()] == [("default", 1)]
    replay = CassetteManager(CassetteOptions(tmp_path), "offline")
    replay.check()
    replay.lookup(REQUEST, "mine")
    assert [(one.name, one.unused) for one in replay.close()] == [("mine", 0)]


def test_a_request_without_a_live_answer_keeps_the_old_cassette_of_its_client(tmp_path: Path) -> None:
    for user in (None, "mine"):
        record(tmp_path, "online", user)
    replay = CassetteManager(CassetteOptions(tmp_path), "online")
    for user in (None, "mine"):
        asyncio.run(replay.record(OTHER, ANSWER, user))
    for user, waits in (("mine", True), (None, True), (None, True), (None, False), ("../x", True)):
        replay.unanswered(REQUEST, user, waits=waits)
    replay.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "default.yaml",
        "mine-interrupted-1.yaml",
        "mine.yaml",
    ]


def test_a_request_that_failed_is_made_good_by_an_equal_one(tmp_path: Path) -> None:
    record(tmp_path, "online")
    for last, kept in ((REQUEST, ["default.yaml"]), (OTHER, ["default-interrupted-1.yaml", "default.yaml"])):
        again = CassetteManager(CassetteOptions(tmp_path), "online")
        again.unanswered(REQUEST, None, waits=True)  # it failed
        again.unanswered(last, None, waits=True)
        again.unanswered(last, None, waits=False)
        asyncio.run(again.record(last, ANSWER, None))
        again.close()
        assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_what_is_partial_for_another_reason_keeps_it_too(tmp_path: Path) -> None:
    record(tmp_path, "online")
    reported: list[str] = []
    replay = CassetteManager(CassetteOptions(tmp_path), "online", report=reported.append)
    asyncio.run(replay.record(OTHER, ANSWER, None))
    replay.partial = "sh ended with exit code 1"
    replay.close()
    assert "kept with its 1 interaction, because sh ended with exit code 1" in reported[0]


@pytest.mark.parametrize("name", ["../x", "a/b", "x.yaml", ".x", "x\n"])
def test_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    replay = CassetteManager(CassetteOptions(tmp_path), "offline")
    with pytest.raises(UnusableCassetteError):
        replay.lookup(REQUEST, name)
    assert asyncio.run(replay.record(REQUEST, ANSWER, name)).startswith("not recorded: ")
    with pytest.raises(UnusableCassetteError):
        CassetteManager(CassetteOptions(tmp_path, name=name), "offline").check()


def test_a_broken_cassette(tmp_path: Path) -> None:
    (tmp_path / "default.yaml").write_text("interactions: 5\n")
    with pytest.raises(UnusableCassetteError, match=r"default\.yaml"):
        CassetteManager(CassetteOptions(tmp_path), "offline").check()


def test_offline_without_cassettes_the_library_is_not_even_imported(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from ringback.cassettes.manager import CassetteManager, CassetteOptions
from ringback.contract import Request
replay = CassetteManager(CassetteOptions(Path({str(tmp_path)!r})), "offline")
replay.check()
assert replay.lookup(Request("POST", "api.twilio.com", "/"), "name") is None
assert replay.close() == ()
assert "ringback.cassettes.cassette" not in sys.modules
assert "vcr" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

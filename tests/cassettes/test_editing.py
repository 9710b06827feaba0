"""Repairing and redacting whole cassettes."""

from __future__ import annotations

import fcntl
import re
from typing import TYPE_CHECKING

import pytest
import vcr

from ringback.cassettes import pseudonyms
from ringback.cassettes.editing import redact, repair
from ringback.cassettes.files import CassetteBusyError, CassetteError, RedactionError
from ringback.cassettes.redaction import Redaction
from support.exchanges import KEY, SID, TOKEN, Shelf, answer, numbered, record, request, written
from support.writers import recorded

if TYPE_CHECKING:
    from pathlib import Path

A, B, C = (request({"Body": name}) for name in "abc")
SECRET = pseudonyms.load_key({"RINGBACK_REDACT_KEY": KEY})


def mend(shelf: Shelf, path: Path) -> str:
    repair(path, shelf.reported.append)
    return "\n".join(shelf.reported)


def test_a_torn_tail_is_cut(shelf: Shelf) -> None:
    file = shelf.write((A, answer(number=1)), (B, answer(number=2)))
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    kept = file.with_name("default.yaml.torn-1")
    assert f"cut, and kept in {kept}; 1 whole interaction before that" in mend(shelf, file)
    assert recorded(file) == [1]
    assert file.read_bytes() + kept.read_bytes() == whole[:-5]


def test_a_whole_file_is_left_alone(shelf: Shelf) -> None:
    files = [shelf.write((A, answer(number=1))), written(shelf, (A, answer(number=1)), name="foreign")]
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    assert [mend(shelf, file) for file in files] == ["", ""]
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_damage_is_taken_out_and_kept_beside(shelf: Shelf, broken: int) -> None:
    file = shelf.write((A, answer(number=1)), (B, answer(number=2)), (C, answer(number=3)))
    data = file.read_bytes()
    starts = [match.start() for match in re.finditer(rb"^# ringback", data, re.MULTILINE)] + [len(data)]
    damage = data[starts[broken] : starts[broken + 1]].replace(b"      code: 201\n", b"")
    file.write_bytes(data[: starts[broken]] + damage + data[starts[broken + 1] :])
    reported = mend(shelf, file)
    kept = file.with_name("default.yaml.damaged-1")
    assert f"1 damaged interaction taken out, kept in {kept}; 2 whole interactions left" in reported
    assert kept.read_bytes() == damage
    assert sorted(path.name for path in shelf.directory.iterdir()) == [file.name, kept.name]
    assert recorded(file) == [number for number in (1, 2, 3) if number != broken + 1]


def test_nothing_but_damage_is_taken_out_and_a_torn_tail_is_kept_too(shelf: Shelf) -> None:
    file = shelf.write((A, answer(number=1)), (B, answer(number=2)), (C, answer(number=3)))
    data = file.read_bytes()
    first, *others = re.split(rb"(?=^# ringback)", data, flags=re.MULTILINE)
    damage = others[0].replace(b"      code: 201\n", b"")
    mine = others[1].replace(b"Body=b", b"Body=mine")
    file.write_bytes(first + b"# of mine\n" + damage + mine + others[2][:-9])
    reported = mend(shelf, file)
    assert file.read_bytes() == first + b"# of mine\n" + mine
    for name, held in (("torn-1", others[2][:-9]), ("damaged-1", damage)):
        kept = file.with_name(f"default.yaml.{name}")
        assert kept.read_bytes() == held
        assert str(kept) in reported


def test_an_interrupted_recording_becomes_a_cassette(shelf: Shelf) -> None:
    shelf.write((A, answer(number=1)))
    left = shelf.file().rename(shelf.directory / "default.yaml.new")
    assert "kept as cassette 'default-interrupted-1'" in mend(shelf, left)
    assert recorded(shelf.file("default-interrupted-1")) == [1]


def test_a_recording_that_goes_on_is_left_alone(shelf: Shelf) -> None:
    with shelf.library("online") as library:
        record(library.open(), (A, answer(number=1)))
        with pytest.raises(CassetteBusyError):
            repair(shelf.directory / "default.yaml.new", shelf.reported.append)
    assert recorded(shelf.file()) == [1]


def test_a_draft_is_removed_unless_somebody_writes_it(shelf: Shelf) -> None:
    shelf.directory.mkdir()
    draft = shelf.directory / ".default.yaml.1.x.tmp"
    with draft.open("w") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert mend(shelf, draft) == ""
        assert draft.exists()
    assert "removed" in mend(shelf, draft)
    assert not draft.exists()


def test_redacting_takes_secrets_out_of_a_cassette_of_vcrpy(shelf: Shelf) -> None:
    file = written(shelf, (request({"To": "+14105550100", "Body": TOKEN}), answer({"a": SID, "n": 1})))
    assert redact(file, Redaction(("To",), SECRET)) == 1
    data = file.read_text()
    for secret in (TOKEN, SID, "4105550100", "Authorization"):
        assert secret not in data
    with shelf.library() as library:
        assert numbered(library.open(), request({"To": "+14105550100", "Body": TOKEN})) == 1
    with vcr.use_cassette(str(file), record_mode="none") as cassette:
        assert len(cassette) == 1


def test_fields_are_added_to_those_that_have_pseudonyms(shelf: Shelf) -> None:
    form = {"To": "+14105550100", "Body": "private words"}
    file = shelf.write((request(form), answer({"body": form["Body"], "n": 1})), redact=["To"])
    redact(file, Redaction(("Body", "To"), SECRET))
    assert "private" not in file.read_text()
    again = file.read_bytes()
    redact(file, Redaction(("Body",), SECRET))
    redact(file, Redaction())
    assert file.read_bytes() == again
    with shelf.library() as library:
        assert numbered(library.open(), request(form)) == 1


def test_pseudonyms_get_none_themselves_whatever_the_letters(shelf: Shelf) -> None:
    form = {"To": "+14105550100", "Body": "private words"}
    file = shelf.write((request(form), answer({"body": form["Body"], "n": 1})))
    redact(file, Redaction(("To", "Body"), SECRET))
    before = file.read_bytes()
    redact(file, Redaction(("to", "BODY", "t_o"), SECRET))
    assert file.read_bytes() == before
    with shelf.library(repeats="error") as library:
        assert numbered(library.open(), request(form)) == 1


def test_another_key_is_refused(shelf: Shelf) -> None:
    file = shelf.write((A, answer(number=1)), redact=["To"])
    before = file.read_bytes()
    with pytest.raises(RedactionError, match="the key here is"):
        redact(file, Redaction(("Body",), b"another"))
    assert file.read_bytes() == before


def test_what_others_say_in_the_metadata_stays(shelf: Shelf) -> None:
    file = written(shelf, (A, answer(number=1)))
    file.write_bytes(file.read_bytes() + b"metadata: {mine: 1}\n")
    redact(file, Redaction())
    assert "  mine: 1\n" in file.read_text()


def test_another_ending_becomes_yaml_and_goes(shelf: Shelf) -> None:
    file = written(shelf, (A, answer(number=1))).rename(shelf.directory / "default.yml")
    redact(file, Redaction())
    assert [path.name for path in shelf.directory.iterdir()] == ["default.yaml"]
    assert recorded(shelf.file()) == [1]


def test_what_is_torn_or_not_there_is_not_redacted(shelf: Shelf) -> None:
    file = shelf.write((A, answer(number=1)), (B, answer(number=1)))
    file.write_bytes(file.read_bytes()[:-5])
    before = file.read_bytes()
    with pytest.raises(CassetteError, match="verify --repair"):
        redact(file, Redaction())
    assert file.read_bytes() == before
    with pytest.raises(CassetteError, match="No such file"):
        redact(shelf.file("none"), Redaction())

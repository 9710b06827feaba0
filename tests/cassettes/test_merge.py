"""Cassettes joined, merge conflicts resolved, interactions deleted, and placeholders for credentials."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from ringback.cassettes import verify
from ringback.cassettes.files import CassetteFormatError
from ringback.cli import ringback
from ringback.cli.cassettes import command
from ringback.contract import load
from support.exchanges import FORM, Shelf, answer, numbered, request, written
from support.launching import needs

if TYPE_CHECKING:
    from collections.abc import Iterable

FORM_OF = {"To": "+14105550100", "From": "+15005550006"}
ONE, TWO, THREE, FOUR, FIVE = (
    (request({**FORM_OF, "Body": str(n)}), answer(number=n)) for n in (1, 2, 3, 4, 5)
)


def run(*words: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(command, [str(word) for word in words])
    return result.exit_code, result.output


def replayed(shelf: Shelf) -> list[int | None]:
    with shelf.library() as library:
        cassette = library.open()
        return [numbered(cassette, asked) for asked, _ in (ONE, TWO, THREE)]


@pytest.mark.parametrize("base", ["", "||||||| base\n"])
@pytest.mark.parametrize("theirs", ["|", "vcrpy"])
def test_both_sides_of_a_conflict_are_kept(shelf: Shelf, base: str, theirs: str) -> None:
    file = shelf.write(ONE)
    common = file.read_text()
    shelf.write(TWO)
    mine = file.read_text().removeprefix(common)
    file.write_text(common)
    shelf.write(THREE)
    other = file.read_text().removeprefix(common)
    file.write_text(f"{common}<<<<<<< ours\n{mine}{base}=======\n{other}>>>>>>> {theirs}\n")
    with pytest.raises(CassetteFormatError, match=r"merge conflict markers.*cassettes merge"):
        verify.load(file)
    assert run("merge", file)[0] == 0
    assert replayed(shelf) == [1, 2, 3]
    assert {finding.rule for finding in verify.check(file, load())} <= {"contract"}


def test_what_git_leaves_of_two_branches_that_append(shelf: Shelf) -> None:
    git = needs("git")
    file = shelf.write(ONE)
    base = file.read_bytes()
    sides = []
    for number, more in enumerate(((TWO, THREE), (FOUR, FIVE))):
        file.write_bytes(base)
        shelf.write(*more)
        sides.append(shelf.directory.parent / f"side-{number}")
        sides[-1].write_bytes(file.read_bytes())
    old = shelf.directory.parent / "base"
    old.write_bytes(base)
    for style in ((), ("--diff3",)):
        command = [git, "merge-file", "-p", *style, str(sides[0]), str(old), str(sides[1])]
        done = subprocess.run(command, capture_output=True, check=False)
        assert style or done.stdout.count(b"<<<<<<< ") > 1, "some stand inside of interactions"
        file.write_bytes(done.stdout)
        assert "`ringback cassettes merge" in run("verify", file)[1]
        code, said = run("merge", file)
        assert (code, said) == (0, f"{file}: 5 interactions\n")
        with shelf.library() as library:
            cassette = library.open()
            assert [numbered(cassette, asked) for asked, _ in (ONE, TWO, THREE, FOUR, FIVE)] == [
                1,
                2,
                3,
                4,
                5,
            ]


def test_two_files_are_joined_and_equal_interactions_count_once(shelf: Shelf) -> None:
    other = shelf.write(ONE, THREE, name="other")
    file = shelf.write(ONE, TWO)
    assert run("merge", file, other) == (0, f"{file}: 3 interactions\n")
    assert replayed(shelf) == [1, 2, 3]


def test_interactions_are_deleted_by_number(shelf: Shelf) -> None:
    shelf.write(ONE, TWO, THREE)
    assert run("delete", "default", "1", "3", "--cassettes", shelf.directory)[0] == 0
    assert replayed(shelf) == [None, 2, None]
    code, said = run("delete", "default", "2", "--cassettes", shelf.directory)
    assert (code, "no 2" in said) == (1, True)


@pytest.mark.parametrize(
    "value", ["DUMMY", "REDACTED", "Basic <credentials>", "[FILTERED]", "xxxxxxxx", "Bearer ***"]
)
def test_a_placeholder_is_no_secret(shelf: Shelf, value: str) -> None:
    asked = request({"Body": "x"}, headers=(FORM,))
    asked = type(asked)("POST", asked.host, "/2010-04-01/x", (("authorization", value), FORM), b"Body=x")
    file = written(shelf, (asked, answer({"n": 1})))
    assert [one for one in verify.check(file, load()) if one.rule == "secret"] == []


def test_nothing_checked_is_no_success(tmp_path: Path) -> None:
    assert run("verify", tmp_path)[0] == 2


def test_files_below_and_with_other_names_are_not_passed_over_in_silence(shelf: Shelf) -> None:
    file = shelf.write(ONE)
    below = shelf.directory / "test_sms"
    below.mkdir()
    odd = below / "test_x[a].yaml"
    odd.write_bytes(file.read_bytes())
    assert set(verify.files_of([shelf.directory])) == {file, odd}
    (below / "notes.txt").write_text("x")
    there = ["--cassettes", str(shelf.directory)]
    listed = run("list", *there)[1]
    assert [line.split("\t")[0] for line in listed.splitlines()[1:3]] == [
        "default",
        "test_sms/test_x[a].yaml",
    ]
    for arguments in (["list", *there], ["verify", str(shelf.directory)], ["redact", *there]):
        code, said = run(*arguments)
        assert code == 0
        assert f"not looked at: {below / 'notes.txt'} (no ending .yaml" in said
    for name in ("test_sms/test_x[a].yaml", "test_sms/test_x[a]", str(odd)):
        assert run("show", name, *there)[0] == 0
        assert run("redact", name, *there)[0] == 0
    plain = shelf.directory / "no-ending"
    plain.write_bytes(file.read_bytes())
    for arguments in (["verify", str(plain)], ["show", str(plain)], ["redact", str(plain)]):
        assert run(*arguments)[0] == 0
    assert plain.is_file()


def test_list_verify_redact_and_drift_agree_on_files_and_name_the_same_others(shelf: Shelf) -> None:
    file = shelf.write(ONE)
    below = shelf.directory / "test_sms"
    (below / "deep.yaml").mkdir(parents=True)
    good = [below / "test_x[a].yaml", below / "deep.yaml" / "t e.yml", shelf.directory / ".hidden.yaml"]
    for path in good:
        path.write_bytes(file.read_bytes())
    bad = [shelf.directory / "package.json", shelf.directory / "conflict.yaml", below / "torn.yml"]
    for path, text in zip(bad, ('{"a": 1}', "<<<<<<< HEAD\n", "interactions: [\n"), strict=True):
        path.write_text(text)
    skipped = {
        below / "no-ending": "no ending",
        shelf.directory / "UPPER.YAML": "no ending",
        shelf.directory / "loop": "a link to a directory",
        shelf.directory / "nowhere.yaml": "a link that leads nowhere",
    }
    (below / "no-ending").write_bytes(file.read_bytes())
    (shelf.directory / "UPPER.YAML").write_bytes(file.read_bytes())
    (shelf.directory / "loop").symlink_to(below, target_is_directory=True)
    (shelf.directory / "nowhere.yaml").symlink_to(below / "nothing")
    if hasattr(os, "mkfifo"):
        os.mkfifo(shelf.directory / "pipe.yaml")
        skipped[shelf.directory / "pipe.yaml"] = "no regular file"
    there = ["--cassettes", str(shelf.directory)]
    every = {file, *good, *bad}

    assert set(verify.files_of([shelf.directory])) == every
    code, listed = run("list", *there)
    assert len([line for line in listed.splitlines() if "\t" in line]) == len(every) + 1
    assert set(named(listed, skipped)) == set(skipped)
    code, checked = run("verify", str(shelf.directory))
    assert code == 1
    assert set(named(checked, skipped)) == set(skipped)
    assert set(named(checked, bad)) == set(bad)
    code, as_json = run("verify", "--json", str(shelf.directory))
    told = {Path(one["path"]): one["why"] for one in json.loads(as_json)["not_looked_at"]}
    assert told.keys() == skipped.keys()
    assert all(told[path].startswith(why) for path, why in skipped.items())

    drift = CliRunner().invoke(ringback, ["drift", "--format", "json", str(shelf.directory)])
    report = json.loads(drift.stdout)
    seen = {one["where"].rpartition(":")[0] for found in report["findings"] for one in found["sightings"]}
    assert {Path(one) for one in seen} == {file, *good}
    left = {Path(one["what"].partition(":")[0]): one["why"] for one in report["not_compared"]}
    assert left.keys() == {*bad, *skipped}
    assert "merge conflict markers" in left[shelf.directory / "conflict.yaml"]
    assert all(left[path].startswith(why) for path, why in skipped.items())

    code, redacted = run("redact", *there)
    assert code == 1
    assert redacted.count(" redacted\n") == len(good) + 1
    assert redacted.count("not redacted: ") == len(bad)
    assert set(named(redacted, skipped)) == set(skipped)


def named(said: str, paths: Iterable[Path]) -> list[Path]:
    """Those of `paths` that are named."""
    return [path for path in paths if str(path) in said]


def test_a_file_that_is_not_used_is_not_redacted_over_the_one_that_is(shelf: Shelf) -> None:
    file = shelf.write(ONE)
    other = file.with_suffix(".yml")
    other.write_text("interactions: []\nversion: 1\n")
    before = file.read_bytes()
    code, said = run("redact", "--cassettes", str(shelf.directory))
    assert code == 1
    assert f"{other}: not used, because {file} has the same name" in said
    assert len(verify.load(file).placed) == 1
    assert file.read_bytes() == before

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringback import system
from ringback.cassettes import pseudonyms
from ringback.cassettes.files import RedactionError
from ringback.cassettes.pseudonyms import SHORTEST_KEY, key_id, load_key, permuted, substitute

KEY = b"k" * 32
DIGITS = st.text("0123456789", min_size=1, max_size=15)


@given(st.sets(st.text(max_size=30), min_size=2, max_size=8))
def test_different_values_stay_different(values: set[str]) -> None:
    assert len({substitute(value, KEY) for value in values}) == len(values)


@given(DIGITS, DIGITS)
def test_digits_are_permuted(one: str, other: str) -> None:
    assert len(permuted(one, KEY)) == len(one)
    assert (permuted(one, KEY) == permuted(other, KEY)) == (one == other)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_short_digits_are_permuted_without_a_gap(length: int) -> None:
    every = [f"{number:0{length}d}" for number in range(10**length)]
    assert sorted(permuted(one, KEY) for one in every) == every


@pytest.mark.parametrize("number", ["+15005550006", "15005550001", "5005550009", "(500) 555-0006"])
def test_magic_numbers_are_nobodys_and_stay(number: str) -> None:
    assert substitute(number, KEY) == number


@given(st.integers(0, 9999))
def test_nothing_becomes_a_magic_number(number: int) -> None:
    assert not re.fullmatch(r"500555\d{4}", permuted(f"410555{number:04d}", KEY))


def test_what_would_become_one_goes_on_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """With half of all numbers as magic ones: the others are permuted among themselves."""
    monkeypatch.setattr(pseudonyms, "_MAGIC", re.compile(r"\d*[02468]"))
    odd = [f"{number:03d}" for number in range(1, 1000, 2)]
    assert sorted(permuted(one, KEY) for one in odd) == odd
    assert permuted("042", KEY) == "042"


@pytest.mark.parametrize(
    "value,shape",
    [
        ("+14105550100", r"\+1\d{10}"),
        ("(410) 555-0100", r"\(\d{3}\) \d{3}-\d{4}"),
        ("410      555      0100", r"\d{3} {6}\d{3} {6}\d{4}"),
        ("410.555.0100", r"\d{3}\.\d{3}\.\d{4}"),
        ("+442079460018", r"\+44\d{10}"),
        ("whatsapp:+14105550100", r"whatsapp:\+1\d{10}"),
        ("33", r"\d\d"),
        ("client:alice", r"client:redacted-[0-9a-f]{12}"),
        ("https://example.com/a?b=c", r"https://redacted-[0-9a-f]{12}\.example/"),
        ("hello", r"redacted-[0-9a-f]{12}"),
        ("1-800-FLOWERS", r"redacted-[0-9a-f]{12}"),
        ("", ""),
    ],
)
def test_a_stand_in_is_of_the_same_kind(value: str, shape: str) -> None:
    got = substitute(value, KEY)
    assert re.fullmatch(shape, got), got
    assert got != value or not value
    assert substitute(value, b"another key") != got or not value


def test_spellings_of_one_number_stay_spellings_of_one_number() -> None:
    digits = {re.sub(r"\D", "", substitute(value, KEY))[-10:] for value in ("+14105550100", "(410) 555-0100")}
    assert len(digits) == 1


def test_the_key_is_made_once_for_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "config" / "redact-key"
    first = load_key({}, path)
    assert load_key({}, path) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_key({}, tmp_path / "other") != first


def test_the_key_lives_in_the_users_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    load_key({})
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["redact-key"]
    load_key({"RINGBACK_HOME": str(tmp_path / "elsewhere")})
    assert (tmp_path / "elsewhere" / "redact-key").is_file()


def test_the_key_is_whole_for_who_comes_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes begin at once: the second finds no half of a file, and both have the first one's key."""
    path, found = tmp_path / "redact-key", []
    link = os.link

    def meanwhile(draft: Path, kept: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        found.append(load_key({}, path))
        link(draft, kept)

    monkeypatch.setattr(os, "link", meanwhile)
    found.append(load_key({}, path))
    assert found[0] == found[1]
    assert [one.name for one in tmp_path.iterdir()] == ["redact-key"]


def test_a_key_of_somebody_elses_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "redact-key"
    load_key({}, path)
    monkeypatch.setattr(system, "is_trusted", lambda _status: False)
    with pytest.raises(RedactionError, match="belongs to user"):
        load_key({}, path)
    monkeypatch.undo()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RedactionError, match="No such file"):
        load_key({}, tmp_path / "link")
    assert not (tmp_path / "nowhere").exists()


def test_the_environment_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "redact-key"
    assert load_key({"RINGBACK_REDACT_KEY": "x" * 16}, path) == load_key(
        {"RINGBACK_REDACT_KEY": "x" * 16}, path
    )
    assert not path.exists()


def test_a_short_key_is_refused_without_being_reported(tmp_path: Path) -> None:
    with pytest.raises(RedactionError, match="at least 16 characters, it has 6") as caught:
        load_key({"RINGBACK_REDACT_KEY": "secret"}, tmp_path / "redact-key")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("prepare", [Path.mkdir, lambda path: path.write_text("\n")])
def test_a_key_file_that_holds_no_key_is_named(tmp_path: Path, prepare: object) -> None:
    path = tmp_path / "redact-key"
    prepare(path)  # type: ignore[operator]  # one of the two above
    with pytest.raises(RedactionError, match=re.escape(str(path))):
        load_key({}, path)


def test_the_id_reports_keys_apart_and_does_not_report_them() -> None:
    assert re.fullmatch(r"[0-9a-f]{8}", key_id(KEY))
    assert key_id(KEY) != key_id(os.urandom(32))
    assert KEY.hex()[:8] != key_id(KEY)


@pytest.mark.parametrize("shorter", [0, 1])
def test_a_key_has_so_many_characters_and_no_fewer(tmp_path: Path, shorter: int) -> None:
    key = "x" * (SHORTEST_KEY - shorter)
    path = tmp_path / "redact-key"
    path.write_text(f"{key}\n")
    for environ in ({"RINGBACK_REDACT_KEY": key}, {}):
        if shorter:
            with pytest.raises(RedactionError):
                load_key(environ, path)
        else:
            assert len(load_key(environ, path)) == 32

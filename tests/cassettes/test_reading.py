from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from ringback.cassettes import layout, redaction, vcr_format
from ringback.cassettes.files import CassetteError, CassetteFormatError
from ringback.cassettes.redaction import Redaction
from support.exchanges import SID, TOKEN, Shelf, answer, request, written

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_file_is_not_read_while_somebody_appends(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an append would look like a torn tail."""
    file = shelf.write((request(), answer()))
    steps = []
    names = {fcntl.LOCK_SH: "shared", fcntl.LOCK_UN: "unlock"}

    def noted(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            steps.append(names[arguments[1]] if name == "lock" else name)  # type: ignore[index]  # an int
            return real(*arguments)

        return call

    monkeypatch.setattr(fcntl, "flock", noted("lock", fcntl.flock))
    monkeypatch.setattr(layout, "scan", noted("scan", layout.scan))
    os.close(layout.read(file)[1])
    assert steps == ["shared", "scan", "unlock"]


def test_a_foreign_file_is_for_vcrpy(shelf: Shelf) -> None:
    file = written(shelf, (request(), answer()))
    with pytest.raises(layout.ForeignLayoutError):
        layout.read(file)
    ((one,), metadata) = vcr_format.read_foreign(file)
    assert TOKEN not in str(redaction.redacted(one, Redaction()))
    assert SID not in str(redaction.redacted(one, Redaction()))
    assert metadata == {}


FINE = b"""\
- request: {method: GET, uri: 'https://h/', body: null, headers: {}}
  response: {status: {code: 200, message: OK}, headers: {}, body: {string: ''}}
"""


@pytest.mark.parametrize(
    "data, line, said",
    [
        (b"\xff", 1, "byte 0 is not UTF-8"),
        (b"a: b\nc: \xff", 2, "byte 8 is not UTF-8"),
        (b"[\n", 2, "no YAML that vcrpy reads: did not find expected node content"),
        (b"a: \x00", 1, "no YAML: the character U+0000 cannot stand in it"),
        (b"{}", 1, "`interactions` is missing, it must be a list"),
        (b"interactions:\n" + FINE + b"- 5\n", 4, "interaction 2: it is a number, it must be a mapping"),
        (b"interactions:\n- !!x {}\n", 2, "no YAML that vcrpy reads: could not determine a constructor"),
        (b"interactions: [2020-99-99]", 1, "no YAML that vcrpy reads: a value in it is none, such as a date"),
    ],
)
def test_what_nobody_can_read_is_reported_with_its_place(
    shelf: Shelf, data: bytes, line: int, said: str
) -> None:
    shelf.directory.mkdir()
    shelf.file().write_bytes(data)
    with pytest.raises(CassetteFormatError) as caught:
        vcr_format.read_foreign(shelf.file())
    assert str(caught.value).startswith(f"{shelf.file()}:{line}: {said}")
    assert "\n" not in str(caught.value)


def test_what_is_no_json_has_its_line_too(shelf: Shelf) -> None:
    shelf.directory.mkdir()
    file = shelf.directory / "c.json"
    file.write_text('{\n"a": 1,\n')
    with pytest.raises(CassetteFormatError, match=r"c\.json:[23]: no JSON: Expecting property name"):
        vcr_format.read_foreign(file)


def test_what_is_no_file_is_not_waited_for(shelf: Shelf) -> None:
    shelf.directory.mkdir(parents=True, exist_ok=True)
    os.mkfifo(shelf.file())
    with shelf.library() as library, pytest.raises(CassetteError, match="no regular file"):
        library.open()

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from ringback.cassettes import CassetteFormatError, Redaction, layout, reading
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
    os.close(reading.read(file)[1])
    assert steps == ["shared", "scan", "unlock"]


def test_a_foreign_file_is_for_vcrpy(shelf: Shelf) -> None:
    file = written(shelf, (request(), answer()))
    with pytest.raises(layout.ForeignLayoutError):
        reading.read(file)
    ((one,), metadata) = reading.read_foreign(file)
    assert TOKEN not in str(reading.scrubbed(one, Redaction()))
    assert SID not in str(reading.scrubbed(one, Redaction()))
    assert metadata == {}


@pytest.mark.parametrize("data", [b"\xff", b"[", b"{}"])
def test_what_nobody_can_read_is_told_with_its_path(shelf: Shelf, data: bytes) -> None:
    shelf.directory.mkdir()
    shelf.file().write_bytes(data)
    with pytest.raises(CassetteFormatError) as caught:
        reading.read_foreign(shelf.file())
    assert str(caught.value).startswith(f"{shelf.file()}:1: ")
    assert "\n" not in str(caught.value)

from __future__ import annotations

import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ringback.cassettes import bodies
from ringback.cassettes.bodies import decode
from ringback.cassettes.files import CodingError


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


PACKERS = {
    "gzip": [gzip.compress],
    "x-gzip": [gzip.compress],
    "deflate": [zlib.compress, raw_deflate],
    "br": [brotli.compress],
    "zstd": [zstandard.compress],
}
CASES = [(name, pack) for name, packs in PACKERS.items() for pack in packs]


@pytest.mark.parametrize("name,pack", CASES)
@given(st.binary(max_size=300))
def test_every_coding_is_opened(name: str, pack: object, body: bytes) -> None:
    assert decode(pack(body), name.upper()) == body  # type: ignore[operator]  # one of PACKERS


def test_codings_after_another_are_opened_from_the_last() -> None:
    assert decode(brotli.compress(gzip.compress(b"x")), "gzip, br") == b"x"


def test_members_after_another_are_all_opened() -> None:
    assert decode(gzip.compress(b"a") + gzip.compress(b"b"), "gzip") == b"ab"


@pytest.mark.parametrize("coding", [None, "", "identity", "utf-8"])
def test_no_coding_changes_nothing(coding: str | None) -> None:
    assert decode(b"x", coding) == b"x"


@pytest.mark.parametrize("name,pack", CASES)
def test_torn_data_is_an_error(name: str, pack: object) -> None:
    packed = pack(b"some text that is long enough")  # type: ignore[operator]  # one of PACKERS
    with pytest.raises(CodingError, match=f"no {name} data"):
        decode(packed[:-6], name)


@pytest.mark.parametrize("name", sorted(PACKERS))
def test_an_empty_body_needs_no_opening(name: str) -> None:
    assert decode(b"", name) == b""  # the answer to HEAD has the field and no body


def test_an_unknown_coding_is_named() -> None:
    with pytest.raises(CodingError, match="'rot13' is not known"):
        decode(b"x", "gzip, rot13")


@pytest.mark.parametrize("name,pack", CASES)
def test_a_bomb_is_not_opened(name: str, pack: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "LARGEST", 1000)
    with pytest.raises(CodingError, match="more than 1000 bytes"):
        decode(pack(bytes(100_000)), name)  # type: ignore[operator]  # one of PACKERS

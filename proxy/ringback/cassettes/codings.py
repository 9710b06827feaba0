"""Content codings, opened: gzip, deflate, br and zstd, also several after another."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import brotli  # type: ignore[import-untyped]  # its types are in no package
import zstandard

from ringback.cassettes.errors import CodingError

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST: Final = 64 * 1024 * 1024  # bytes after decoding; a few kilobytes of input can ask for much more
_CHUNK: Final = 16 * 1024


def decode(body: bytes, coding: str | None) -> bytes:
    """`body` without the content codings that a `Content-Encoding` of `coding` names.

    Raises:
        CodingError: An unknown coding, broken data, or more than `LARGEST` bytes.
    """
    if not coding:
        return body
    for name in reversed(_names(coding)):  # they are named in the order in which they were applied
        opener = _OPENERS.get(name)
        if opener is None:
            raise CodingError(f"the content coding {name[:40]!a} is not known, so it cannot be searched")
        if body:
            try:
                body = opener(body)
            except (zlib.error, brotli.error, zstandard.ZstdError, EOFError) as error:
                raise CodingError(f"the body is no {name} data: {error}") from None
    return body


def is_known(coding: str) -> bool:
    """Whether all codings that a `Content-Encoding` of `coding` names can be opened."""
    return all(name in _OPENERS for name in _names(coding))


def _names(coding: str) -> list[str]:
    names = [name.strip().lower() for name in coding.split(",")]
    return [
        name for name in names if name not in ("", "identity", "utf-8")
    ]  # the last one is a common mistake


def _limited(size: int) -> None:
    if size > LARGEST:
        raise CodingError(f"the decoded body has more than {LARGEST} bytes")


def _inflate(body: bytes, window: int) -> bytes:
    parts = []
    while body:  # gzip allows several members after another
        inflater = zlib.decompressobj(window)
        parts.append(inflater.decompress(body, LARGEST + 1))
        _limited(sum(map(len, parts)))
        if not inflater.eof:
            raise EOFError("it ends too early")
        body = inflater.unused_data
    return b"".join(parts)


def _gzip(body: bytes) -> bytes:
    return _inflate(body, 16 + zlib.MAX_WBITS)


def _deflate(body: bytes) -> bytes:
    try:
        return _inflate(body, zlib.MAX_WBITS)
    except zlib.error:  # half of the world sends it without the zlib wrapper
        return _inflate(body, -zlib.MAX_WBITS)


def _brotli(body: bytes) -> bytes:
    opener = brotli.Decompressor()
    decoded = bytearray()
    for start in range(0, len(body), _CHUNK):
        decoded += opener.process(body[start : start + _CHUNK])
        _limited(len(decoded))
    if not opener.is_finished():
        raise EOFError("it ends too early")
    return bytes(decoded)


def _zstd(body: bytes) -> bytes:
    opener = zstandard.ZstdDecompressor().decompressobj()
    decoded = bytearray()
    for start in range(0, len(body), _CHUNK):
        decoded += opener.decompress(body[start : start + _CHUNK])
        _limited(len(decoded))
    if not opener.eof:
        raise EOFError("it ends too early")
    return bytes(decoded)


_OPENERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}

"""Bounds on time: a search that no pattern makes slow, and a thread for work that takes long."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    Result = TypeVar("Result")


class LinearPattern:
    """A regular expression of a user's or a file's, searched in time that grows as the text does (RE2).

    Python's own may take years for 30 characters, and nothing can stop it. RE2 has no look-around and no
    references to groups.

    Args:
        pattern: The expression.

    Raises:
        ValueError: It is none; the text says why.
    """

    def __init__(self, pattern: str) -> None:
        re2 = import_module("re2")  # few runs need it
        options = re2.Options()
        options.log_errors = False
        try:
            self._pattern = re2.compile(pattern, options)
        except (re2.error, UnicodeError) as error:
            why = error.args[0] if error.args else ""
            raise ValueError(why.decode("utf-8", "replace") if isinstance(why, bytes) else why) from None

    def search(self, text: str) -> object | None:
        """Return a match anywhere in `text`, or None."""
        return cast("object | None", self._pattern.search(_encodable(text)))

    def sub(self, new: str, text: str) -> str:
        """Return `text` with `new` in the place of each match."""
        return cast("str", self._pattern.sub(new, _encodable(text)))


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class BusyError(Exception):
    """Work that is not done: too much waits already, or it takes too long. The text says which."""


class WorkThread:
    """The thread for work that would keep the event loop, and with it every client, for too long.

    There is one thread, because Python code in two is no faster; it starts with the first work.

    Args:
        most: How much work may wait or be done at a time.
        seconds: The time after which nobody waits for it any more.
    """

    def __init__(self, most: int = 64, seconds: float = 30.0) -> None:
        self._most = most
        self._seconds = seconds
        self._under_way = 0
        self._executor: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[[], Result], *, limited: bool = True) -> Result:
        """Do `work` in the thread, and return what it returns.

        Args:
            work: The work; it must be safe to do beside the event loop.
            limited: False for work that must be done, however much there is.

        Raises:
            BusyError: It is one too many, or takes too long.
        """
        if limited and self._under_way >= self._most:
            raise BusyError(f"{self._most} large requests are being worked on already")
        if self._executor is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - few runs need it

            self._executor = ThreadPoolExecutor(1, thread_name_prefix="ringback-work")
        import asyncio  # noqa: PLC0415 - who reads settings needs no event loop

        self._under_way += 1
        try:
            async with asyncio.timeout(self._seconds if limited else None):
                return await asyncio.wrap_future(self._executor.submit(work))
        except TimeoutError:
            raise BusyError(f"it was not done within {self._seconds:g} seconds") from None
        finally:
            self._under_way -= 1

    def close(self) -> None:
        """Wait for what is being done, and give up what has not begun."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

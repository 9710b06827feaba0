"""The queue of a session: concurrent exchanges are written together, so that they share one fsync."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ringback.cassettes import interactions, layout
from ringback.cassettes.interactions import FIELD_RECORDED, FIELD_SOURCE, Interaction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor
    from datetime import datetime

    from ringback.cassettes.appending import CassetteFile
    from ringback.cassettes.redaction import Redaction
    from ringback.exchange import Answer, Request


@dataclass(frozen=True, slots=True)
class Written:
    """An exchange that lasts.

    Attributes:
        key: The digest of its match key.
        start: The offset of its item in the file.
        size: The length of its item.
    """

    key: bytes
    start: int
    size: int


class Recorder:
    """Appends exchanges to one file, one batch at a time, in a thread of `executor`.

    Args:
        file: The file.
        redaction: What is taken out.
        clock: Gives the time that is noted with a recording.
        executor: Where writing is done.
        written: Called with the file's inode and the batch after each fsync; returns the recordings' names.
        failed: Called with each exchange's error.
    """

    def __init__(  # noqa: PLR0913 - what a session hands over, once
        self,
        file: CassetteFile,
        redaction: Redaction,
        clock: Callable[[], datetime],
        executor: Executor,
        written: Callable[[int, Sequence[Written]], Sequence[str]],
        failed: Callable[[Exception], None],
    ) -> None:
        self._file = file
        self._redaction = redaction
        self._clock = clock
        self._executor = executor
        self._written = written
        self._failed = failed
        self._lock = threading.Lock()
        self._pending: list[tuple[Request, Answer, Future[str]]] = []
        self._draining = False

    def submit(self, request: Request, answer: Answer) -> Future[str]:
        """Queue an exchange; the future is done when it lasts, with the recording's name or the error."""
        done: Future[str] = Future()
        done.set_running_or_notify_cancel()  # who gives up waiting does not take back what is being written
        with self._lock:
            self._pending.append((request, answer, done))
            if self._draining:
                return done
            self._draining = True
        self._executor.submit(self._drain)
        return done

    def _drain(self) -> None:
        while True:
            with self._lock:
                batch, self._pending = self._pending, []
                if not batch:
                    self._draining = False
                    return
            self._write(batch)

    def _write(self, batch: list[tuple[Request, Answer, Future[str]]]) -> None:
        ready: list[tuple[bytes, bytes, Future[str]]] = []
        for request, answer, done in batch:
            try:
                ready.append((*self._serialised(request, answer), done))
            except Exception as error:  # noqa: BLE001 - whatever it is, the one who waits has to hear it
                self._fail(error, [done])
        if not ready:
            return
        waiting = [done for _, _, done in ready]
        parts = [layout.entry(key, item) for key, item, _ in ready]
        try:
            inode, offsets = self._file.append(parts)
            names = self._written(
                inode,
                [
                    Written(key, offset + len(part) - len(item), len(item))
                    for offset, part, (key, item, _) in zip(offsets, parts, ready, strict=True)
                ],
            )
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error, waiting)
            return
        for name, done in zip(names, waiting, strict=True):
            done.set_result(name)

    def _serialised(self, request: Request, answer: Answer) -> tuple[bytes, bytes]:
        exchange = self._redaction.scrub(request)
        said = (
            (FIELD_RECORDED, self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")),
            (FIELD_SOURCE, answer.source.kind),
        )
        item = interactions.dump(Interaction(exchange.request, exchange.answer(answer), said))
        return bytes.fromhex(exchange.key.digest), item

    def _fail(self, error: Exception, waiting: Sequence[Future[str]]) -> None:
        for done in waiting:
            self._failed(error)
            done.set_exception(error)

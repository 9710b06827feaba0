"""Markers that processes of a launch leave: a runtime that started, a client that went past the proxy.

The shims leave one file per process in the launch's directory: `started-RUNTIME-PID` holds the version,
`bypassed-RUNTIME-PID` the host that a client looked up and the program's command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ringback.launch.hints import NEEDS, from_command, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

NAMES = {"python": "Python", "node": "Node.js", "deno": "Deno", "bun": "Bun", "java": "Java", "ruby": "Ruby"}


@dataclass(frozen=True)
class ProcessMarker:
    """A marker that one process left.

    Attributes:
        runtime: One of `NAMES`.
        pid: Its process id.
        version: The runtime's version; empty for a bypass.
        host: The host of Twilio's that it looked up; empty for a start.
        program: The program's command line, for a bypass.
    """

    runtime: str
    pid: int
    version: str = ""
    host: str = ""
    program: str = ""


def seen_runtimes(directory: Path) -> tuple[ProcessMarker, ...]:
    """List the processes of a launch that started with its shims, in the order of their ids."""
    return tuple(
        ProcessMarker(runtime, pid, version=text.strip())
        for runtime, pid, text in _marker_files(directory, "started")
    )


def stopped_bypasses(directory: Path) -> tuple[ProcessMarker, ...]:
    """List the processes of a launch whose client was stopped on its way past the proxy."""
    found = []
    for runtime, pid, text in _marker_files(directory, "bypassed"):
        host, _, program = text.partition("\n")
        found.append(ProcessMarker(runtime, pid, host=host, program=program.strip()))
    return tuple(found)


def bypass_hint(command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> str:
    """Explain why a command may have sent no request through the proxy, the likeliest cause first.

    Args:
        command: The command as it was given to `ringback run`.
        directory: The launch's directory, before it is removed.
        environment: The environment that the command was given.
    """
    seen = {mark.runtime: mark.version for mark in seen_runtimes(directory)}
    lines = [
        f"{NAMES[mark.runtime]} ({mark.program or f'process {mark.pid}'}) was on its way to {mark.host} "
        f"past the proxy and was stopped: {NEEDS[mark.runtime]}."
        for mark in stopped_bypasses(directory)
    ]
    lines += from_command(words_of(command), seen, environment or {})
    if not lines:
        lines = [
            f"{NAMES[runtime]} {version} started and reached no Twilio host: {NEEDS[runtime]}."
            for runtime, version in sorted(seen.items())
        ]
    if not lines:
        lines = [
            (
                "No Python, Node.js or Java was seen to start. A compiled program must read HTTPS_PROXY and "
                "SSL_CERT_FILE from its environment, and nothing in between may clear them. In Go, "
                f"{NEEDS['go']}. In .NET, {NEEDS['dotnet']}."
            )
        ]
    return "\n".join(dict.fromkeys(lines))


def _marker_files(directory: Path, kind: str) -> Iterator[tuple[str, int, str]]:
    for file in sorted(directory.glob(f"{kind}-*"), key=lambda file: (_pid(file), file.name)):
        _, runtime, _ = file.name.split("-", 2)
        yield runtime, _pid(file), file.read_text(errors="replace")


def _pid(file: Path) -> int:
    return int(file.name.rpartition("-")[2])

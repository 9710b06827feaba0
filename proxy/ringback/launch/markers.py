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


CLEARED = "HTTPS_PROXY is gone"  # a marker's third line
_LOST = (
    "its environment has no HTTPS_PROXY any more: the program or its test cleared it "
    "(`mock.patch.dict(os.environ, clear=True)`, `process.env = {}`, `ENV.clear`)"
)


@dataclass(frozen=True)
class ProcessMarker:
    """A marker that one process left.

    Attributes:
        runtime: One of `NAMES`.
        pid: Its process id.
        version: The runtime's version; empty for a bypass.
        host: The host of Twilio's that it looked up; empty for a start.
        program: The program's command line, for a bypass.
        cleared: Whether its environment had lost HTTPS_PROXY by then.
    """

    runtime: str
    pid: int
    version: str = ""
    host: str = ""
    program: str = ""
    cleared: bool = False


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
        host, program, note = (*text.split("\n"), "", "", "")[:3]
        marker = ProcessMarker(runtime, pid, host=host, program=program.strip(), cleared=note == CLEARED)
        found.append(marker)
    return tuple(found)


def bypass_hint(command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> str:
    """Explain why a command may have sent no request through the proxy, the likeliest cause first.

    Args:
        command: The command as it was given to `ringback run`.
        directory: The launch's directory, before it is removed.
        environment: The environment that the command was given.
    """
    seen = {marker.runtime: marker.version for marker in seen_runtimes(directory)}
    stopped = stopped_bypasses(directory)
    lines = [
        f"{NAMES[marker.runtime]} ({marker.program or f'process {marker.pid}'}) was on its way to "
        f"{marker.host} past the proxy and was stopped: {_LOST if marker.cleared else NEEDS[marker.runtime]}."
        for marker in stopped
    ]
    needs = {f": {NEEDS[marker.runtime]}." for marker in stopped}
    lines += [
        line
        for line in from_command(words_of(command), seen, environment or {})
        if not any(line.endswith(need) for need in needs)  # said above
    ]
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
                f"{NEEDS['go']}. In .NET, {NEEDS['dotnet']}. In Rust, {NEEDS['rust']}."
            )
        ]
    return "\n".join(dict.fromkeys(lines))


def _marker_files(directory: Path, kind: str) -> Iterator[tuple[str, int, str]]:
    for file in sorted(directory.glob(f"{kind}-*"), key=lambda file: (_pid(file), file.name)):
        _, runtime, _ = file.name.split("-", 2)
        yield runtime, _pid(file), file.read_text(errors="replace")


def _pid(file: Path) -> int:
    return int(file.name.rpartition("-")[2])

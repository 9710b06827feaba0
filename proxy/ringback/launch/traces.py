"""What a launch can tell afterwards: which runtimes started, which clients were on their way past the proxy.

The shims leave one file per process in the launch's directory: `started-RUNTIME-PID` holds the version,
`bypassed-RUNTIME-PID` the host that a client looked up and the program's command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NAMES = {"python": "Python", "node": "Node.js", "java": "Java", "go": "Go"}

# What a client of this runtime must do, for somebody who looks at his program.
NEEDS = {
    "python": "requests, httpx and aiohttp must not be given `trust_env=False` or proxies of their own; a "
    "mock (responses, vcrpy, unittest.mock) answers before the proxy can",
    "node": "an agent of the program's own (`httpsAgent`, `proxy: false`, undici's `dispatcher`) goes past "
    "the proxy; a mock (nock, msw, jest.mock) answers before the proxy can",
    "java": "a proxy of the program's own (`setProxy`, `ProxySelector.of`, `Proxy.NO_PROXY`) wins; a "
    "mock (WireMock, Mockito) answers before the proxy can",
    "go": "an `http.Transport` of the program's own needs `Proxy: http.ProxyFromEnvironment`",
    "dotnet": "an `HttpClientHandler` of the program's own needs its `UseProxy` and no other `Proxy`",
}

# Programs that do not hand their environment on, by the name they are called with.
CLEARING = {
    "docker": "a container does not inherit the environment; see `ringback env` and docs/clients.md",
    "podman": "a container does not inherit the environment; see `ringback env` and docs/clients.md",
    "sudo": "sudo clears the environment: put `ringback run` behind it, `sudo ringback run -- …`",
    "su": "su clears the environment: put `ringback run` behind it",
    "ssh": "the other machine has another environment",
    "tox": "tox hands on only what `pass_env` names: add PYTHONPATH to it",
    "bazel": "bazel clears the environment: hand it on with `--test_env`",
}


@dataclass(frozen=True)
class Mark:
    """One process that left a mark.

    Attributes:
        runtime: `python`, `node` or `java`.
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


def seen_runtimes(directory: Path) -> tuple[Mark, ...]:
    """The processes of a launch that started with its shims, in the order of their ids."""
    return tuple(
        Mark(runtime, pid, version=text.strip()) for runtime, pid, text in _marks(directory, "started")
    )


def stopped_bypasses(directory: Path) -> tuple[Mark, ...]:
    """The processes of a launch whose client was stopped on its way past the proxy."""
    found = []
    for runtime, pid, text in _marks(directory, "bypassed"):
        host, _, program = text.partition("\n")
        found.append(Mark(runtime, pid, host=host, program=program.strip()))
    return tuple(found)


def bypass_hint(command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> str:
    """Say in words why a command may have sent no request through the proxy, the likeliest cause first.

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
    lines += _from_command(_words(command), seen, environment or {})
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


def _from_command(
    words: Sequence[str], seen: Mapping[str, str], environment: Mapping[str, str]
) -> Iterator[str]:
    for place, word in enumerate(words):
        name = PurePath(word).name
        rest = words[place + 1 :]
        if re.fullmatch(r"(python|pypy)[0-9.]*", name):
            yield from _python(name, rest, seen)
        elif name == "go" and rest[:1] == ["test"]:
            yield (
                "`go test` calls a package that passed (cached) and runs nothing; Ringback adds -count=1 to "
                "GOFLAGS, so look for what sets GOFLAGS again, or run `go test -count=1`. If it did run, "
                f"{NEEDS['go']}."
            )
        elif name in {"java", "mvn", "mvnw", "gradle", "gradlew", "sbt", "kotlin"}:
            yield from _java(name, seen, environment)
        elif name == "dotnet":
            yield f"`dotnet` reads HTTPS_PROXY and SSL_CERT_FILE. In the program, {NEEDS['dotnet']}."
        elif name == "mono":
            yield (
                "`mono` has a trust store of its own and reads no variable for it: run "
                '`cert-sync --quiet --user "$(ringback ca --path)"` once for each CA. In the program, '
                f"{NEEDS['dotnet']}."
            )
        elif name == "env" and {"-i", "-", "--ignore-environment"} & set(rest[:2]):
            yield "`env -i` clears the environment, and the proxy's variables with it."
        elif name in CLEARING:
            yield f"`{name}`: {CLEARING[name]}."


def _python(name: str, rest: Sequence[str], seen: Mapping[str, str]) -> Iterator[str]:
    for argument in rest:
        if not argument.startswith("-") or argument.startswith("--"):
            return
        for flag in argument[1:]:
            if flag in "cm":
                return
            if flag in "EIS" and "python" not in seen:
                yield (
                    f"`{name} -{flag}` starts Python without Ringback's sitecustomize. Old SDKs (twilio 3 to "
                    f"7.9) and the asynchronous client need it to find proxy and CA: leave out -{flag}."
                )


def _java(name: str, seen: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[str]:
    if "proxy" in environment.get("_JAVA_OPTIONS", "").lower():
        yield "_JAVA_OPTIONS sets a proxy of its own and wins over JAVA_TOOL_OPTIONS: take it out."
    elif "java" not in seen:
        yield (
            f"`{name}` started no JVM that read JAVA_TOOL_OPTIONS: a build daemon that was running already "
            "(`gradle --stop`), a native image, or something in between that clears the environment."
        )


def _words(command: Sequence[str]) -> list[str]:
    """The command's words, and those of a line that is handed to a shell."""
    return [word for argument in command for word in argument.split()]


def _marks(directory: Path, kind: str) -> Iterator[tuple[str, int, str]]:
    for file in sorted(directory.glob(f"{kind}-*"), key=lambda file: (_pid(file), file.name)):
        _, runtime, _ = file.name.split("-", 2)
        yield runtime, _pid(file), file.read_text(errors="replace")


def _pid(file: Path) -> int:
    return int(file.name.rpartition("-")[2])

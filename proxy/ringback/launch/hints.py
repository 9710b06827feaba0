"""Hints about requests that did not come: from the command line, its programs, and marks of its processes.

The shims leave one file per process in the launch's directory: `started-RUNTIME-PID` holds the version,
`bypassed-RUNTIME-PID` the host that a client looked up and the program's command line.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from ringback.launch.runtimes import JAVA_IMAGE_ADVICE, image_without_agents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

NAMES = {
    "python": "Python",
    "node": "Node.js",
    "deno": "Deno",
    "bun": "Bun",
    "java": "Java",
    "ruby": "Ruby",
    "php": "PHP",
    "perl": "Perl",
    "elixir": "Erlang",
    "r": "R",
    "dotnet": ".NET",
    "curl": "curl",
    "wget": "wget",
    "program": "A program",
}


CLEARED = "HTTPS_PROXY is gone"  # a marker's third line
_LOST = (
    "its environment has no HTTPS_PROXY any more: the program or its test cleared it "
    "(`mock.patch.dict(os.environ, clear=True)`, `process.env = {}`, `ENV.clear`)"
)

# Mocks by which a program sends nothing.
MOCKS = {
    "python": "responses, vcrpy, unittest.mock",
    "node": "nock, msw, jest.mock",
    "java": "WireMock, Mockito",
    "ruby": "WebMock, VCR",
    "deno": "a stub of fetch",
}

# What a client of this runtime must do, for somebody who looks at his program.
NEEDS = {
    "python": "requests, httpx and aiohttp go past the proxy with `trust_env=False` or proxies of their own, "
    "urllib3 without a `ProxyManager`, http.client without `set_tunnel`; a mock (responses, vcrpy, "
    "unittest.mock) answers before the proxy can",
    "node": "an agent of the program's own (`httpsAgent`, `new https.Agent`, undici's `dispatcher`) and "
    "http2 go past the proxy; twilio-node reads HTTP_PROXY in upper case alone; a mock (nock, msw, jest.mock)"
    " answers before the proxy can",
    "deno": "npm packages that open their own connections (undici) go past the proxy, and without "
    "`--allow-env` they cannot read HTTPS_PROXY; Deno's own fetch can",
    "bun": "superagent and agents of the program's own go past the proxy, and Bun loads no preload of Node's "
    "that would stop them: use Bun's fetch, axios or twilio",
    "java": "a proxy of the program's own (`setProxy`, `ProxySelector.of`, `Proxy.NO_PROXY`) wins, and what "
    "opens its own channels (Netty with WebClient, Apache's HttpAsyncClient) uses none unless it is given "
    "one; a mock (WireMock, Mockito) answers before the proxy can",
    "go": "an `http.Transport` of the program's own needs `Proxy: http.ProxyFromEnvironment`",
    "ruby": "Net::HTTP goes past the proxy where it is given one of its own or nil, and http.rb where no "
    "`via(HOST, PORT)` names one; a mock (WebMock, VCR) "
    "answers before the proxy can",
    "php": "streams use a proxy only where their context names it, ext-curl none where CURLOPT_PROXY or "
    "CURLOPT_NOPROXY says so; a mock (Guzzle's MockHandler) answers before the proxy can",
    "perl": "HTTP::Tiny, LWP and Mojo go past the proxy where they are given one of their own or none "
    "(`proxy => undef`, `no_proxy`), and WWW::Curl trusts the system's roots alone",
    "rust": "reqwest goes past the proxy with `no_proxy()` and ureq 2 without its feature `proxy-from-env`; "
    "hyper has no proxy of its own; and `webpki-roots` trusts no CA but those compiled in: use native roots",
    "elixir": "Erlang's :httpc reads no variable: call `:httpc.set_options(https_proxy: {{host, port}, []})` "
    'and give it `cacertfile: System.get_env("SSL_CERT_FILE")`; a mock (Mox, Bypass) answers before it',
    "r": "httr and curl trust the system's roots alone: `httr::set_config(httr::config(cainfo = "
    'Sys.getenv("SSL_CERT_FILE")))`',
    "dotnet": "an `HttpClientHandler` of the program's own needs its `UseProxy` and no other `Proxy`",
    "curl": "`--noproxy`, `--proxy` and ~/.curlrc lead past the proxy: leave them out",
    "wget": "`--no-proxy`, `--no-config` and `-e use_proxy=no` lead past the proxy: leave them out",
    "program": "it must read HTTPS_PROXY from its environment (Go: `Proxy: http.ProxyFromEnvironment`; Rust: "
    "reqwest without `no_proxy()`)",
}

_SHOWN = 160  # characters of a command line that are shown: its beginning and its end
_LONGEST = 256  # of a program's first line, as Linux reads it
_MOST = 65536  # bytes of a shell script
_SHELLS = frozenset({"sh", "bash", "dash", "ksh", "zsh"})
_SHELL = re.compile(r"#!.*\b(sh|bash|dash|ksh|zsh)\b")

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


# Programs that no variable makes trust the CA.
OWN_ROOTS = {
    "mono": "`mono` has a trust store of its own and reads no variable for it: run "
    '`cert-sync --quiet --user "$(ringback ca --path)"` once for each CA.',
}

# The line that makes a client trust the CA which reads no variable for it, by the program that runs it.
_LIBCURL = "a binding of libcurl trusts the system's roots alone: "
TRUST = {
    "python": f"In Python, {_LIBCURL}`c.setopt(pycurl.CAINFO, os.environ['SSL_CERT_FILE'])`.",
    "ruby": f"In Ruby, {_LIBCURL}Typhoeus takes `cainfo: ENV['SSL_CERT_FILE']`, curb `cacert=`.",
    "perl": f"In Perl, {_LIBCURL}`setopt(CURLOPT_CAINFO, $ENV{{SSL_CERT_FILE}})`.",
    "php": "In PHP, Guzzle's `verify` and CURLOPT_CAINFO name other roots: leave them out, or let them name "
    "getenv('SSL_CERT_FILE').",
    "r": f"In R, {NEEDS['r']}.",
    "elixir": 'In Elixir, give `cacertfile: System.get_env("SSL_CERT_FILE")` to the client\'s `ssl` options.',
    "rust": "In Rust, `webpki-roots` trusts no CA but those compiled in: use the feature for native roots "
    "(rustls-tls-native-roots), or native-tls.",
    "bun": "In Bun, `tls: {{ ca: … }}` or `agent` names other roots: leave it out.",
    "curl": "`curl --cacert` and `--capath` name other roots: leave them out.",
    "wget": "`wget --no-config` and `--ca-certificate` name other roots: leave them out.",
}
STORE = (
    "Or let this machine trust it (Debian, Ubuntu): ringback ca --export pem -o "
    "/usr/local/share/ca-certificates/ringback.crt && update-ca-certificates\n"
    "Or, as root on Linux, for one run: ringback run --mount-namespace -- COMMAND"
)

# The runtime of a program, by the name that it is called with.
_RUNTIME = (
    dict.fromkeys(("ruby", "rspec", "rake", "bundle", "rails"), "ruby")
    | dict.fromkeys(("php", "phpunit", "pest", "composer"), "php")
    | dict.fromkeys(("perl", "prove", "carton"), "perl")
    | dict.fromkeys(("cargo", "cargo-nextest"), "rust")
    | dict.fromkeys(("elixir", "mix", "iex", "erl", "rebar3"), "elixir")
    | dict.fromkeys(("R", "Rscript"), "r")
    | {"deno": "deno", "bun": "bun", "bunx": "bun"}
)

# The runtime of a process, by its executable's name without a version.
_EXECUTABLES = _RUNTIME | {
    "python": "python",
    "pypy": "python",
    "node": "node",
    "java": "java",
    "mono": "dotnet",
    "mono-sgen": "dotnet",
    "dotnet": "dotnet",
    "beam.smp": "elixir",
    "curl": "curl",
    "wget": "wget",
}

# What is said of any other program, by the name that it is called with.
_TOLD = (
    {name: f"`{name}`: {why}." for name, why in CLEARING.items()}
    | {name: f"`{name}`: {NEEDS[runtime]}." for name, runtime in _RUNTIME.items()}
    | {
        "curl": "`curl` uses HTTPS_PROXY unless `--noproxy`, `--proxy` or its settings (~/.curlrc) say "
        "otherwise.",
        "dotnet": f"`dotnet` reads HTTPS_PROXY and SSL_CERT_FILE. In the program, {NEEDS['dotnet']}.",
        "mono": f"{OWN_ROOTS['mono']} In the program, {NEEDS['dotnet']}.",
    }
)


def words_of(command: Sequence[str]) -> list[str]:
    """Split a command into its words, and those of a line that is handed to a shell."""
    return [word for argument in command for word in argument.split()]


def on_trust(command: Sequence[str], seen: Iterable[str] = ()) -> str:
    """Advise how a client comes to trust the CA that no variable made trust it.

    Args:
        command: The command as it was given to `ringback run`.
        seen: The runtimes that started with their shims.
    """
    names = list(dict.fromkeys(PurePath(word).name for word in words_of(command)))
    lines = [OWN_ROOTS[name] for name in names if name in OWN_ROOTS]
    runtimes = [_RUNTIME.get(name, re.sub(r"^(python|pypy)[0-9.]*$", "python", name)) for name in names]
    lines += [TRUST[name] for name in dict.fromkeys([*runtimes, *seen]) if name in TRUST]
    return "\n".join(lines if names[:1] == ["mono"] else [*lines, STORE])


def from_command(
    words: Sequence[str], seen: Mapping[str, str], environment: Mapping[str, str]
) -> Iterator[str]:
    """Yield the hints of each of the command's words.

    Args:
        words: The words, those of a shell's line too.
        seen: The runtimes that started with their shims, and their versions.
        environment: The environment that the command was given.
    """
    for place, word in enumerate(words):
        if place == 0 or "/" in word:
            yield from _from_program(word, seen, environment)
        elif PurePath(words[place - 1]).name in _SHELLS and not word.startswith("-"):
            yield from _from_script(_text_of(word))
        yield from _from_word(word, words[place + 1 :], seen, environment)


def _text_of(file: str) -> str:
    try:
        with Path(file).open("rb") as script:
            return script.read(_MOST).decode(errors="replace")
    except OSError:
        return ""


def _from_word(
    word: str, rest: Sequence[str], seen: Mapping[str, str], environment: Mapping[str, str]
) -> Iterator[str]:
    name = PurePath(word).name
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
    elif name == "env" and {"-i", "-", "--ignore-environment"} & set(rest[:2]):
        yield "`env -i` clears the environment, and the proxy's variables with it."
    elif name == "curl" and any(option.startswith("--noproxy") for option in rest):
        yield "`curl --noproxy` goes past the proxy: leave it out."
    elif name == "wget":
        yield from _wget(rest)
    elif name == "node" and {"--permission", "--experimental-permission"} & set(rest):
        yield (
            "`node --permission` may not read Ringback's preload: add "
            f"`--allow-fs-read={tempfile.gettempdir()}/ringback-*` and `--allow-net`."
        )
    elif name == "php" and "-n" in rest:
        yield "`php -n` reads no ini file, and so does not trust Ringback's CA: leave out -n."
    elif name in _TOLD and _RUNTIME.get(name) not in seen:
        yield _TOLD[name]


def _from_program(word: str, seen: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the hints of a program's file: its first line is a command too, and a Java image has a list."""
    found = shutil.which(word, path=environment.get("PATH", "")) or word
    try:
        with Path(found).open("rb") as file:
            line = file.readline(_LONGEST).decode(errors="replace")
            text = file.read(_MOST).decode(errors="replace") if _SHELL.match(line) else ""
    except OSError:
        return
    yield from _from_script(text)
    if line.startswith("#!"):
        interpreter = line[2:].split()
        for place, part in enumerate(interpreter):
            yield from _from_word(part, interpreter[place + 1 :], seen, environment)
    if "java" not in seen and image_without_agents(Path(found)):
        yield JAVA_IMAGE_ADVICE.format(found)


def _from_script(text: str) -> Iterator[str]:
    """Yield the hints of the options that lead curl and wget past the proxy in a shell script."""
    for call in re.finditer(r"\b(curl|wget)\b([^\n;|&]*)", text.replace("\\\n", " ")):
        options = call[2].split()
        if call[1] == "wget" and {"--no-proxy", "--no-config"} & set(options):
            yield from _wget(options)
        elif call[1] == "curl" and any(option.startswith("--noproxy") for option in options):
            yield "`curl --noproxy` goes past the proxy: leave it out."


def _wget(rest: Sequence[str]) -> Iterator[str]:
    for option in ("--no-proxy", "--no-config"):
        if option in rest:
            yield f"`wget {option}` goes past the proxy, or without its CA: leave it out."
            return
    yield "`wget` uses https_proxy unless `--no-proxy`, `--no-config` or ~/.wgetrc say otherwise."


def _python(name: str, rest: Sequence[str], seen: Mapping[str, str]) -> Iterator[str]:
    arguments = iter(rest)
    for argument in arguments:
        if argument == "--check-hash-based-pycs":
            next(arguments, None)
            continue
        if not argument.startswith("-") or argument.startswith("--"):
            return
        for place, flag in enumerate(argument[1:]):
            if flag in "cm":
                return
            if flag in "EIS" and "python" not in seen:
                yield (
                    f"`{name} -{flag}` starts Python without Ringback's sitecustomize. Old SDKs (twilio 3 to "
                    f"7.9) and the asynchronous client need it to find proxy and CA: leave out -{flag}."
                )
            if flag in "XW":  # with a value, the next argument where nothing follows
                if not argument[place + 2 :]:
                    next(arguments, None)
                break


def _java(name: str, seen: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[str]:
    if "proxy" in environment.get("_JAVA_OPTIONS", "").lower():
        yield "_JAVA_OPTIONS sets a proxy of its own and wins over JAVA_TOOL_OPTIONS: take it out."
    elif "java" not in seen:
        yield (
            f"`{name}` started no JVM that read JAVA_TOOL_OPTIONS: a build daemon that was running already "
            "(`gradle --stop`), a native image, or something in between that clears the environment."
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


def leave_bypass_marker(directory: Path, pid: int, host: str) -> None:
    """Leave the marker of a process that was seen on its way to `host` past the proxy, on Linux."""
    place = Path("/proc", str(pid))
    try:
        program = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        executable = (place / "exe").readlink().name
        cleared = b"HTTPS_PROXY=" not in (place / "environ").read_bytes()
    except OSError:  # it has ended
        return
    runtime = _EXECUTABLES.get(re.sub(r"[-0-9.]+$", "", executable), "program")
    marker = directory / f"bypassed-{runtime}-{pid}"
    if not marker.exists():  # a shim knows more
        text = " ".join(program.split())
        marker.write_text(f"{host}\n{text}\n{CLEARED if cleared else ''}\n")


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
        f"{NAMES[marker.runtime]} ({_named(marker)}) was on its way to "
        f"{marker.host} past the proxy and was stopped: {_LOST if marker.cleared else NEEDS[marker.runtime]}."
        for marker in stopped
    ]
    reasons = tuple(f": {NEEDS[marker.runtime]}." for marker in stopped)
    tools = tuple(f"`{marker.runtime}" for marker in stopped if marker.runtime in {"curl", "wget"})
    lines += [
        line
        for line in from_command(words_of(command), seen, environment or {})
        if not line.endswith(reasons) and not line.startswith(tools)
    ]
    if not lines:
        lines = [
            f"{NAMES[runtime]} {version} started and asked for no Twilio host: it sent nothing, a mock "
            f"({MOCKS.get(runtime, 'a stub')}) answered before the proxy could, or a program that it started "
            "has another environment."
            for runtime, version in sorted(seen.items())
        ]
    if not lines:
        lines = [
            (
                "It sent nothing, or it does not use the proxy. No Python, Node.js, Java or Ruby was seen to "
                "start. A compiled program must read HTTPS_PROXY and "
                "SSL_CERT_FILE from its environment, and nothing in between may clear them. In Go, "
                f"{NEEDS['go']}. In .NET, {NEEDS['dotnet']}. In Rust, {NEEDS['rust']}."
            )
        ]
    return "\n".join(dict.fromkeys(lines))


def _named(marker: ProcessMarker) -> str:
    """Name a process by its command line, as far as that fits and without what looks like a secret."""
    if not marker.program:
        return f"process {marker.pid}"
    from ringback.cassettes.redaction import redact_patterns  # noqa: PLC0415 - few runs need it

    words, end = redact_patterns(marker.program), _SHOWN // 2
    return words if len(words) <= _SHOWN else f"{words[:end]} … {words[-end:]}"


def _marker_files(directory: Path, kind: str) -> Iterator[tuple[str, int, str]]:
    for file in sorted(directory.glob(f"{kind}-*"), key=lambda file: (_pid(file), file.name)):
        _, runtime, _ = file.name.split("-", 2)
        yield runtime, _pid(file), file.read_text(errors="replace")


def _pid(file: Path) -> int:
    return int(file.name.rpartition("-")[2])

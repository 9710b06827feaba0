"""The table of environment variables, by runtime, that lead a program's clients to the proxy and to its CA.

To add a runtime, write its functions and add its variables to `RUNTIMES`; `docs/clients.md` prints the table.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import quote

from ringback.launch.directory import write_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ringback.launch.trust import Bundles


@dataclass(frozen=True)
class Proxy:
    """The address of the proxy, and how a client names itself to it.

    Attributes:
        host: Name or address that the child can reach.
        port: The HTTP proxy's port.
        user: User name in the proxy URL (the cassette's name), or None.
        password: The proxy's password, or None where none is needed.
        socks_port: Port of the SOCKS5 listener on the same host, or None where there is none.
    """

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    socks_port: int | None = None

    @property
    def url(self) -> str:
        """The proxy URL, always `http://`: twilio-node 3 to 6 take nothing else."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.user is None and self.password is None:
            return f"http://{host}:{self.port}"
        # requests sends no Proxy-Authorization when the password is empty.
        user, password = quote(self.user or "ringback", safe=""), quote(self.password or "x", safe="")
        return f"http://{user}:{password}@{host}:{self.port}"


def reachable(host: str) -> str:
    """Return the address by which this machine reaches a listener on `host`, which can be a wildcard."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not listened on


@dataclass(frozen=True)
class LaunchContext:
    """The facts that a variable's value can depend on.

    Attributes:
        proxy: The proxy to point at.
        root: The CA's root, copied into `directory`.
        parent: The environment to extend.
        directory: A directory of this launch alone.
        bundles: Writes trust bundles into `directory`.
        no_proxy: The parent's NO_PROXY without what could match Twilio.
        warn: Takes a sentence for the person who runs the program.
    """

    proxy: Proxy
    root: Path
    parent: Mapping[str, str]
    directory: Path
    bundles: Bundles
    no_proxy: str
    warn: Callable[[str], None]


Value: TypeAlias = Callable[[LaunchContext, str], str | None]


@dataclass(frozen=True)
class Variable:
    """One environment variable.

    Attributes:
        name: The variable's name.
        value: From the context and the parent's value (empty if unset) to the child's; None takes the
            variable away.
        why: The clients that read it, and the reason for it.
    """

    name: str
    value: Value
    why: str


SHIMS = Path(__file__).parent / "shims"  # importlib.resources takes longer to import than all of them to read


def shim(context: LaunchContext, runtime: str, name: str) -> Path:
    """Copy the shim `name` into the launch's directory, beside what it reads there."""
    return write_file(context.directory / runtime / name, (SHIMS / name).read_bytes())


def bundle(name: str, why: str) -> Variable:
    """Make a variable whose file replaces the trust store: its old roots, or the usual ones, and ours."""
    return Variable(name, lambda context, old: str(context.bundles.replacing(name, old)), why)


def quoted(text: str, quotable: str = ' "\\') -> str:
    """Quote `text` as NODE_OPTIONS and JAVA_TOOL_OPTIONS read it: in double quotes if it needs them."""
    if not any(character in text for character in quotable):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


# Every runtime. Ruby's Faraday and .NET's HttpClient need nothing else; .NET was seen with .NET Core 3.1.
# Mono's HttpClient takes the same proxy, its HttpWebRequest http_proxy for https too; but Mono has a trust
# store in the user's home and nothing that leads to another: that is for the user's own hand (`cert-sync`).


def _proxy(context: LaunchContext, _: str) -> str:
    return context.proxy.url


def _no_proxy(context: LaunchContext, _: str) -> str:
    return context.no_proxy


def _existing_directories(context: LaunchContext, old: str) -> str | None:
    kept = []
    for directory in filter(None, old.split(":")):
        if os.access(directory, os.R_OK | os.X_OK) and Path(directory).is_dir():
            kept.append(directory)
        else:
            context.warn(f"SSL_CERT_DIR names {directory}, which is no directory here; it is left out")
    return ":".join(kept) or None


COMMON: Final = (
    Variable("HTTPS_PROXY", _proxy, "requests, httpx, curl, Go, Faraday, libcurl, .NET"),
    Variable("https_proxy", _proxy, "wins over the upper-case form in curl and Python, so both must agree"),
    Variable("HTTP_PROXY", _proxy, "the only form that twilio-node 3 to 6 read"),
    Variable("http_proxy", _proxy, "the form that Ruby's Net::HTTP and older curl read, for https too"),
    Variable("RINGBACK_PROXY_URL", _proxy, "tells Ringback's pytest plugin that there is a proxy already"),
    Variable("NO_PROXY", _no_proxy, "an inherited one sends Python, Go and node 2 straight to Twilio"),
    Variable("no_proxy", _no_proxy, "Go falls back to it where NO_PROXY is empty"),
    bundle(
        "SSL_CERT_FILE", "OpenSSL's own: httpx, aiohttp, urllib, Ruby, PHP's streams, Go and .NET on Linux"
    ),
    Variable("SSL_CERT_DIR", _existing_directories, "added to SSL_CERT_FILE; kept as far as it exists"),
)


# Python 2.7 to 3.14: requests, httpx, urllib, aiohttp, httplib2.


def _python_path(context: LaunchContext, old: str) -> str:
    """Put ours first: Python imports one `sitecustomize` only, and ours goes on to the next."""
    place = shim(context, "python", "sitecustomize.py").parent
    return f"{place}:{old}" if old else str(place)


PYTHON: Final = (
    Variable(
        "PYTHONPATH",
        _python_path,
        "carries the sitecustomize without which twilio 6 and 7.0-7.9 trust no CA but their own, and "
        "httplib2 (twilio 3-5) and aiohttp (the async client) see no proxy",
    ),
    bundle("REQUESTS_CA_BUNDLE", "requests (twilio 7.10 and newer) where the sitecustomize is switched off"),
    bundle("HTTPLIB2_CA_CERTS", "httplib2 outside the SDK"),
)


# Node.js: twilio 2 to 6, axios, request, fetch.


NODE_PERMISSION: Final = frozenset({"--permission", "--experimental-permission"})


def _node_options(context: LaunchContext, old: str) -> str:
    """Add the preload; never `--use-env-proxy`, as Node 20 does not start with an option it does not know."""
    allowed = f" {_node_allowance(context.directory)}" if NODE_PERMISSION & set(old.split()) else ""
    return f"{old} --require {quoted(str(shim(context, 'node', 'preload.cjs')))}{allowed}".strip()


def _node_allowance(directory: Path) -> str:
    """Allow Node's permission model to read a launch's files; only with it does Node take the option."""
    return f"--allow-fs-read={directory}/*"


def allow_node(command_line: Sequence[str], directory: Path) -> list[str]:
    """Let a `node --permission …` read the preload, without which it does not start."""
    options = list(takewhile(lambda word: word.startswith("-"), command_line[1:]))
    if PurePath(command_line[0]).name != "node" or not NODE_PERMISSION & set(options):
        return list(command_line)
    return [command_line[0], _node_allowance(directory), *command_line[1:]]


def _node_extra(context: LaunchContext, old: str) -> str:
    return str(context.bundles.adding("NODE_EXTRA_CA_CERTS", old))


NODE: Final = (
    Variable("NODE_EXTRA_CA_CERTS", _node_extra, "added to Node's own roots, for every client"),
    Variable("NODE_USE_ENV_PROXY", lambda *_: "1", "newer Node's fetch and https use the proxy variables"),
    Variable(
        "NODE_OPTIONS",
        _node_options,
        "carries the preload that gives older Node's fetch, https's own agent and undici 8 a proxy",
    ),
)


# Go: net/http reads HTTPS_PROXY and SSL_CERT_FILE by itself; its test cache is what needs care.

UNCACHED: Final = "-count=1"


def _go_flags(context: LaunchContext, old: str) -> str:
    flags = old or _configured_go_flags(context)
    if any(flag.lstrip("-").startswith("count=") for flag in flags.split()):
        return flags
    return f"{flags} {UNCACHED}".strip()


def _configured_go_flags(context: LaunchContext) -> str:
    """Read GOFLAGS of `go env -w`, which the variable would hide."""
    parent = context.parent
    file = parent.get("GOENV")
    if not file:
        config = parent.get("XDG_CONFIG_HOME") or f"{parent.get('HOME', '')}/.config"
        file = f"{config}/go/env"
    try:
        lines = Path(file).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    return next((line.partition("=")[2] for line in lines if line.startswith("GOFLAGS=")), "")


GO: Final = (
    Variable(
        "GOFLAGS", _go_flags, "`go test` answers a package that passed from its cache and sends nothing"
    ),
)


# Java: no variable reaches its clients, so an agent goes in through JAVA_TOOL_OPTIONS; its source is
# `shims/RingbackAgent.java`. Properties alone (-Dhttps.proxyHost) miss twilio-java before 7.5 and every
# client with a builder of its own, and catch Maven's downloads.

JAVA_AGENT: Final = "ringback-agent.jar"
JAVA_IMAGE_ADVICE: Final = (
    "{} belongs to a Java image without java.instrument, and no JVM starts with Ringback's agent that lacks "
    "it: add it, `jlink --add-modules java.instrument,…`."
)
_JAVA_MODULES = re.compile(r'^MODULES="(.*)"', re.MULTILINE)


def image_without_agents(program: Path) -> bool:
    """Report whether a program lies in a `jlink` image that lacks the module that agents need."""
    try:
        release = (program.resolve().parents[1] / "release").read_text(errors="replace")
    except (OSError, IndexError):
        return False
    modules = _JAVA_MODULES.search(release)
    return modules is not None and "java.instrument" not in modules[1].split()


def _java_options(context: LaunchContext, old: str) -> str:
    home, path = context.parent.get("JAVA_HOME"), context.parent.get("PATH", "")
    for program in (home and f"{home}/bin/java", shutil.which("java", path=path)):
        if program and image_without_agents(Path(program)):
            context.warn(JAVA_IMAGE_ADVICE.format(program))
    jar = shim(context, "java", JAVA_AGENT)
    proxy = context.proxy
    # Without a SOCKS listener bare sockets find nobody at port 0 and fail, which is better than a bypass.
    argument = f"{proxy.host},{proxy.port},{proxy.socks_port or 0},{context.directory}"
    return f"{old} {quoted(f'-javaagent:{jar}={argument}')}".strip()


JAVA: Final = (
    Variable(
        "JAVA_TOOL_OPTIONS", _java_options, "every JVM that is started, also Surefire's and Gradle's workers"
    ),
)


# Ruby: twilio-ruby 5 and newer (Faraday) and Net::HTTP read the common variables; Net::HTTP looks at
# http_proxy alone, also for https. twilio-ruby 4 names a file of roots of its own, which no variable changes.


def _ruby_library(context: LaunchContext, old: str) -> str:
    """Put ours first: it hides openssl.rb once, and takes itself off the path."""
    place = shim(context, "ruby", "openssl.rb").parent
    return f"{place}:{old}" if old else str(place)


RUBY: Final = (
    Variable(
        "RUBYLIB",
        _ruby_library,
        "carries the openssl.rb without which twilio-ruby 4 trusts no CA but its own",
    ),
)


# PHP: libcurl and the streams take their CA from ini settings alone. A prepended file sends twilio-php before
# 5.37 to the SOCKS port.

PHP_SETTINGS: Final = ("curl.cainfo", "openssl.cafile")
_PHP_PREPEND = "auto_prepend_file"
_PHP_FENCE = "open_basedir"
# A line of its own: an extension that cannot be loaded is told on stdout.
_PHP_ASK = 'echo "\\n", implode("\\t", array_map("ini_get", array_slice($argv, 1)));'
_PHP_SECONDS = 5


def _php_configured(context: LaunchContext) -> dict[str, str]:
    """Ask PHP for what its own ini files name, as only PHP knows where they are; empty without PHP."""
    php = shutil.which("php", path=context.parent.get("PATH", ""))
    if php is None:
        return {}
    try:
        done = subprocess.run(  # noqa: S603 - arguments of our own
            [php, "-r", _PHP_ASK, "--", *PHP_SETTINGS, _PHP_PREPEND, _PHP_FENCE],
            env=dict(context.parent),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            timeout=_PHP_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(
        zip(
            (*PHP_SETTINGS, _PHP_PREPEND, _PHP_FENCE),
            done.stdout.rpartition("\n")[2].split("\t"),
            strict=False,
        )
    )


def _php_scan(context: LaunchContext, old: str) -> str:
    """Add a directory of ini files. The empty element of a leading colon stands for PHP's own directory."""
    named = _php_configured(context)
    proxy = context.proxy
    host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
    # libcurl looks names up by itself for socks5://, and not for socks5h://.
    facts = {
        "socks": f"socks5h://{host}:{proxy.socks_port}" if proxy.socks_port else None,
        "next": named.get(_PHP_PREPEND) or None,
    }
    lines = "".join(f"    {_php_text(name)} => {_php_text(value)},\n" for name, value in facts.items())
    write_file(context.directory / "php" / "launch.php", f"<?php\n\nreturn array(\n{lines});\n".encode())
    settings = {name: str(context.bundles.replacing(name, named.get(name, ""))) for name in PHP_SETTINGS}
    prepend = shim(context, "php", "prepend.php")
    if not named.get(_PHP_FENCE):  # PHP ends where it may not open the file
        settings[_PHP_PREPEND] = str(prepend)
    ini = "".join(f'{name} = "{value}"\n' for name, value in settings.items())
    return f"{old}:{write_file(context.directory / 'php' / 'ringback.ini', ini.encode()).parent}"


def _php_text(value: str | None) -> str:
    """Write a value as PHP reads it."""
    if value is None:
        return "null"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


PHP: Final = (
    Variable("PHP_INI_SCAN_DIR", _php_scan, "ext-curl (twilio-php, Symfony) and PHP's own streams"),
)


# Command line tools that people call Twilio's API with.


def _wgetrc(context: LaunchContext, old: str) -> str:
    """Name a CA in wget's settings file, its only place for one, after what the user's own says."""
    home = context.parent.get("HOME")
    own = Path(old) if old else Path(home, ".wgetrc") if home else None
    text = own.read_bytes() if own and own.is_file() else b""
    line = f"\nca_certificate = {context.bundles.default}\n".encode()
    return str(write_file(context.directory / "wgetrc", text + line))


TOOLS: Final = (
    bundle("CURL_CA_BUNDLE", "curl; requests too where REQUESTS_CA_BUNDLE is not set"),
    bundle("PERL_LWP_SSL_CA_FILE", "Perl's LWP"),
    Variable("PERL_LWP_ENV_PROXY", lambda *_: "1", "Perl's LWP, which reads HTTPS_PROXY only then"),
    Variable("MOJO_PROXY", lambda *_: "1", "Perl's Mojo::UserAgent, which reads HTTPS_PROXY only then"),
    bundle("MOJO_CA_FILE", "Perl's Mojo::UserAgent"),
    bundle("DENO_CERT", "Deno, added to its own roots"),
    Variable("WGETRC", _wgetrc, "wget"),
)

RUNTIMES: Final[tuple[tuple[Variable, ...], ...]] = (COMMON, PYTHON, NODE, GO, JAVA, RUBY, PHP, TOOLS)

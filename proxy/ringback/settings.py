"""One table of options, and the settings that the command line, the environment and a file give.

Each field of `Settings` that `_option` makes is one option, with its default, its help text and its reader.
From it come the command-line option (`--max-live`), the variable (`RINGBACK_MAX_LIVE`), the key of the
configuration file (`max-live`) and mitmproxy's option (`ringback_max_live`). To add an option, add a field
here and use it.

The configuration file is `ringback.toml`, or `[tool.ringback]` in `pyproject.toml`, in the working directory
or the nearest one above it. The command line counts before the environment, and that before the file.
"""

# ruff: noqa: FBT003, RUF009 - a default stands in its option's call, and each call makes a dataclass field

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

from ringback.upstream.routes import Address, Egress, Routes, Timeouts, mock_upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ringback.contract import AccountKind, Credentials, Texts
    from ringback.exchange import Mode

Repeats: TypeAlias = Literal["last", "error"]
LogFormat: TypeAlias = Literal["text", "json"]
Witness: TypeAlias = Literal["auto", "always", "never"]
Command: TypeAlias = Literal["addon", "run", "serve"]
T = TypeVar("T")

MODES: Final[tuple[Mode, ...]] = ("offline", "auto", "online")
LOG_FORMATS: Final[tuple[LogFormat, ...]] = ("text", "json")
WITNESS: Final[tuple[Witness, ...]] = ("auto", "always", "never")
TEXTS: Final[tuple[Texts, ...]] = ("certain", "newest")
ACCOUNTS: Final[tuple[AccountKind, ...]] = ("upgraded", "trial")
REPEATS: Final[tuple[Repeats, ...]] = ("last", "error")
PREFIX: Final = "RINGBACK_"
PASSWORD_VARIABLE: Final = "RINGBACK_PROXY_PASSWORD"  # noqa: S105 - the variable's name, not a password
SID_VARIABLE: Final = "RINGBACK_TEST_ACCOUNT_SID"
TOKEN_VARIABLE: Final = "RINGBACK_TEST_AUTH_TOKEN"  # noqa: S105 - as above
SECRETS: Final = (SID_VARIABLE, TOKEN_VARIABLE, PASSWORD_VARIABLE)  # environment alone, never a file

FILE: Final = "ringback.toml"
PROJECT_FILE: Final = "pyproject.toml"

_EVERYWHERE: Final[tuple[Command, ...]] = ("addon", "run", "serve")
_PROXY: Final[tuple[Command, ...]] = ("run", "serve")
_TRUE: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE: Final = frozenset({"0", "false", "f", "no", "n", "off"})
# Names of cassettes that need no further look.
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,49}")


class SettingsError(Exception):
    """A value that is refused.

    Args:
        place: The option, variable or key of a file that has the value, as the user wrote it; empty where the
            cause names it.
        cause: A sentence that says what is wrong with it.
        name: The option's name, or an empty string.
    """

    def __init__(self, place: str, cause: str, name: str = "") -> None:
        super().__init__(f"{place}: {cause}" if place else cause)
        self.place = place
        self.cause = cause
        self.name = name


@dataclass(frozen=True)
class Option:
    """One line of the table.

    Attributes:
        name: The field of `Settings`.
        default: The value where nothing is given.
        help: One or two sentences for `--help`.
        read: Makes the value from text; it raises ValueError with the cause.
        commands: Where the option exists.
        choices: The allowed texts, or none.
        metavar: The value's name in `--help`, or None.
        short: A second spelling on the command line, such as `-q`, or an empty string.
        completes: The shell completes names of files, of directories or of cassettes, or nothing.
        live: Without effect offline.
    """

    name: str
    default: Any
    help: str
    read: Callable[[str], Any]
    commands: tuple[Command, ...] = _EVERYWHERE
    choices: tuple[str, ...] = ()
    metavar: str | None = None
    short: str = ""
    completes: Literal["", "file", "dir", "cassette"] = ""
    live: bool = False

    @property
    def flag(self) -> str:
        """The option on the command line: `--max-live`."""
        return "--" + self.key

    @property
    def key(self) -> str:
        """The key in a configuration file: `max-live`."""
        return self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable: `RINGBACK_MAX_LIVE`."""
        return PREFIX + self.name.upper()

    @property
    def addon_name(self) -> str:
        """The name as an option of mitmproxy: `ringback_max_live`."""
        return PREFIX.lower() + self.name

    @property
    def is_flag(self) -> bool:
        """True for an option without a value."""
        return isinstance(self.default, bool)

    @property
    def is_list(self) -> bool:
        """True for an option that may be given several times."""
        return isinstance(self.default, tuple)

    def from_text(self, value: object, place: str) -> Any:
        """Convert what the command line, mitmproxy or a variable has: text, or for a list several.

        Raises:
            SettingsError: The reader refuses it.
        """
        if value is None or isinstance(value, bool):
            return value
        if self.is_list:
            return tuple(self._read(one, place) for one in value)  # type: ignore[attr-defined] # a list, see above
        return self._read(value, place)

    def from_variable(self, text: str) -> Any:
        """Convert a variable's text; the parts of a list are separated as in PATH.

        Raises:
            SettingsError: It is not understood.
        """
        if self.is_flag:
            if text.lower() not in _TRUE | _FALSE:
                raise SettingsError(self.variable, f"{text!r} is neither true nor false", self.name)
            return text.lower() in _TRUE
        return self.from_text(text.split(os.pathsep) if self.is_list else text, self.variable)

    def from_file(self, value: object, place: str, directory: Path | None) -> Any:
        """Convert a value of a TOML file; relative paths in it begin at `directory`, if it is given.

        Raises:
            SettingsError: It has another type, or the reader refuses it.
        """
        if self.is_flag:
            if not isinstance(value, bool):
                raise SettingsError(place, f"{value!r} is neither true nor false", self.name)
            return value
        values = value if self.is_list and isinstance(value, list) else [value]
        wanted: tuple[type, ...] = getattr(self.read, "types", (str,))
        for one in values:
            if not isinstance(one, wanted) or isinstance(one, bool):
                text = {int: "a whole number", float: "a number", str: "text in quotes"}[wanted[-1]]
                raise SettingsError(place, f"{one!r} is not {text}", self.name)
        if directory is not None and self.completes in {"file", "dir"}:
            values = [one if "://" in str(one) else str(directory / str(one)) for one in values]
        read = tuple(self._read(one, place) for one in values)
        return read if self.is_list else read[0]

    def _read(self, value: object, place: str) -> Any:
        try:
            return self.read(str(value))
        except ValueError as error:
            raise SettingsError(place, str(error), self.name) from None


def _option(default: T, help: str, read: Callable[[str], Any] = str, **more: Any) -> T:  # noqa: A002 - a keyword would say the same
    """Make a field of `Settings` that is an option; `more` are further attributes of `Option`."""
    metadata = {"option": {"default": default, "help": help, "read": read, **more}}
    made: T = field(default=default, metadata=metadata, repr=more.get("metavar") != "URL")
    return made


# -- readers


class _Number:
    """Reads a number between two limits."""

    def __init__(
        self, kind: type[int | float], least: float | None = None, most: float | None = None
    ) -> None:
        self.types = (int,) if kind is int else (int, float)
        self._kind, self._least, self._most = kind, least, most

    def __call__(self, text: str) -> int | float:
        try:
            number = self._kind(text)
        except ValueError:
            whole = "a whole number" if self._kind is int else "a number"
            raise ValueError(f"{text!r} is not {whole}") from None
        if self._most is not None and not (self._least or 0) <= number <= self._most:
            raise ValueError(f"{number} is not in the range {self._least} to {self._most}")
        if self._least is not None and not self._least <= number < float("inf"):
            raise ValueError(f"{number} is below {self._least}")
        return number


class _Seconds:
    """Reads a time limit, in seconds."""

    types = (int, float)

    def __call__(self, text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise ValueError(f"{text!r} is not a number of seconds above 0")
        return seconds


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is not one of: {', '.join(choices)}")
        return text

    return read


def _host(text: str) -> str:
    if not text.strip():  # what listens at an empty address is open to everybody
        raise ValueError("it is empty; name an address, such as 127.0.0.1")
    return text


def _file(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise ValueError(f"{text} is a directory; name a file")
    return path


def _directory(text: str) -> Path:
    path = Path(text)
    if path.is_file():
        raise ValueError(f"{text} is a file; name a directory")
    return path


def _cassettes(text: str) -> Path | str:
    """Read a directory, or the address of a store, which stays text."""
    if "://" not in text:
        return _directory(text)
    from ringback.cassettes.object_store import check_url  # noqa: PLC0415 - rarely needed

    return check_url(text)


def _state(text: str) -> str:
    from ringback.state_redis import check_url  # noqa: PLC0415 - rarely needed

    return check_url(text)


def _cassette_name(text: str) -> str:
    if not _PLAIN_NAME.fullmatch(text):
        from ringback.cassettes.files import CassetteNameError, check_name  # noqa: PLC0415 - rarely needed

        try:
            check_name(text)
        except CassetteNameError as error:
            raise ValueError(str(error)) from None
    return text


def _match_rule(text: str) -> str:
    from ringback.cassettes.matching import MatchIgnore  # noqa: PLC0415 - rarely needed

    MatchIgnore.parse([text])  # MatchIgnoreError is a ValueError
    return text


def _statuses(text: str) -> str:
    for one in text.split(","):
        if not re.fullmatch(r"[2-5](?:xx|\d\d)", one.strip().lower()):
            raise ValueError(f"{one.strip()!r} is no status: write one such as 400, or 2xx for all of a kind")
    return text.replace(" ", "").lower()


def _mock_upstream(text: str) -> str:
    if mock_upstream(text).userinfo:
        raise ValueError("it has a user name, which is never sent; write https://HOST:PORT")
    return text


def _proxy_url(text: str) -> str:
    Address.parse(text)
    return text


def _roots(text: str) -> Path:
    from ringback.upstream.client import trust  # noqa: PLC0415 - it imports ssl

    path = Path(text)
    try:
        trust(path)
    except OSError as error:  # ssl.SSLError is one
        cause = error.strerror if isinstance(error, FileNotFoundError) else "it holds no certificate in PEM"
        raise ValueError(f"{path}: {cause}") from None
    return path


def _report(text: str) -> Path:
    from ringback.drift import REPORT_FORMS  # noqa: PLC0415 - an import for a rare option

    path = _file(text)
    if path.suffix.lower() not in REPORT_FORMS:
        raise ValueError(f"{text}: the ending names the form, one of {', '.join(REPORT_FORMS)}")
    if not os.access(path.absolute().parent, os.W_OK):
        raise ValueError(f"{text}: nothing can be written there")
    return path


def _output(text: str) -> Path:
    path = _file(text)
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise ValueError(f"{text}: nothing can be written there")
    return path


def _any_credentials() -> Credentials:
    from ringback.contract import Credentials  # noqa: PLC0415 - the contract takes long to import

    return Credentials()


_PORT: Final = _Number(int, 0, 65535)


@dataclass(frozen=True)
class Settings:
    """The settings of one proxy.

    Attributes:
        password: The password that clients give in the proxy URL, or None.
        credentials: The test credentials that are accepted; any pair where the environment names none.
        egress: The proxy that connections to the outside go through.
    """

    mode: Mode = _option(
        "offline",
        "How Twilio requests are answered. Only test credentials are ever forwarded.",
        _one_of(MODES),
        choices=MODES,
    )
    host: str = _option(
        "127.0.0.1",
        "Address to listen on. Other than loopback needs RINGBACK_PROXY_PASSWORD.",
        _host,
        commands=_PROXY,
    )
    port: int = _option(0, "Port to listen on; 0 lets the kernel choose.", _PORT, commands=_PROXY)
    reverse: int | None = _option(
        None,
        "Listen here too, in the place of api.twilio.com: TLS by that name, plain HTTP on loopback.",
        _PORT,
        metavar="PORT",
        commands=_PROXY,
    )
    transparent: int | None = _option(
        None,
        "Listen here too, for connections of this machine that iptables redirects.",
        _PORT,
        metavar="PORT",
        commands=_PROXY,
    )
    contract: tuple[Path, ...] = _option(
        (),
        "Your own rows and texts, laid over the documented contract. May be given several times.",
        _file,
        metavar="FILE",
        completes="file",
    )
    texts: Texts = _option(
        "certain",
        "Error texts: those that test credentials are known to send, or the newest of live credentials.",
        _one_of(TEXTS),
        choices=TEXTS,
    )
    account: AccountKind = _option(
        "upgraded",
        "Kind of account: a trial account's messages begin with a notice.",
        _one_of(ACCOUNTS),
        choices=ACCOUNTS,
    )
    allow_local_urls: bool = _option(False, "Let URLs pass that are not public, e.g. on localhost.")
    seed: int | None = _option(
        None, "Make sids, request ids and dates repeat from run to run.", _Number(int), metavar="INTEGER"
    )
    block_other_hosts: bool = _option(False, "Refuse hosts that are not Twilio's instead of tunnelling them.")
    cassettes: Path | str = _option(
        Path("cassettes"),
        "Directory of the cassettes, or their address: s3://, gs://, az:// or https:// (extra `fleet`).",
        _cassettes,
        metavar="DIRECTORY",
        completes="dir",
    )
    state: str | None = _option(
        None,
        "Share replay positions, proofs, --max-live, rows and the Inbox with other replicas: redis:// or "
        "rediss:// (extra `fleet`).",
        _state,
        metavar="URL",
        commands=("serve",),
    )
    cassette: str = _option(
        "default",
        "Default cassette. A client can name another in the proxy URL: http://NAME:x@HOST:PORT.",
        _cassette_name,
        metavar="NAME",
        completes="cassette",
    )
    repeats: Repeats = _option(
        "last",
        "What a request gets after its last recording: that one again, or a miss.",
        _one_of(REPEATS),
        choices=REPEATS,
    )
    strict: bool = _option(False, "Answer from cassettes alone; a request without a recording is an error.")
    fail_on_unused: bool = _option(False, "Exit 4 when a recording was not used.", commands=_PROXY)
    replay_any: bool = _option(
        False, "Let recordings of any Twilio host and resource answer, offline; never sent or recorded."
    )
    match_ignore: tuple[str, ...] = _option(
        (),
        "Fields that do not count in matching, e.g. SendAt,Tags, or FIELD=PATTERN for parts of a value.",
        _match_rule,
        metavar="RULE",
    )
    max_age: int = _option(
        0,
        "Days after which a replayed recording counts as old; with --strict that is an error. 0: never.",
        _Number(int, 0),
        metavar="DAYS",
    )
    record_statuses: tuple[str, ...] = _option(
        (),
        "Statuses worth recording, e.g. 2xx,400; without it all but server errors and rate limits.",
        _statuses,
        metavar="STATUS[,STATUS]...",
        live=True,
    )
    redact: tuple[str, ...] = _option(
        (),
        "Form fields that are recorded as pseudonyms, e.g. To,Body.",
        metavar="FIELD[,FIELD]...",
        live=True,
    )
    upstream: str | None = _option(
        None,
        "A mock upstream in place of the live API: https://HOST:PORT.",
        _mock_upstream,
        metavar="URL",
        live=True,
    )
    upstream_ca: Path | None = _option(
        None,
        "PEM file of the roots that the live API is verified with, instead of the system's.",
        _roots,
        metavar="FILE",
        completes="file",
        live=True,
    )
    egress_proxy: str | None = _option(
        None,
        "Proxy for connections to the outside; else what HTTPS_PROXY and NO_PROXY say.",
        _proxy_url,
        metavar="URL",
    )
    connect_timeout: float = _option(
        10.0,
        "How long to wait for a connection to the live API.",
        _Seconds(),
        metavar="SECONDS",
        live=True,
    )
    timeout: float = _option(
        30.0, "How long to wait for the live API's answer.", _Seconds(), metavar="SECONDS", live=True
    )
    max_live: int | None = _option(
        None,
        "Forward no more than N requests, then go on offline.",
        _Number(int, 0),
        metavar="N",
        live=True,
    )
    drift_report: Path | None = _option(
        None,
        "Write where live answers differ from the page: .json, .html, .xml (JUnit), .sarif, .txt.",
        _report,
        metavar="FILE",
        completes="file",
    )
    ready_file: Path | None = _option(
        None,
        "Write a JSON object here once requests are accepted.",
        _file,
        metavar="FILE",
        completes="file",
        commands=_PROXY,
    )
    journal: int = _option(
        10_000,
        "How many requests are kept for the Inbox, `ringback requests` and /ringback/; 0 keeps none.",
        _Number(int, 0),
        metavar="N",
        commands=_PROXY,
    )
    journal_file: Path | None = _option(
        None,
        "Write each request here too, as JSON lines without secrets.",
        _output,
        metavar="FILE",
        completes="file",
        commands=_PROXY,
    )
    ui: bool = _option(
        False, "Serve the Inbox at /ringback/. It is always served; this only says so.", commands=("serve",)
    )
    open: bool = _option(False, "Open the Inbox in the browser.", commands=("serve",))
    web: bool = _option(
        False,
        "Run mitmweb with the addon instead, which shows every flow in a browser of its own.",
        commands=("serve",),
    )
    web_port: int = _option(8081, "Port of mitmweb's page.", _PORT, commands=("serve",))
    callbacks: bool = _option(
        False,
        "Report statuses to a request's StatusCallback: to loopback and private addresses alone. URLs that "
        "are not public pass then.",
    )
    callbacks_to: tuple[str, ...] = _option(
        (),
        "Report to this host too, wherever it is. May be given several times.",
        _host,
        metavar="HOST",
    )
    callbacks_delay: float = _option(
        0.2,
        "How long to wait before each status.",
        _Number(float, 0, 3600),
        metavar="SECONDS",
    )
    callbacks_hold: bool = _option(
        False,
        "Stop at `sent`, for calls at `ringing`, until the Inbox or the API says how it ends.",
    )
    traces: bool = _option(
        False,
        "Export a span for each answer by OpenTelemetry; OTEL_... variables say where (extra `traces`).",
        commands=_PROXY,
    )
    log_format: LogFormat = _option(
        "text",
        "Form of the line for each request; json prints it also where no person reads.",
        _one_of(LOG_FORMATS),
        choices=LOG_FORMATS,
        commands=_PROXY,
    )
    verbose: bool = _option(
        False, "Print a line for each request; `serve` does so on a terminal.", short="-v", commands=_PROXY
    )
    allow_none: bool = _option(False, "Do not fail when no Twilio request came.", commands=("run",))
    quiet: bool = _option(
        False, "No summary unless something is wrong, no line for each request.", short="-q", commands=_PROXY
    )
    linger: float = _option(
        10.0,
        "How long to answer programs that COMMAND leaves running, such as a daemon, after it has ended.",
        _Number(float, 0),
        metavar="SECONDS",
        commands=("run",),
    )

    mount_namespace: bool = _option(
        False,
        "Put the CA among the system's roots for COMMAND, and name each program that goes past the proxy. "
        "Needs root on Linux.",
        commands=("run",),
    )

    witness: Witness = _option(
        "auto",
        "Stop and name each program that asks for Twilio's address, in any language, on Linux: `auto` as "
        "root or where COMMAND can gain no privileges anyway; `always` for everybody, and sudo fails in it.",
        _one_of(WITNESS),
        choices=WITNESS,
        commands=("run",),
    )

    password: str | None = field(default=None, repr=False)
    credentials: Credentials = field(default_factory=_any_credentials)
    egress: Egress = field(default_factory=Egress)

    @property
    def routes(self) -> Routes:
        """The routes to the live API and to other hosts."""
        return Routes(mock_upstream(self.upstream) if self.upstream else None, self.egress)

    @property
    def timeouts(self) -> Timeouts:
        """The time limits for the live API."""
        return Timeouts(self.connect_timeout, self.timeout)

    def addon_options(self) -> dict[str, Any]:
        """Return the same as options of mitmproxy."""
        found: dict[str, Any] = {}
        for option in options_of("addon"):
            value = getattr(self, option.name)
            if option.is_list:
                value = [str(one) for one in value]
            elif isinstance(value, Path | float):
                value = f"{value:g}" if isinstance(value, float) else str(value)
            found[option.addon_name] = value
        return found


OPTIONS: Final[Mapping[str, Option]] = {
    one.name: Option(one.name, **one.metadata["option"]) for one in fields(Settings) if one.metadata
}


def options_of(command: Command) -> list[Option]:
    """Return the options that `command` has, in the order of `--help`."""
    return [option for option in OPTIONS.values() if command in option.commands]


# -- sources


@dataclass(frozen=True)
class Outside:
    """The values that the environment and the configuration file give, each read when it is asked for.

    Args:
        environ: The environment.
        file: The configuration file, or None.
        values: The file's content by option name.
        directory: The directory where the file's relative paths begin; None where that is the working one.
    """

    environ: Mapping[str, str]
    file: Path | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    directory: Path | None = None

    def has(self, option: Option) -> Literal["environment", "file"] | None:
        """Say which of the two gives `option` a value; an empty variable gives none."""
        if self.environ.get(option.variable):
            return "environment"
        return "file" if option.name in self.values else None

    def value(self, option: Option) -> Any:
        """Return the value of `option`, or its default.

        Raises:
            SettingsError: The value is refused; the error names the variable, or the file and the key.
        """
        source = self.has(option)
        if source == "environment":
            return option.from_variable(self.environ[option.variable])
        if source == "file":
            place = f"{self.file}: {option.key}"
            return option.from_file(self.values[option.name], place, self.directory)
        return option.default


def outside(environ: Mapping[str, str], cwd: Path) -> Outside:
    """Find the configuration file and check its keys.

    Raises:
        SettingsError: The file cannot be read, is no TOML, or has a key that is no option.
    """
    for directory in (cwd, *cwd.parents):
        try:
            shared = directory.stat().st_mode & stat.S_ISVTX
        except OSError:
            continue
        if shared:  # such as /tmp: anybody may have put a file there
            continue
        for name in (FILE, PROJECT_FILE):
            file = directory / name
            table = _table(file)
            if table is None:
                continue
            shown = Path(name) if directory == cwd else file
            return Outside(environ, shown, _known(table, shown), None if directory == cwd else directory)
    return Outside(environ)


def _table(file: Path) -> dict[str, object] | None:
    """Read the options of `file`; None where it is missing, or a pyproject.toml without any."""
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except OSError as error:
        raise SettingsError(str(file), error.strerror or "it cannot be read") from None
    if file.name == PROJECT_FILE and b"ringback" not in data:
        return None
    import tomllib  # noqa: PLC0415 - most projects have no such file

    try:
        table = tomllib.loads(data.decode("utf-8"))
    except ValueError as error:  # of the TOML, or of its bytes
        if file.name == PROJECT_FILE and b"[tool.ringback" not in data:
            return None  # its other readers report it
        raise SettingsError(str(file), str(error)) from None
    if file.name == FILE:
        return table
    found = (table.get("tool") or {}).get("ringback")
    if found is not None and not isinstance(found, dict):
        raise SettingsError(f"{file}: tool.ringback", "it is not a table; write [tool.ringback]")
    return found


def _known(table: Mapping[str, object], file: Path) -> dict[str, object]:
    """Return the values by option name; a key may be written with hyphens or underscores."""
    found = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name in OPTIONS:
            found[name] = value
            continue
        secret = f"{PREFIX}{name.upper()}"
        if secret in SECRETS:
            raise SettingsError(f"{file}: {key}", f"no secret belongs in a file: set {secret} instead")
        raise SettingsError(f"{file}: {key}", f"there is no such option; {nearest(name)}")
    return found


def nearest(name: str) -> str:
    """Return advice for a mistyped option name: the nearest option, or all of them."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for a mistake

    near = get_close_matches(name.replace("_", "-"), [option.key for option in OPTIONS.values()], 1)
    return (
        f"did you mean {near[0]}?"
        if near
        else f"there are {', '.join(sorted(o.key for o in OPTIONS.values()))}"
    )


def load(
    given: Mapping[str, object],
    environ: Mapping[str, str],
    cwd: Path,
    *,
    command: Command = "serve",
    own_ports: Collection[int] = (),
) -> Settings:
    """Return the settings in force.

    Args:
        given: The values of the command line by option name: text, True for a flag, several for a list; or
            values that were read already.
        environ: The environment.
        cwd: The working directory, absolute.
        command: The command whose options are looked at.
        own_ports: Ports that this proxy listens on, so that it is not its own egress proxy.

    Raises:
        SettingsError: A value is refused.
    """
    found = outside(environ, cwd)
    values = {
        option.name: option.from_text(given[option.name], option.flag)
        if option.name in given
        else found.value(option)
        for option in options_of(command)
    }
    return with_environment(values, environ, own_ports)


def with_environment(
    values: Mapping[str, Any], environ: Mapping[str, str], own_ports: Collection[int] = ()
) -> Settings:
    """Make settings of the options' values, with the secrets and the egress proxy of the environment.

    Raises:
        SettingsError: A secret is incomplete, or has characters that no header carries.
    """
    from ringback.contract import Credentials  # noqa: PLC0415 - it takes long to import

    for name in SECRETS:
        if not environ.get(name, "").isascii():
            raise SettingsError("", f"{name} has characters that are not ASCII")
    sid, token = environ.get(SID_VARIABLE) or None, environ.get(TOKEN_VARIABLE) or None
    if (sid is None) != (token is None):
        raise SettingsError("", f"set both {SID_VARIABLE} and {TOKEN_VARIABLE}, or neither")
    named = values.get("egress_proxy")
    own = {port for name in ("port", "reverse", "transparent") if (port := values.get(name))} | set(own_ports)
    return Settings(
        **values,
        password=environ.get(PASSWORD_VARIABLE) or None,
        credentials=Credentials(sid, token),
        egress=Egress.of(named) if named else Egress.from_environment(own),
    )

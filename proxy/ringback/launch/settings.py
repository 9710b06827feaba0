"""The words that the runtimes' tables are written in."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ringback.launch.bundles import Bundles


@dataclass(frozen=True)
class Proxy:
    """Where the proxy listens and how a client names itself to it.

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
    """Where this machine reaches what listens on `host`, which can stand for all its addresses."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not listened on


@dataclass(frozen=True)
class Context:
    """What a setting's value can depend on.

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


SHIMS = Path(__file__).parent / "shims"  # importlib.resources takes longer to import than all of them to read

Value: TypeAlias = Callable[[Context, str], str | None]


@dataclass(frozen=True)
class Setting:
    """One environment variable.

    Attributes:
        name: The variable.
        value: From the context and the parent's value (empty if unset) to the child's; None takes the
            variable away.
        why: Who reads it, and why it is needed.
    """

    name: str
    value: Value
    why: str


def bundle(name: str, why: str) -> Setting:
    """A variable whose file replaces the trust store: what it named before, or the usual roots, and ours."""
    return Setting(name, lambda context, old: str(context.bundles.replacing(name, old)), why)


# What some runtime takes for something else in a directory's name: Java (quotes, = and \\, under some locales
# all but ASCII), PHP's ini files (" and $), lists in variables (:).
_UNUSABLE = re.compile(r"""[^ -~]|["'$:=\\]""")


def launch_base(warn: Callable[[str], None]) -> Path:
    """The directory for launch directories: the user's temporary one, if every runtime can be told its name.

    Args:
        warn: Takes a sentence for the person who runs the program, if it is another.
    """
    wanted = tempfile.gettempdir()
    odd = _UNUSABLE.search(wanted)
    others = (place for place in ("/tmp", "/var/tmp") if os.access(place, os.W_OK | os.X_OK))  # noqa: S108 - shared
    other = next(others, None) if odd else None
    if odd is None or other is None:
        return Path(wanted)
    warn(f"TMPDIR {wanted!r} has a {odd[0]!r} that not every runtime can be told: using {other}")
    return Path(other)


def place(path: Path, content: bytes) -> Path:
    """Write a file of a launch in one step: with `ringback env`, a program may be reading it already."""
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).replace(path)
        path.chmod(0o644)
    return path


def shim(context: Context, runtime: str, name: str) -> Path:
    """Copy the shim `name` into the launch's directory, beside what it reads there."""
    return place(context.directory / runtime / name, (SHIMS / name).read_bytes())


def quoted(text: str, quotable: str = ' "\\') -> str:
    """`text` as NODE_OPTIONS and JAVA_TOOL_OPTIONS read it: in double quotes if it needs them."""
    if not any(character in text for character in quotable):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

"""The local CA: two certificates, made in memory and kept on disk for their owner alone, renewed in time.

Two levels, because Java ignores the name constraints of a trust anchor: clients trust the root, the
intermediate signs the leaves, and both may only vouch for names below twilio.com and for no IP address. The
root's key is dropped as soon as it has signed the intermediate.

Layout below the directory of the CA::

    current -> 20260102T030405-1a2b3c4d   the one in use; swapped by renaming a symbolic link
    20260102T030405-1a2b3c4d/             mitmproxy's confdir, never changed once it is there
        mitmproxy-ca.pem                  intermediate key, intermediate, root (0600)
        mitmproxy-ca-cert.pem             the root: the one certificate that clients trust
        mitmproxy-dhparam.pem             so that mitmproxy has nothing of its own to write here
    checked                               what was found when these files were checked, with their digest
    lock                                  held while one is made

The certificates themselves are made and checked in `certificates.py`, which takes a quarter of the time of a
start to import; a CA that was checked before needs no more than the digest of its files.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ringback import __version__, system
from ringback.launch.directory import private_temporary, ringback_home
from ringback.net import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


MITMPROXY_PEM = "mitmproxy-ca.pem"
ROOT_PEM = "mitmproxy-ca-cert.pem"
DHPARAM_PEM = "mitmproxy-dhparam.pem"
CURRENT = "current"
CHECKED = "checked"
LOCK = "lock"
EXPORT_NAMES: Final = ("der", "jks", "p12", "pem")
TEXT_FORMATS: Final = frozenset({"pem"})

RENEW_BEFORE = timedelta(days=30)

# ffdhe2048 of RFC 7919. mitmproxy writes its own file when there is none, without a lock, and another process
# that starts at that moment reads half of it.
FFDHE2048 = b"""\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


class AuthorityError(Exception):
    """An error: the CA cannot be used. The message names the file and what to do about it."""


@dataclass(frozen=True)
class Authority:
    """The CA in use.

    Attributes:
        directory: mitmproxy's confdir. Renewing makes another, so a running proxy keeps the one it has.
        root_pem: The certificate that clients trust, of exactly this CA.
        mitmproxy_pem: Intermediate key, intermediate, root.
        lasting_pem: The root by a path that follows every renewal; for people and for settings files.
        fingerprint: SHA-256 of the root, upper-case hex pairs joined by colons, as openssl prints it.
        not_before: Start of validity, aware, UTC.
        not_after: End of validity, aware, UTC.
        warnings: Sentences for the person who runs the program.
    """

    directory: Path
    root_pem: Path
    mitmproxy_pem: Path
    lasting_pem: Path
    fingerprint: str
    not_before: datetime
    not_after: datetime
    warnings: tuple[str, ...] = ()


def default_directory() -> Path:
    """Return the CA's directory: below RINGBACK_HOME if that is set, else in the user's data directory."""
    home = ringback_home()
    if home is not None:
        return home / "ca"
    import platformdirs  # noqa: PLC0415 - not where RINGBACK_HOME is set

    return platformdirs.user_data_path("ringback").absolute() / "ca"


def ensure_authority(directory: Path | None = None, *, now: datetime | None = None) -> Authority:
    """Return the CA of a directory, made or renewed when needed; safe under concurrent first use.

    Args:
        directory: Where it lives. None is `default_directory()`, or a private temporary directory (with a
            warning) where the user has no home or cannot write to it.
        now: The time, aware; the system's clock if None.

    Raises:
        AuthorityError: Its key is somebody else's or readable by others, or the directory cannot be written.
    """
    now = now or datetime.now(UTC)
    if directory is not None:
        return _ensure(directory, now)
    return _where_possible(_ensure, now)


def rotate_authority(directory: Path | None = None, *, now: datetime | None = None) -> Authority:
    """Replace the CA by a new one, whatever state the old one is in; `directory` as in `ensure_authority`.

    A proxy that is running keeps the old one until it ends.

    Raises:
        AuthorityError: The directory is somebody else's or cannot be written.
    """
    now = now or datetime.now(UTC)
    return _rotate(directory, now) if directory else _where_possible(_rotate, now)


def _where_possible(act: Callable[[Path, datetime], Authority], now: datetime) -> Authority:
    """Act on the default directory, or on a temporary one where the user has none that can be written."""
    if os.environ.get("RINGBACK_HOME") or _has_home():
        try:
            return act(default_directory(), now)
        except _NotWritableError as error:
            if os.environ.get("RINGBACK_HOME"):
                raise
            why = str(error)
    else:
        why = "this user has no home directory"
    substitute = private_temporary()
    warning = (
        f"{why}; the CA lives in {substitute} for now. Set RINGBACK_HOME to a directory that can be written."
    )
    found = act(substitute, now)
    return replace(found, warnings=(warning, *found.warnings))


def _rotate(directory: Path, now: datetime) -> Authority:
    with _locked(directory):
        _make(directory, now)
        found = _current(directory, now)
    if not isinstance(found, Authority):
        raise AuthorityError(found)
    return found


class _NotWritableError(AuthorityError):
    pass


def _ensure(directory: Path, now: datetime) -> Authority:
    found = _current(directory, now)
    if isinstance(found, Authority):
        return found
    with _locked(directory):
        # Another process may have made it while this one waited.
        again = _current(directory, now)
        if isinstance(again, Authority):
            return again
        _make(directory, now)
        made = _current(directory, now)
    if not isinstance(made, Authority):
        raise AuthorityError(made)
    return replace(made, warnings=(found,)) if found else made


def _current(directory: Path, now: datetime) -> Authority | str:
    """Read the CA in use, or return the reason for a new one (empty when there is none yet)."""
    link = directory / CURRENT
    confdir = link.resolve()
    key_file = confdir / MITMPROXY_PEM
    root_pem = confdir / ROOT_PEM
    try:
        pem = _read_private(key_file)
        root = root_pem.read_bytes() if root_pem.is_file() else None
        digest = sha256(pem + b"\0" + (root or b"")).hexdigest()
        known = _checked(directory, digest)
        found = known or _validity(pem)
    except FileNotFoundError:
        return ""
    except PermissionError:
        raise AuthorityError(
            f"{key_file} cannot be read: it holds the key of Ringback's CA and belongs to another user. "
            f"Set RINGBACK_HOME to a directory of your own."
        ) from None
    except (ValueError, TypeError) as error:
        return f"{key_file} {str(error) or 'is damaged'}; a new CA was made"
    start, end = found.start, found.end
    if start > now or end - now < RENEW_BEFORE:
        return _why_renewed(start, end, now)
    if root is None or not (confdir / DHPARAM_PEM).is_file():
        return f"{confdir} is not complete; a new CA was made"
    if known is None:
        if root != found.root:
            return f"{root_pem} is damaged; a new CA was made: trust it where you trusted the old one"
        _keep_checked(directory, digest, found)
    return Authority(
        directory=confdir,
        root_pem=root_pem,
        mitmproxy_pem=key_file,
        lasting_pem=link / ROOT_PEM,
        fingerprint=found.fingerprint,
        not_before=start,
        not_after=end,
    )


@dataclass(frozen=True)
class _Validity:
    """Facts that a check of the CA's files has found.

    Attributes:
        fingerprint: As in `Authority`.
        start: The latest beginning of its certificates, aware, UTC.
        end: The earliest end.
        root: The root as PEM; empty where the check was an earlier one.
    """

    fingerprint: str
    start: datetime
    end: datetime
    root: bytes = b""


def _validity(pem: bytes) -> _Validity:
    """Check the text of `mitmproxy-ca.pem`.

    Raises:
        ValueError: It is no CA of Ringback's.
    """
    from ringback.launch import certificates  # noqa: PLC0415 - see the module

    intermediate, root = certificates.read_certificates(pem)
    return _Validity(
        certificates.fingerprint(root),
        max(intermediate.not_valid_before_utc, root.not_valid_before_utc),
        min(intermediate.not_valid_after_utc, root.not_valid_after_utc),
        certificates.EXPORT_FORMATS["pem"](root),
    )


def _checked(directory: Path, digest: str) -> _Validity | None:
    """Return what this version of Ringback found in files of this digest, if it has checked them before."""
    try:
        noted = json.loads(_read_private(directory / CHECKED))
        if (noted["version"], noted["digest"]) != (__version__, digest):
            return None
        start, end = (datetime.fromisoformat(noted[name]) for name in ("start", "end"))
        return _Validity(str(noted["fingerprint"]), start.astimezone(UTC), end.astimezone(UTC))
    except (OSError, ValueError, TypeError, KeyError, AuthorityError):
        return None  # then they are checked


def _keep_checked(directory: Path, digest: str, found: _Validity) -> None:
    """Note that files of this digest are a good CA; where nothing can be written they are always checked."""
    noted = {
        "version": __version__,
        "digest": digest,
        "fingerprint": found.fingerprint,
        "start": found.start.isoformat(),
        "end": found.end.isoformat(),
    }
    with suppress(OSError):
        write_atomically(directory / CHECKED, json.dumps(noted).encode() + b"\n", mode=0o600)


def _why_renewed(start: datetime, end: datetime, now: datetime) -> str:
    """Explain why a CA of another time is replaced; nothing while it is still good."""
    if start > now:  # made while the clock was ahead
        why = f"begins on {start:%Y-%m-%d %H:%M} UTC, after what the clock says"
    elif end <= now:
        why = f"ended on {end:%Y-%m-%d}"
    else:
        return ""
    return f"the CA {why}; a new one was made: trust it where you trusted the old one"


def _read_private(path: Path) -> bytes:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not system.is_mine(status):
            raise AuthorityError(
                f"{path} holds the key of Ringback's CA and belongs to user {status.st_uid}, not to you "
                f"(user {system.user_id()}). Set RINGBACK_HOME to a directory of your own."
            )
        if system.user_id() is not None and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise AuthorityError(
                f"{path} holds the key of Ringback's CA and others may use it (mode "
                f"{stat.S_IMODE(status.st_mode):04o} instead of 0600). "
                f"Make a new one with `ringback ca --rotate`."
            )
        return file.read()


def _make(directory: Path, now: datetime) -> None:
    """Write a new CA and make it the current one. The caller holds the lock."""
    from ringback.launch import certificates  # noqa: PLC0415 - see the module

    chain = certificates.make_chain(now)
    previous = (directory / CURRENT).resolve().name
    name = f"{now.astimezone(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=directory))
    for file, content, mode in (
        (MITMPROXY_PEM, chain.for_mitmproxy(), 0o600),
        (ROOT_PEM, certificates.EXPORT_FORMATS["pem"](chain.root), 0o644),
        (DHPARAM_PEM, FFDHE2048, 0o644),
    ):
        write_atomically(new / file, content, mode=mode, durable=True)
    new.rename(directory / name)
    system.point(directory / CURRENT, name)
    # The one before stays, because a running proxy goes on reading it.
    keep = {name, previous}
    for old in directory.iterdir():
        if old.is_dir() and not old.is_symlink() and old.name not in keep:
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check_directory(directory)
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | system.OPEN, 0o600)
    except OSError as error:
        raise _NotWritableError(f"{directory} cannot be written ({error.strerror})") from None
    try:
        system.lock(descriptor)
        try:
            yield
        except OSError as error:
            raise _NotWritableError(f"{directory} cannot be written ({error.strerror})") from None
    finally:
        os.close(descriptor)


def _check_directory(directory: Path) -> None:
    status = directory.stat()
    if not system.is_mine(status):
        raise AuthorityError(
            f"{directory} belongs to user {status.st_uid}, not to you (user {system.user_id()}). "
            f"Set RINGBACK_HOME to a directory of your own."
        )
    if system.user_id() is not None and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise AuthorityError(
            f"others may write to {directory} (mode {stat.S_IMODE(status.st_mode):04o}), so they could "
            f"replace Ringback's CA. Take that right away: chmod go-w '{directory}'"
        )


def _has_home() -> bool:
    """Report whether there is a home at all: service users often have one that does not exist."""
    if os.environ.get("XDG_DATA_HOME"):
        return True
    try:
        return Path.home().is_dir() and Path.home() != Path("/")
    except RuntimeError:
        return False

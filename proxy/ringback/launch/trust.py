"""Trust stores: PEM bundles for the CA variables, which mostly replace the store, and JKS for Java."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from ringback.launch.directory import write_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DOMAIN = "twilio.com"  # the only one that our CA may vouch for
JKS_PASSWORD = "changeit"  # noqa: S105 - every JDK's own; it protects nothing, the store holds certificates only

_CERTIFICATE = re.compile(
    rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]+-----END (?:TRUSTED )?CERTIFICATE-----"
)
_LARGEST = 64 * 1024 * 1024  # bytes of one file of roots; the usual one has 200 KB
_JKS_MAGIC = 0xFEEDFEED
_JKS_VERSION = 2
_JKS_TRUSTED = 2


@dataclass(frozen=True)
class Bundles:
    """A writer of trust bundles in a launch's directory.

    Attributes:
        directory: The directory of the bundles.
        root: The CA's root certificate.
        warn: Takes a sentence for the person who runs the program.
    """

    directory: Path
    root: Path
    warn: Callable[[str], None]

    @property
    def default(self) -> Path:
        """The bundle for whoever named no roots of his own: the system's, certifi's and ours."""
        path = self.directory / "bundle.pem"
        if not path.exists():
            self._write(path, _usual_roots())
        return path

    def replacing(self, name: str, old: str) -> Path:
        """Write the bundle of what the variable `name` holds (`old`: a file, a directory, empty) and ours."""
        return self._extended(name, old) or self.default

    def adding(self, name: str, old: str) -> Path:
        """Do as `replacing`, for a variable that adds to the trust store: ours alone where it was empty."""
        return self._extended(name, old) or self.root

    def _extended(self, name: str, old: str) -> Path | None:
        if not old:
            return None
        source = Path(old).absolute()
        path = self.directory / f"bundle-{hashlib.sha256(bytes(source)).hexdigest()[:8]}.pem"
        if path.exists():
            return path
        try:
            found = read_pem_blocks(source)
        except OSError as error:
            self.warn(
                f"{name} names {old}, which cannot be read ({error.strerror}); Ringback's bundle replaces it"
            )
            return None
        self._write(path, found)
        return path

    def _write(self, path: Path, blocks: Iterable[bytes]) -> None:
        write_file(path, bundle_of(blocks, self.root.read_bytes()))


def bundle_of(blocks: Iterable[bytes], root: bytes) -> bytes:
    """Join PEM blocks and the PEM text `root` into one PEM text, each block once."""
    return b"\n".join(dict.fromkeys([*blocks, *_blocks(root)])) + b"\n"


def usual_bundle(root: bytes) -> bytes:
    """Join the system's roots, certifi's and the PEM text `root` into one PEM text."""
    return bundle_of(_usual_roots(), root)


def read_pem_blocks(source: Path) -> list[bytes]:
    """Read the PEM certificates of a file, or of all files in a directory as OpenSSL and requests take them.

    Raises:
        OSError: There is no such thing, or it cannot be read.
    """
    if not source.is_dir():
        return _blocks(_read(source))
    # The same certificate is there under its own name and under its hash.
    files = dict.fromkeys(entry.resolve() for entry in sorted(source.iterdir()))
    return [block for file in files if file.is_file() for block in _blocks(_read(file))]


def _read(file: Path) -> bytes:
    """Read a regular file of bearable size: a pipe would be waited for, and a device has no end."""
    if not file.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))
    if not file.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(file))
    if file.stat().st_size > _LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(file))
    return file.read_bytes()


def _usual_roots() -> list[bytes]:
    # The system's roots can hold a company's own CA, certifi's are what requests and httpx would have used.
    system = ssl.get_default_verify_paths().openssl_cafile
    found = [Path(system), Path("/etc/ssl/certs/ca-certificates.crt"), Path(certifi.where())]
    return [block for file in found if file.is_file() for block in _blocks(_read(file))]


def _blocks(text: bytes) -> list[bytes]:
    return _CERTIFICATE.findall(text)


def jks(certificates: Iterable[bytes]) -> bytes:
    """Make a Java trust store (JKS) of certificates in DER, each aliased by its number, with `JKS_PASSWORD`.

    Every JDK reads JKS, with its password or without; a PKCS#12 store needs an attribute of Oracle's on each
    certificate that openssl cannot write and cryptography writes from version 45 on only. The format: magic,
    version 2, entries (tag 2 is a trusted certificate), SHA-1 over the password in UTF-16, "Mighty Aphrodite"
    and all of the data.
    """
    entries = [
        struct.pack(">I", _JKS_TRUSTED)
        + _jks_text(f"ringback-{number}")
        + struct.pack(">Q", 0)
        + _jks_text("X.509")
        + struct.pack(">I", len(der))
        + der
        for number, der in enumerate(certificates)
    ]
    data = struct.pack(">III", _JKS_MAGIC, _JKS_VERSION, len(entries)) + b"".join(entries)
    digest = hashlib.sha1(JKS_PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + data)  # noqa: S324 - the format's
    return data + digest.digest()


def _jks_text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded

"""Trust bundles: most CA variables replace the trust store, so each names its old roots and ours."""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from ringback.launch.settings import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_CERTIFICATE = re.compile(
    rb"-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]+-----END (?:TRUSTED )?CERTIFICATE-----"
)


@dataclass(frozen=True)
class Bundles:
    """Writes bundles into a launch's directory.

    Attributes:
        directory: Where the bundles go.
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
        """A bundle of what the variable `name` holds (`old`, a file or a directory, or empty) and ours."""
        return self._extended(name, old) or self.default

    def adding(self, name: str, old: str) -> Path:
        """As `replacing`, for a variable that adds to the trust store: ours alone where it was empty."""
        return self._extended(name, old) or self.root

    def _extended(self, name: str, old: str) -> Path | None:
        if not old:
            return None
        source = Path(old).absolute()
        path = self.directory / f"bundle-{hashlib.sha256(bytes(source)).hexdigest()[:8]}.pem"
        if path.exists():
            return path
        try:
            found = read_certificates(source)
        except OSError as error:
            self.warn(
                f"{name} names {old}, which cannot be read ({error.strerror}); Ringback's bundle replaces it"
            )
            return None
        self._write(path, found)
        return path

    def _write(self, path: Path, blocks: Iterable[bytes]) -> None:
        text = b"\n".join(dict.fromkeys([*blocks, *_blocks(self.root.read_bytes())]))
        place(path, text + b"\n")


def read_certificates(source: Path) -> list[bytes]:
    """The PEM blocks of a file, or of all files in a directory as OpenSSL and requests take them.

    Raises:
        OSError: There is no such thing, or it cannot be read.
    """
    if not source.is_dir():
        return _blocks(source.read_bytes())
    # The same certificate is there under its own name and under its hash.
    files = dict.fromkeys(entry.resolve() for entry in sorted(source.iterdir()))
    return [block for file in files if file.is_file() for block in _blocks(file.read_bytes())]


def _usual_roots() -> list[bytes]:
    # The system's roots can hold a company's own CA, certifi's are what requests and httpx would have used.
    system = ssl.get_default_verify_paths().openssl_cafile
    found = [Path(system), Path("/etc/ssl/certs/ca-certificates.crt"), Path(certifi.where())]
    return [block for file in found if file.is_file() for block in _blocks(file.read_bytes())]


def _blocks(text: bytes) -> list[bytes]:
    return _CERTIFICATE.findall(text)

"""Put the CA of a Kubernetes secret in place, so that all replicas have the same: `place_ca.py DIRECTORY`.

DIRECTORY has `tls.key`, `tls.crt` and `ca.crt` (an intermediate and its root, as cert-manager writes them),
or `mitmproxy-ca.pem` and `mitmproxy-ca-cert.pem` (of a directory that `ringback ca` made). Both certificates
must be limited to twilio.com, as Ringback's own are. Exit code 1 if not: nothing is made instead.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from ringback.launch.ca import (
    CURRENT,
    DHPARAM_PEM,
    FFDHE2048,
    MITMPROXY_PEM,
    RENEW_BEFORE,
    ROOT_PEM,
    default_directory,
)
from ringback.launch.certificates import read_certificates
from ringback.net import write_atomically


def main() -> None:
    """Place the CA of the first argument's directory."""
    given = Path(sys.argv[1])
    names = (MITMPROXY_PEM,) if (given / MITMPROXY_PEM).is_file() else ("tls.key", "tls.crt", "ca.crt")
    try:
        pem = b"".join([(given / name).read_bytes().strip() + b"\n" for name in names])
        intermediate, root = read_certificates(pem)
    except (OSError, ValueError, TypeError) as error:
        sys.exit(f"the CA in {given} cannot be used: {error}")
    end = min(intermediate.not_valid_after_utc, root.not_valid_after_utc)
    if end - datetime.now(UTC) < RENEW_BEFORE:
        sys.exit(f"the CA in {given} ends on {end:%Y-%m-%d}: give the secret a new one")
    directory = default_directory()
    placed = directory / "given"
    placed.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(placed / MITMPROXY_PEM, pem, mode=0o600)
    write_atomically(placed / ROOT_PEM, root.public_bytes(Encoding.PEM))
    write_atomically(placed / DHPARAM_PEM, FFDHE2048)
    link = directory / CURRENT
    link.unlink(missing_ok=True)
    link.symlink_to("given")


if __name__ == "__main__":
    main()

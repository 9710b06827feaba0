"""Go: net/http reads HTTPS_PROXY and SSL_CERT_FILE by itself; its test cache is what needs care."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ringback.launch.settings import Setting

if TYPE_CHECKING:
    from ringback.launch.settings import Context

UNCACHED = "-count=1"


def _flags(context: Context, old: str) -> str:
    flags = old or _configured(context)
    if any(flag.lstrip("-").startswith("count=") for flag in flags.split()):
        return flags
    return f"{flags} {UNCACHED}".strip()


def _configured(context: Context) -> str:
    """GOFLAGS of `go env -w`, which the variable would hide."""
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


SETTINGS = (
    Setting("GOFLAGS", _flags, "`go test` answers a package that passed from its cache and sends nothing"),
)

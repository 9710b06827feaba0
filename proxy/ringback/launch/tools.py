"""Command line tools that people call Twilio's API with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ringback.launch.settings import Setting, bundle, place

if TYPE_CHECKING:
    from ringback.launch.settings import Context


def _wgetrc(context: Context, old: str) -> str:
    """Wget knows no variable for a CA; its settings file can name one, after what the user's own says."""
    home = context.parent.get("HOME")
    own = Path(old) if old else Path(home, ".wgetrc") if home else None
    text = own.read_bytes() if own and own.is_file() else b""
    line = f"\nca_certificate = {context.bundles.default}\n".encode()
    return str(place(context.directory / "wgetrc", text + line))


SETTINGS = (
    bundle("CURL_CA_BUNDLE", "curl; requests too where REQUESTS_CA_BUNDLE is not set"),
    bundle("PERL_LWP_SSL_CA_FILE", "Perl's LWP"),
    bundle("DENO_CERT", "Deno, added to its own roots"),
    Setting("WGETRC", _wgetrc, "wget"),
)

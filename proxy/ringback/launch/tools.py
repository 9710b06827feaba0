"""Command line tools that people call Twilio's API with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ringback.launch.settings import Setting, bundle

if TYPE_CHECKING:
    from ringback.launch.settings import Context


def _wgetrc(context: Context, old: str) -> str:
    """Wget knows no variable for a CA; its settings file can name one, after what the user's own says."""
    home = context.parent.get("HOME")
    own = Path(old) if old else Path(home, ".wgetrc") if home else None
    text = own.read_text(errors="surrogateescape") if own and own.is_file() else ""
    file = context.directory / "wgetrc"
    file.write_text(f"{text}\nca_certificate = {context.bundles.default}\n", errors="surrogateescape")
    return str(file)


SETTINGS = (
    bundle("CURL_CA_BUNDLE", "curl; requests too where REQUESTS_CA_BUNDLE is not set"),
    bundle("PERL_LWP_SSL_CA_FILE", "Perl's LWP"),
    bundle("DENO_CERT", "Deno, added to its own roots"),
    Setting("WGETRC", _wgetrc, "wget"),
)

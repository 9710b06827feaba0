"""Ruby: twilio-ruby 5 and newer (Faraday) and Net::HTTP read what `ringback.launch.common` sets.

Net::HTTP looks at http_proxy alone, also for https; both take their roots from SSL_CERT_FILE through OpenSSL.
twilio-ruby 4 names a file of roots of its own, which no variable changes; `shims/openssl.rb` adds ours to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringback.launch.settings import Setting, shim

if TYPE_CHECKING:
    from ringback.launch.settings import Context


def _library(context: Context, old: str) -> str:
    """Ours comes first: it hides openssl.rb once, and takes itself off the path."""
    place = shim(context, "ruby", "openssl.rb").parent
    return f"{place}:{old}" if old else str(place)


SETTINGS = (
    Setting(
        "RUBYLIB", _library, "carries the openssl.rb without which twilio-ruby 4 trusts no CA but its own"
    ),
)

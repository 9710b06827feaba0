"""Ruby: twilio-ruby's Faraday and Net::HTTP read what `ringback.launch.common` sets.

Net::HTTP looks at http_proxy alone, also for https; both take their roots from SSL_CERT_FILE through OpenSSL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringback.launch.settings import Setting

SETTINGS: tuple[Setting, ...] = ()

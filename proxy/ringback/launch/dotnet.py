""".NET: twilio-csharp's HttpClient reads what `ringback.launch.common` sets.

HTTPS_PROXY by itself; on Linux its roots come from SSL_CERT_FILE and SSL_CERT_DIR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringback.launch.settings import Setting

SETTINGS: tuple[Setting, ...] = ()

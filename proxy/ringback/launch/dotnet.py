""".NET: twilio-csharp's HttpClient reads what `ringback.launch.common` sets.

HTTPS_PROXY and NO_PROXY by itself, and so does HttpWebRequest; on Linux its roots come from SSL_CERT_FILE and
SSL_CERT_DIR. Seen with .NET Core 3.1. Mono's HttpClient takes the same proxy, its HttpWebRequest http_proxy
for https too; but Mono has a trust store in the user's home and nothing that leads to another: that is for
the user's own hand (`cert-sync`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ringback.launch.settings import Setting

SETTINGS: tuple[Setting, ...] = ()

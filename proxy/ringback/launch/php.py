"""PHP: libcurl and the streams take their CA from ini settings alone.

twilio-php 4 takes an HTTP proxy's reply to CONNECT for the answer; `shims/prepend.php` gives it SOCKS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringback.launch.settings import Setting, place, shim

if TYPE_CHECKING:
    from ringback.launch.settings import Context

INI = 'curl.cainfo = "{bundle}"\nopenssl.cafile = "{bundle}"\n'
PREPEND = 'auto_prepend_file = "{prepend}"\n'


def _scan(context: Context, old: str) -> str:
    """An empty element, as the leading colon makes one, stands for the directory that PHP was built with."""
    lines = INI.format(bundle=context.bundles.default)
    proxy = context.proxy
    if proxy.socks_port is not None:  # there is none beside a password
        prepend = shim(context, "php", "prepend.php")
        host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
        place(prepend.with_name("socks"), f"socks5h://{host}:{proxy.socks_port}".encode())
        lines += PREPEND.format(prepend=prepend)
    ini = place(context.directory / "php" / "ringback.ini", lines.encode())
    return f"{old}:{ini.parent}"


SETTINGS = (Setting("PHP_INI_SCAN_DIR", _scan, "ext-curl (twilio-php, Symfony) and PHP's own streams"),)

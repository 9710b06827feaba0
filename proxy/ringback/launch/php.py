"""PHP: libcurl and the streams take their CA from ini settings alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringback.launch.settings import Setting, place

if TYPE_CHECKING:
    from ringback.launch.settings import Context

INI = 'curl.cainfo = "{bundle}"\nopenssl.cafile = "{bundle}"\n'


def _scan(context: Context, old: str) -> str:
    """An empty element, as the leading colon makes one, stands for the directory that PHP was built with."""
    ini = place(
        context.directory / "php" / "ringback.ini", INI.format(bundle=context.bundles.default).encode()
    )
    return f"{old}:{ini.parent}"


SETTINGS = (Setting("PHP_INI_SCAN_DIR", _scan, "ext-curl (twilio-php, Symfony) and PHP's own streams"),)

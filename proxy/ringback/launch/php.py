"""PHP: libcurl and the streams take their CA from ini settings alone."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from ringback.launch.settings import Setting, place

if TYPE_CHECKING:
    from ringback.launch.settings import Context

NAMES = ("curl.cainfo", "openssl.cafile")

# A line of its own: an extension that cannot be loaded is told on stdout.
_ASK = 'echo "\\n", implode("\\t", array_map("ini_get", array_slice($argv, 1)));'
_ASK_SECONDS = 5


def _named(context: Context) -> dict[str, str]:
    """What PHP's own ini files name, as only PHP knows where they are; nothing where there is no PHP."""
    php = shutil.which("php", path=context.parent.get("PATH", ""))
    if php is None:
        return {}
    try:
        done = subprocess.run(  # noqa: S603 - arguments of our own
            [php, "-r", _ASK, "--", *NAMES],
            env=dict(context.parent),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
            timeout=_ASK_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(NAMES, done.stdout.rpartition("\n")[2].split("\t"), strict=False))


def _scan(context: Context, old: str) -> str:
    """An empty element, as the leading colon makes one, stands for the directory that PHP was built with."""
    named = _named(context)
    lines = (f'{name} = "{context.bundles.replacing(name, named.get(name, ""))}"\n' for name in NAMES)
    ini = place(context.directory / "php" / "ringback.ini", "".join(lines).encode())
    return f"{old}:{ini.parent}"


SETTINGS = (Setting("PHP_INI_SCAN_DIR", _scan, "ext-curl (twilio-php, Symfony) and PHP's own streams"),)

"""Python 2.7 to 3.14: requests, httpx, urllib, aiohttp, httplib2."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringback.launch.settings import Setting, bundle, shim

if TYPE_CHECKING:
    from ringback.launch.settings import Context


def _path(context: Context, old: str) -> str:
    """Ours comes first: Python imports one `sitecustomize` only, and ours goes on to the next."""
    place = shim(context, "python", "sitecustomize.py").parent
    return f"{place}:{old}" if old else str(place)


SETTINGS = (
    Setting(
        "PYTHONPATH",
        _path,
        "carries the sitecustomize without which twilio 6 and 7.0-7.9 trust no CA but their own, and "
        "httplib2 (twilio 3-5) and aiohttp (the async client) see no proxy",
    ),
    bundle("REQUESTS_CA_BUNDLE", "requests (twilio 7.10 and newer) where the sitecustomize is switched off"),
    bundle("HTTPLIB2_CA_CERTS", "httplib2 outside the SDK"),
)

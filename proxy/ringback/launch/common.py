"""What several runtimes read. Ruby's Faraday and .NET's HttpClient need nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ringback.launch.settings import Setting, bundle

if TYPE_CHECKING:
    from ringback.launch.settings import Context


def _proxy(context: Context, _: str) -> str:
    return context.proxy.url


def _no_proxy(context: Context, _: str) -> str:
    return context.no_proxy


def _existing_directories(context: Context, old: str) -> str | None:
    kept = []
    for directory in filter(None, old.split(":")):
        if os.access(directory, os.R_OK | os.X_OK) and Path(directory).is_dir():
            kept.append(directory)
        else:
            context.warn(f"SSL_CERT_DIR names {directory}, which is no directory here; it is left out")
    return ":".join(kept) or None


SETTINGS = (
    Setting("HTTPS_PROXY", _proxy, "requests, httpx, curl, Go, Faraday, libcurl, .NET"),
    Setting("https_proxy", _proxy, "wins over the upper-case form in curl and Python, so both must agree"),
    Setting("HTTP_PROXY", _proxy, "the only form that twilio-node 3 to 6 read"),
    Setting("http_proxy", _proxy, "the form that Ruby's Net::HTTP and older curl read, for https too"),
    Setting("RINGBACK_PROXY_URL", _proxy, "tells Ringback's pytest plugin that there is a proxy already"),
    Setting("NO_PROXY", _no_proxy, "an inherited one sends Python, Go and node 2 straight to Twilio"),
    Setting("no_proxy", _no_proxy, "Go falls back to it where NO_PROXY is empty"),
    bundle(
        "SSL_CERT_FILE", "OpenSSL's own: httpx, aiohttp, urllib, Ruby, PHP's streams, Go and .NET on Linux"
    ),
    Setting("SSL_CERT_DIR", _existing_directories, "added to SSL_CERT_FILE; kept as far as it exists"),
)

"""The parts of mitmproxy that a proxy needs, without those of its programs (see `later`)."""

from __future__ import annotations

from mitmproxy.addons.core import Core
from mitmproxy.addons.disable_h2c import DisableH2C
from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.tlsconfig import TlsConfig
from mitmproxy.master import Master

__all__ = ["Core", "DisableH2C", "Master", "NextLayer", "Proxyserver", "TlsConfig"]

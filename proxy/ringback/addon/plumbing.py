"""The parts of mitmproxy that a proxy needs, without those of its programs.

`mitmproxy.addons` imports every addon that mitmproxy's programs have, and flask, ldap3, passlib and tornado
with them: half of the time to start and a quarter of the memory. Importing this module first puts a package
in its place that imports a submodule when it is asked for; `default_addons` still loads them all.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import mitmproxy

_NAME = "mitmproxy.addons"


class _Addons(ModuleType):
    """mitmproxy's own package, not executed until its list of addons is wanted."""

    def __getattr__(self, name: str) -> Any:
        if name != "default_addons" or self.__spec__ is None or self.__spec__.loader is None:
            raise AttributeError(f"module {_NAME!r} has no attribute {name!r}")
        self.__spec__.loader.exec_module(self)
        return self.__dict__[name]


def _put_in_place() -> None:
    spec = importlib.util.find_spec(_NAME)
    if _NAME in sys.modules or spec is None or spec.submodule_search_locations is None:
        return  # inside one of mitmproxy's programs, or a mitmproxy of another shape
    package = _Addons(_NAME)
    package.__spec__ = spec
    package.__path__ = spec.submodule_search_locations
    package.__file__ = spec.origin
    package.__package__ = _NAME
    package.__loader__ = spec.loader
    sys.modules[_NAME] = package
    mitmproxy.addons = package  # as the import system does for a submodule


_put_in_place()

from mitmproxy.addons.core import Core  # noqa: E402 - after the package is in its place
from mitmproxy.addons.disable_h2c import DisableH2C  # noqa: E402 - as above
from mitmproxy.addons.next_layer import NextLayer  # noqa: E402 - as above
from mitmproxy.addons.proxyserver import Proxyserver  # noqa: E402 - as above
from mitmproxy.addons.tlsconfig import TlsConfig  # noqa: E402 - as above
from mitmproxy.master import Master  # noqa: E402 - as above

__all__ = ["Core", "DisableH2C", "Master", "NextLayer", "Proxyserver", "TlsConfig"]

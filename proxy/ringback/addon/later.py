"""What of mitmproxy is not imported until it is used.

`mitmproxy.addons` imports every addon that mitmproxy's programs have, and flask, ldap3, passlib and tornado
with them: half of the time to start and a quarter of the memory. Here a package takes its place that imports
a submodule when it is asked for; `default_addons` still loads them all. What mitmproxy imports for its
commands, its settings file and QUIC is executed when something of it is used.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

_NAME = "mitmproxy.addons"
_LEXER = "mitmproxy.command_lexer"  # of the commands that people type
_LATER = (_LEXER, "pyparsing", "ruamel.yaml", "service_identity")  # a sixth of the time to import the rest
_ASKED = ("__all__", "__version__")  # by people; other names of this kind are asked by Python itself


class _Later(ModuleType):
    """A module in the place of one that is executed when something of it is asked for.

    Args:
        spec: The module's.
        wanted: What it is executed for; by default everything that is not there.
    """

    def __init__(self, spec: ModuleSpec, *wanted: str) -> None:
        super().__init__(spec.name)
        self.__spec__, self.__loader__, self.__file__ = spec, spec.loader, spec.origin
        self.__package__ = spec.parent
        if spec.submodule_search_locations is not None:
            self.__path__ = spec.submodule_search_locations
        self._wanted = wanted
        self._left = spec.loader

    def __getattr__(self, name: str) -> Any:
        loader = self._left
        wanted = name in self._wanted if self._wanted else not name.startswith("__") or name in _ASKED
        if loader is not None and wanted:
            self._left = None  # once, also if it asks for something of its own meanwhile
            loader.exec_module(self)
            if name in self.__dict__:
                return self.__dict__[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def _put(module: _Later) -> None:
    """As the import system does."""
    sys.modules[module.__name__] = module
    parent, _, child = module.__name__.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


def put_in_place() -> None:
    """Do so, before anything of mitmproxy is imported; inside its own programs nothing is changed."""
    spec = importlib.util.find_spec(_NAME)
    if _NAME in sys.modules or spec is None or spec.submodule_search_locations is None:
        return  # or it is a mitmproxy of another shape
    _put(_Later(spec, "default_addons"))
    for name in _LATER:
        found = importlib.util.find_spec(name)
        if found is not None and name not in sys.modules:
            _put(_Later(found))
    lexer = sys.modules[_LEXER]

    def unquote(text: str) -> str:
        lexer.expr  # noqa: B018 - has the module executed, and this replaced in it
        unquoted: str = lexer.unquote(text)
        return unquoted

    lexer.__dict__["unquote"] = unquote  # it is imported by its name

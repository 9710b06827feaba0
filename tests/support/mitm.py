"""mitmproxy's own helpers for tests, imported without the warnings of what mitmproxy imports."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pyasn1, passlib and pyparsing about themselves
    from mitmproxy.addons.proxyserver import Proxyserver
    from mitmproxy.test import taddons, tflow, tutils

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["loaded", "taddons", "tflow", "tutils"]


@contextmanager
def loaded(*addons: Any, given: tuple[str, ...] = ()) -> Iterator[taddons.context]:
    """mitmproxy with the options of its proxy server and these addons, configured as its programs do it.

    Args:
        addons: The addons.
        given: Options as `--set` has them.
    """
    context = taddons.context(Proxyserver())
    try:
        with context:
            context.options.set(*given, defer=True)
            for addon in addons:
                context.master.addons.add(addon)
            context.options.changed.send(updated=set(context.options.keys()))
            yield context
    finally:
        context.master.event_loop.close()

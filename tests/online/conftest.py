from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from support.proxying import serve
from support.upstream import arguments, module_upstream, upstream, upstream_ca

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.proxying import Serving
    from support.upstream import LoopbackUpstream

__all__ = ["module_upstream", "upstream", "upstream_ca"]


@pytest.fixture(scope="module")
def online(
    module_upstream: LoopbackUpstream, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """A proxy that forwards everything it may."""
    with serve(home, tmp_path_factory.mktemp("online"), *arguments(module_upstream, "online")) as running:
        yield running


@pytest.fixture(scope="module")
def auto(
    module_upstream: LoopbackUpstream, home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    """A proxy that falls back on the contract."""
    with serve(home, tmp_path_factory.mktemp("auto"), *arguments(module_upstream, "auto")) as running:
        yield running


@pytest.fixture
def pair() -> Callable[[], tuple[str, str]]:
    """A new pair of credentials at each call, so that no proof is there yet."""
    numbers = itertools.count(_Used.number)

    def make() -> tuple[str, str]:
        _Used.number = next(numbers) + 1
        return f"AC{_Used.number:032x}", f"token-{_Used.number}"

    return make


class _Used:
    number = 0

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.exchanges import Shelf
from support.upstream import module_upstream, upstream, upstream_ca

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["module_upstream", "upstream", "upstream_ca"]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "cassettes")

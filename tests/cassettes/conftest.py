from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis
import pytest

from support.exchanges import Shelf
from support.upstream import module_upstream, upstream, upstream_ca

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["module_upstream", "upstream", "upstream_ca"]

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "cassettes")

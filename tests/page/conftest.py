from __future__ import annotations

import pytest

from support import page as documentation
from support.product import product

__all__ = ["product"]


@pytest.fixture(scope="session")
def page() -> documentation.Page:
    """The page with its code samples, which the repository does not carry."""
    return documentation.of("text")

from __future__ import annotations

import pytest

from support import page as documentation
from support.product import product

__all__ = ["product"]


@pytest.fixture(scope="session")
def page() -> documentation.Page:
    if not documentation.PAGE.exists():
        pytest.skip("the documentation page is not part of the repository, and not beside it either")
    return documentation.read()

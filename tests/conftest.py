"""Fixtures for every test: the page and the reference where they are at hand, and a running proxy."""

from __future__ import annotations

import json
import os
from typing import Any

import hypothesis
import pytest

from support import page as documentation
from support.clients import SHARED
from support.proxying import home, serving

__all__ = ["home", "serving"]

# How long an example takes says more about the machine than about the code. The ordinary run tries the same
# examples each time, the large one (`scripts/test.py --trust`) others.
hypothesis.settings.register_profile(
    "untimed",
    deadline=None,
    derandomize="TRUST_SCALE" not in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)
hypothesis.settings.load_profile("untimed")
TIMEOUT = 300  # seconds for a test that names no time of its own


def pytest_configure(config: pytest.Config) -> None:
    """Make warnings errors in these tests, and not in those of a reader who tries pytest in a checkout."""
    config.addinivalue_line("filterwarnings", "error")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test an end; pyproject.toml names none, for the reason above."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT))


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test hangs on the settings of whoever runs it."""
    for name in [name for name in os.environ if name.startswith("RINGBACK_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def page_lines() -> list[str]:
    """The documentation page's lines."""
    if not documentation.PAGE.exists():
        pytest.skip("the documentation page is not part of the repository, and not beside it either")
    return documentation.PAGE.read_text(encoding="utf-8").split("\n")


@pytest.fixture(scope="session")
def reference() -> dict[str, Any]:
    """Twilio's published description of the three resources."""
    file = SHARED / "reference" / "openapi-three-resources.json"
    if not file.exists():
        pytest.skip("the API description is not part of the repository, and not beside it either")
    found = json.loads(file.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found

"""The release's notes, and the metadata that its builds fill in."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ringback import __version__
from support.scripts import script

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
README = "![Picture](docs/a.png) [Page](docs/b.md#c) [Here](#d) [There](https://example.org/x)"


@pytest.fixture
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ringback_hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_of_the_readme_lead_to_the_versions_tag(
    hook: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://example.org")
    monkeypatch.setenv("GITHUB_REPOSITORY", "somebody/ringback")
    base = "https://example.org/somebody/ringback"
    assert hook.absolute(README, "1.2.3") == (
        f"![Picture]({base}/raw/v1.2.3/docs/a.png) [Page]({base}/blob/v1.2.3/docs/b.md#c) "
        "[Here](#d) [There](https://example.org/x)"
    )


def test_without_an_address_links_into_the_repository_are_text(
    hook: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    assert hook.absolute(README, "1.2.3") == " Page [Here](#d) [There](https://example.org/x)"


def test_both_distributions_have_one_version() -> None:
    plugin = tomllib.loads((ROOT / "plugins" / "pytest" / "pyproject.toml").read_text(encoding="utf-8"))
    assert plugin["project"]["version"] == __version__ == script("release").version()


def test_the_notes_of_a_version_are_its_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = script("release")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text(
        "## Unreleased\n- c\n\n## 1.2.0 (2026-01-01)\n- b\n\n## 1.1.0\n- a\n"
    )
    assert release.notes("1.2.0") == "- b"
    with pytest.raises(SystemExit, match=r"no section"):
        release.notes("1.2")

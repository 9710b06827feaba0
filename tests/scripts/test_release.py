"""The release's notes, and the metadata that its builds fill in."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
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
    (tmp_path / "CHANGELOG.md").write_text("## Unreleased\n\n## 1.2.0 (2026-01-01)\n- b\n\n## 1.1.0\n- a\n")
    assert release.notes("1.2.0") == "- b"
    with pytest.raises(SystemExit, match=r"no section"):
        release.notes("1.2")
    changelog = tmp_path / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("## Unreleased\n", "## Unreleased\n- c\n"))
    with pytest.raises(SystemExit, match=r"under \"Unreleased\": move them"):
        release.notes("1.2.0")


def test_notes_are_folded_into_the_version_under_its_headings() -> None:
    folded = script("release").folded
    before, after = "# Log\n\n## Unreleased\n", "## 0.9.0\n- z\n"
    old = (
        f"{before}### Fixed\n- c\n\n### Changed\n- b\n\n"
        f"## 1.0.0 (2026-01-01)\nFirst.\n\n### Changed\n- a\n\n{after}"
    )
    new = f"{before}\n## 1.0.0 (2026-02-03)\nFirst.\n\n### Changed\n- a\n- b\n\n### Fixed\n- c\n\n{after}"
    assert folded(old, "1.0.0", "2026-02-03") == new
    assert folded(new, "1.0.0", "2026-02-03") == new
    again = new.replace("## Unreleased\n", "## Unreleased\n### Fixed\n- c\n", 1)
    assert folded(again, "1.0.0", "2026-02-03") == new
    made = folded(old, "1.1.0", "2026-02-03")
    assert "## Unreleased\n\n## 1.1.0 (2026-02-03)\n### Changed\n- b\n\n### Fixed\n- c\n\n## 1.0.0" in made


# What a formula says to Homebrew, printed as JSON; the steps of `install` and of `test` are printed, not run.
HOMEBREW = """
require "json"
require "pathname"
TOLD = Hash.new { |hash, key| hash[key] = [] }
class Formula
  class << self
    %i[desc homepage url sha256 license depends_on].each do |name|
      define_method(name) { |value| TOLD[name] << value }
    end
    def test(&block) = define_method(:run_test, &block)
  end
  def libexec = Pathname("/prefix/libexec")
  def buildpath = Pathname("/build")
  def version = VERSION
  def bin = Place.new("/prefix/bin")
  def man1 = Place.new("/prefix/share/man/man1")
  def system(*words) = TOLD[:system] << words.map(&:to_s)
  def generate_completions_from_executable(*words) = TOLD[:completions] << words.map(&:to_s)
  def shell_output(command) = (TOLD[:asked] << command) && "output"
  def assert_match(wanted, _output) = TOLD[:wanted] << wanted
end
class Place < Pathname
  def install_symlink(target) = TOLD[:links] << [target.to_s, to_s]
end
VERSION = ARGV[1]
load ARGV[0]
Ringback.new.install
Ringback.new.run_test
puts TOLD.to_json
"""


@pytest.mark.skipif(shutil.which("ruby") is None, reason="ruby is not installed here")
def test_the_formula_is_this_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://example.org")
    monkeypatch.setenv("GITHUB_REPOSITORY", "somebody/ringback")
    file = tmp_path / "ringback.rb"
    file.write_text(script("release").formula("0" * 64), encoding="utf-8")
    checked = subprocess.run(["ruby", "-wc", file], capture_output=True, text=True, check=False)
    assert (checked.stdout, checked.stderr) == ("Syntax OK\n", "")
    done = subprocess.run(
        ["ruby", "-e", HOMEBREW, file, __version__], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base = "https://example.org/somebody/ringback"
    assert told["url"] == [f"{base}/releases/download/v{__version__}/ringback-{__version__}.tar.gz"]
    assert (told["homepage"], told["sha256"], told["license"]) == ([base], ["0" * 64], [ours["license"]])
    (python,) = told["depends_on"]
    assert f"Programming Language :: Python :: {python.removeprefix('python@')}" in ours["classifiers"]
    assert told["system"][0] == [python.replace("@", ""), "-m", "venv", "/prefix/libexec"]
    assert told["system"][1][-1] == "/build"
    assert told["links"][0] == ["/prefix/libexec/bin/ringback", "/prefix/bin"]
    assert [one.split()[1] for one in told["asked"]] == ["--version", "contract"]
    assert told["wanted"] == [__version__, "21614"]


@pytest.mark.skipif("RINGBACK_FORMULA" not in os.environ, reason="installs by pip: set RINGBACK_FORMULA=1")
@pytest.mark.skipif(shutil.which("ruby") is None, reason="ruby is not installed here")
def test_the_formulas_steps_install_a_program_that_answers(tmp_path: Path) -> None:
    """Its `install` and `test` with real commands, in a prefix of the test's own."""
    file = tmp_path / "ringback.rb"
    text = script("release").formula("0" * 64)
    file.write_text(text.replace("python3.13", sys.executable), encoding="utf-8")
    real = HOMEBREW.replace("/prefix", str(tmp_path / "prefix")).replace("/build", str(ROOT))
    for old, new in {
        "TOLD[:system] << words.map(&:to_s)": "(Kernel.system(*words.map(&:to_s)) || abort)",
        '(TOLD[:asked] << command) && "output"': "`#{command}`",
        "TOLD[:wanted] << wanted": "(_output.include?(wanted) || abort(_output))",
        "TOLD[:links] << [target.to_s, to_s]": "(mkpath; (self + target.basename).make_symlink(target))",
    }.items():
        assert old in real
        real = real.replace(old, new)
    done = subprocess.run(
        ["ruby", "-e", real, file, __version__], capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = tmp_path / "prefix" / "share" / "man" / "man1" / "ringback.1"
    assert page.read_text(encoding="utf-8").startswith(".TH RINGBACK 1")

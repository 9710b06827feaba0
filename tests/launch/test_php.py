"""PHP: its ini settings are the only place for a CA."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ringback.launch.runtimes import PHP_SETTINGS
from ringback.launch.trust import read_pem_blocks
from support.launching import needs
from support.servers import elsewhere

if TYPE_CHECKING:
    from support.launching import Launcher

SHOW = 'echo ini_get("openssl.cafile"), "\\n", ini_get("memory_limit");'
CURL = 'echo extension_loaded("curl") ? ini_get("curl.cainfo") : "no curl";'
ASK = """
$context = stream_context_create(['http' => [
    'method' => 'POST', 'content' => 'To=1', 'proxy' => str_replace('http:', 'tcp:', getenv('HTTPS_PROXY')),
    'header' => "Authorization: Basic eDp5\\r\\nContent-Type: application/x-www-form-urlencoded"]]);
$answer = file_get_contents('https://api.twilio.com/2010-04-01/Accounts/AC0/Messages.json', false, $context);
echo substr($answer, 0, 14);
"""


@pytest.mark.parametrize("own", [False, True])
def test_our_bundle_wins_and_own_directories_still_count(
    own: bool, launcher: Launcher, tmp_path: Path
) -> None:
    php = needs("php")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.ini").write_text("memory_limit = 77M\n")
    launched = launcher({"PHP_INI_SCAN_DIR": str(tmp_path / "mine")} if own else {})
    done = launched.run([php, "-r", SHOW])
    bundle, memory = done.stdout.split("\n")
    assert bundle == str(launched.launch.bundle)
    assert (memory == "77M") == own


@pytest.mark.parametrize("setting", PHP_SETTINGS)
def test_roots_that_php_s_own_ini_files_name_go_on_to_be_trusted(
    setting: str, launcher: Launcher, tmp_path: Path
) -> None:
    php = needs("php")
    with elsewhere(tmp_path) as other:
        (tmp_path / "x.ini").write_text(f"extension = not-there\n{setting} = {other.certificate}\n")
        launched = launcher({"PHP_INI_SCAN_DIR": f":{tmp_path}", "NO_PROXY": "localhost"})
        said = launched.run([php, "-r", f'echo "\\n", ini_get("{setting}");']).stdout
        bundle = Path(said.rpartition("\n")[2])
        assert bundle != launched.launch.bundle
        assert other.certificate
        assert read_pem_blocks(bundle) == [
            *read_pem_blocks(other.certificate),
            *read_pem_blocks(launched.launch.directory / "root.pem"),
        ]
        if setting == "openssl.cafile":
            code = f"echo file_get_contents('https://localhost:{other.port}/');"
            assert launched.run([php, "-r", code]).stdout.endswith("elsewhere")


def test_roots_of_php_that_are_not_there_are_told(launcher: Launcher, tmp_path: Path) -> None:
    php = needs("php")
    (tmp_path / "x.ini").write_text("openssl.cafile = /not/there.pem\n")
    launched = launcher({"PHP_INI_SCAN_DIR": f":{tmp_path}"})
    (warning,) = launched.launch.warnings
    assert warning.startswith("openssl.cafile names /not/there.pem, which cannot be read (No such file")
    assert launched.run([php, "-r", SHOW]).stdout.startswith(str(launched.launch.bundle))


@pytest.mark.parametrize("program", ["exit 1", "echo nonsense", "printf '\\377\\n'"])
def test_a_php_that_tells_nothing_changes_nothing(program: str, launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "php").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "php").chmod(0o755)
    launched = launcher({"PATH": f"{tmp_path}:/usr/bin:/bin"})
    ini = (launched.launch.directory / "php" / "ringback.ini").read_text()
    assert ini == "".join(f'{name} = "{launched.launch.bundle}"\n' for name in PHP_SETTINGS)


def test_curl_s_setting_names_our_bundle(launcher: Launcher) -> None:
    launched = launcher()
    assert launched.run([needs("php"), "-r", CURL]).stdout in {str(launched.launch.bundle), "no curl"}


def test_the_extensions_of_the_directory_that_php_was_built_with_are_still_there(launcher: Launcher) -> None:
    php = needs("php")
    before = subprocess.run([php, "-m"], env={}, capture_output=True, text=True, check=True).stdout
    assert launcher().run([php, "-m"]).stdout == before


def test_a_stream_arrives(launcher: Launcher) -> None:
    launched = launcher()
    done = launched.run([needs("php"), "-r", ASK])
    assert (done.stdout, done.stderr) == ('{"account_sid"', "")
    assert len(launched.requests()) == 1

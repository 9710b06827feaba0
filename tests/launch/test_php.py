"""PHP: its ini settings are the only place for a CA."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.launching import needs

if TYPE_CHECKING:
    from pathlib import Path

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
    (tmp_path / "mine" / "x.ini").write_text("memory_limit = 77M\nopenssl.cafile = /mine.pem\n")
    launched = launcher({"PHP_INI_SCAN_DIR": str(tmp_path / "mine")} if own else {})
    done = launched.run([php, "-r", SHOW])
    bundle, memory = done.stdout.split("\n")
    assert bundle == str(launched.launch.bundle)
    assert (memory == "77M") == own


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

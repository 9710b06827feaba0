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

# As twilio-php before 5.37 reads an answer: what comes before the first empty line is its head.
OLD_CLIENT = """
function send() {
    $curl = curl_init('https://api.twilio.com/2010-04-01/Accounts/AC0/Messages.json');
    curl_setopt_array($curl, array(CURLOPT_HEADER => true, CURLOPT_RETURNTRANSFER => true,
        CURLOPT_POSTFIELDS => 'To=1', CURLOPT_USERPWD => 'x:y'));
    $parts = explode("\\r\\n\\r\\n", curl_exec($curl));
    echo substr($parts[1], 0, 14), "\\n";
}
"""
VERSION = "<?php namespace Twilio; class VersionInfo { static function string() { return '%s'; } }"
SDKS = {
    "Services_Twilio_TinyHttp": "<?php class Services_Twilio_TinyHttp {}",
    "Twilio\\Http\\CurlClient": "<?php namespace Twilio\\Http; class CurlClient {}",
}
LOADER = """<?php
spl_autoload_register(function ($class) {
    $file = __DIR__ . '/' . str_replace('\\\\', '-', $class) . '.php';
    if (is_file($file)) { require $file; }
});
"""

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


def test_roots_of_php_that_are_not_there_are_reported(launcher: Launcher, tmp_path: Path) -> None:
    php = needs("php")
    (tmp_path / "x.ini").write_text("openssl.cafile = /not/there.pem\n")
    launched = launcher({"PHP_INI_SCAN_DIR": f":{tmp_path}"})
    (warning,) = launched.launch.warnings
    assert warning.startswith("openssl.cafile names /not/there.pem, which cannot be read (No such file")
    assert launched.run([php, "-r", SHOW]).stdout.startswith(str(launched.launch.bundle))


@pytest.mark.parametrize("program", ["exit 1", "echo nonsense", "printf '\\377\\n'"])
def test_a_php_that_reports_nothing_changes_nothing(program: str, launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "php").write_text(f"#!/bin/sh\n{program}\n")
    (tmp_path / "php").chmod(0o755)
    launched = launcher({"PATH": f"{tmp_path}:/usr/bin:/bin"})
    ini = (launched.launch.directory / "php" / "ringback.ini").read_text()
    prepend = launched.launch.directory / "php" / "prepend.php"
    settings = dict.fromkeys(PHP_SETTINGS, launched.launch.bundle) | {"auto_prepend_file": prepend}
    assert ini == "".join(f'{name} = "{value}"\n' for name, value in settings.items())


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


def _old_program(directory: Path, version: str, loaded: str) -> Path:
    """A program with an SDK that has the classes of twilio-php, and its way to read answers."""
    (directory / "Twilio-VersionInfo.php").write_text(VERSION % version)
    for name, text in SDKS.items():
        (directory / f"{name.replace(chr(92), '-')}.php").write_text(text)
    program = directory / "program.php"
    program.write_text(f"{LOADER}{OLD_CLIENT}new {loaded}();\nsend();\n")
    return program


def _curl() -> str:
    php = needs("php")
    if "curl" not in subprocess.run([php, "-m"], capture_output=True, text=True, check=True).stdout.split():
        pytest.skip("PHP has no curl here (Debian: php-curl)")
    return php


@pytest.mark.parametrize(
    "version, loaded, right",
    [
        ("4.12.1", "Services_Twilio_TinyHttp", True),
        ("5.0.0", "Twilio\\Http\\CurlClient", True),
        ("5.36.1", "Twilio\\Http\\CurlClient", True),
        # From here on the SDK knows of proxies, and keeps the HTTP proxy, with the reply to CONNECT in front.
        ("5.37.0", "Twilio\\Http\\CurlClient", False),
        ("8.12.0", "Twilio\\Http\\CurlClient", False),
    ],
)
def test_an_sdk_that_takes_the_connect_reply_for_the_answer_gets_socks(
    version: str, loaded: str, right: bool, launcher: Launcher, tmp_path: Path
) -> None:
    launched = launcher()
    done = launched.run([_curl(), _old_program(tmp_path, version, loaded)])
    assert done.stderr == ""
    assert done.stdout.startswith('{"account_sid"' if right else "HTTP/")
    assert len(launched.requests()) == 1


def test_a_program_s_own_prepended_file_and_the_inner_launch_s_both_run(
    launcher: Launcher, tmp_path: Path
) -> None:
    (tmp_path / "mine.php").write_text("<?php $mine = 'mine'; echo \"$mine \";")
    (tmp_path / "x.ini").write_text(f"auto_prepend_file = {tmp_path / 'mine.php'}\n")
    outer = launcher({"PHP_INI_SCAN_DIR": f":{tmp_path}"})
    inner = launcher(outer.launch.environment)
    program = _old_program(tmp_path, "5.16.0", "Twilio\\Http\\CurlClient")
    program.write_text(program.read_text() + "echo $mine, get_included_files()[0] === __FILE__;")
    done = inner.run([_curl(), program])
    assert (done.stdout, done.stderr) == ('mine {"account_sid"\nmine1', "")


def test_where_php_may_not_open_our_file_it_is_not_named(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "x.ini").write_text(f"open_basedir = {tmp_path}\n")
    (tmp_path / "hello.php").write_text("<?php echo 'hello';")
    launched = launcher({"PHP_INI_SCAN_DIR": f":{tmp_path}"})
    done = launched.run([needs("php"), tmp_path / "hello.php"])
    assert (done.stdout, done.stderr) == ("hello", "")

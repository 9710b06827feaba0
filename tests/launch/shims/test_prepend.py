"""What `run` puts before PHP's scripts. twilio-php itself is driven in tests/page, where it can be had."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.launching import needs

if TYPE_CHECKING:
    from pathlib import Path

    from support.launching import Launcher

# Sends and reads as twilio-php 4 does: what comes before the first empty line is the head.
CLIENT = """<?php
class Services_Twilio_TinyHttp {
  public function post($url, $login) {
    $curl = curl_init();
    curl_setopt_array($curl, array(CURLOPT_URL => $url, CURLOPT_HEADER => TRUE,
      CURLOPT_RETURNTRANSFER => TRUE, CURLOPT_POST => TRUE,
      CURLOPT_POSTFIELDS => 'Body=hello', CURLOPT_USERPWD => $login));
    $answer = curl_exec($curl);
    if ($answer === false) { return curl_error($curl); }
    $parts = explode("\\r\\n\\r\\n", $answer, 3);
    $body = json_decode($parts[0] == 'HTTP/1.1 100 Continue' ? $parts[2] : $parts[1], true);
    return $body === null ? 'no JSON' : $body['status'];
  }
}
"""
PROGRAM = """<?php
spl_autoload_register(function ($class) { include dirname(__FILE__) . "/$class.php"; });
$client = new Services_Twilio_TinyHttp();
echo $client->post('https://api.twilio.com/2010-04-01/Accounts/AC0/Messages.json', 'AC0:x'), "\\n";
"""


@pytest.fixture
def php() -> str:
    found = needs("php")
    loaded = subprocess.run([found, "-m"], capture_output=True, text=True, check=True).stdout.split()
    if "curl" not in loaded:
        pytest.skip("PHP has no curl here (Debian: php-curl)")
    return found


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "Services_Twilio_TinyHttp.php").write_text(CLIENT)
    (tmp_path / "send.php").write_text(PROGRAM)
    return tmp_path / "send.php"


@pytest.mark.parametrize("hostile", [{}, {"NO_PROXY": "*"}, {"https_proxy": "http://127.0.0.1:9"}])
def test_a_client_that_reads_the_reply_to_connect(
    hostile: dict[str, str], php: str, program: Path, launcher: Launcher
) -> None:
    launched = launcher(hostile)
    done = launched.run([php, program])
    assert (done.stdout, done.stderr) == ("queued\n", "")
    assert len(launched.requests()) == 1


def test_it_fails_without_the_shim(php: str, program: Path, launcher: Launcher) -> None:
    """Else nothing here shows anything."""
    launched = launcher()
    done = launched.run([php, "-d", "auto_prepend_file=none", program])
    assert done.stdout == "no JSON\n"


def test_the_file_that_it_hides_still_runs(
    php: str, program: Path, launcher: Launcher, tmp_path: Path
) -> None:
    """The last ini file wins, as ever, and its variables are the script's."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.php").write_text(f"<?php $mine = '{name}';\n")
        ini = f'auto_prepend_file = "{tmp_path / name}.php"\n'
        (tmp_path / name / "own.ini").write_text(ini)
    program.write_text(PROGRAM + "echo $mine, isset($ringback_hidden) ? 'left' : '', \"\\n\";")
    launched = launcher({"PHP_INI_SCAN_DIR": f":{tmp_path / 'first'}:{tmp_path / 'second'}"})
    done = launched.run([php, program])
    assert (done.stdout, done.stderr) == ("queued\nsecond\n", "")


def test_a_script_that_has_nothing_to_do_with_it(php: str, launcher: Launcher, tmp_path: Path) -> None:
    script = tmp_path / "plain.php"
    script.write_text("<?php class_exists('Anything'); echo getenv('HTTPS_PROXY'), \"\\n\";")
    launched = launcher()
    done = launched.run([php, script])
    assert (done.stdout, done.stderr) == (f"http://127.0.0.1:{launched.proxy.port}\n", "")

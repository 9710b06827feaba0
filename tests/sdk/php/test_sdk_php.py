"""PHP's HTTP stacks under `ringback run`: ext-curl (twilio-php's), streams, and Symfony's Twilio notifier.

Packagist is not everywhere reachable; Debian packages the notifier, but no twilio-php.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.launching import needs
from support.product import SID, TOKEN

if TYPE_CHECKING:
    from support.product import Product

SETUP = """
$sid = getenv('TWILIO_ACCOUNT_SID'); $token = getenv('TWILIO_AUTH_TOKEN');
$url = "https://api.twilio.com/2010-04-01/Accounts/$sid/Messages.json";
function show($status, $body) {
  $body = json_decode($body, true);
  echo "$status ", $body['code'] ?? $body['status'], "\\n";
}
"""
# As twilio-php's CurlClient sends, and takes the CONNECT reply's header apart.
CURL = """
foreach (['+14105550100', '+15005550001'] as $to) {
  $curl = curl_init($url);
  curl_setopt_array($curl, [
    CURLOPT_HEADER => true, CURLOPT_RETURNTRANSFER => true, CURLOPT_POST => true,
    CURLOPT_HTTPHEADER => ['Authorization: Basic ' . base64_encode("$sid:$token")],
    CURLOPT_POSTFIELDS => http_build_query(['To' => $to, 'From' => '+15005550006', 'Body' => 'hello']),
  ]);
  $answer = curl_exec($curl);
  if ($answer === false) { exit(curl_error($curl)); }
  $parts = explode("\\r\\n\\r\\n", $answer, 3);
  if ($parts[0] === 'HTTP/1.1 200 Connection established') { array_shift($parts); }
  list($head, $body) = $parts;
  show(explode(' ', $head)[1], $body);
}
"""
STREAMS = """
foreach (['+14105550100', '+15005550001'] as $to) {
  $proxy = str_replace('http://', 'tcp://', getenv('HTTPS_PROXY'));
  $context = stream_context_create(['http' => [
    'method' => 'POST', 'ignore_errors' => true, 'proxy' => $proxy,
    'header' => "Authorization: Basic " . base64_encode("$sid:$token")
      . "\\r\\nContent-Type: application/x-www-form-urlencoded",
    'content' => http_build_query(['To' => $to, 'From' => '+15005550006', 'Body' => 'hello']),
  ]]);
  $body = file_get_contents($url, false, $context);
  show(explode(' ', $http_response_header[0])[1], $body);
}
"""
NOTIFIER = Path("/usr/share/php/Symfony/Component/Notifier/Bridge/Twilio/autoload.php")
SYMFONY = f"""
require '{NOTIFIER}';
require '/usr/share/php/Symfony/Component/HttpClient/autoload.php';
use Symfony\\Component\\Notifier\\Bridge\\Twilio\\TwilioTransport;
use Symfony\\Component\\Notifier\\Message\\SmsMessage;
use Symfony\\Component\\HttpClient\\CurlHttpClient;
use Symfony\\Component\\HttpClient\\NativeHttpClient;
foreach ([new CurlHttpClient(), new NativeHttpClient()] as $client) {{
  $transport = new TwilioTransport($sid, $token, '+15005550006', $client);
  echo substr($transport->send(new SmsMessage('+14105550100', 'hello'))->getMessageId(), 0, 2), "\\n";
  try {{
    $transport->send(new SmsMessage('+15005550001', 'hello'));
  }} catch (Exception $error) {{
    echo strpos($error->getMessage(), '21211') === false ? $error->getMessage() : '21211', "\\n";
  }}
}}
"""
EXPECTED = "201 queued\n400 21211\n"


def _php(*extensions: str) -> str:
    php = needs("php")
    loaded = subprocess.run([php, "-m"], capture_output=True, text=True, check=True).stdout.lower().split()
    for extension in extensions:
        if extension not in loaded:
            pytest.skip(f"PHP has no {extension} here (Debian: php-{extension})")
    return php


@pytest.mark.parametrize("code, extension", [(CURL, "curl"), (STREAMS, "openssl")], ids=["curl", "streams"])
def test_phps_own(code: str, extension: str, product: Product) -> None:
    done = product.run([_php(extension), "-r", SETUP + code])
    assert (done.returncode, done.stdout) == (0, EXPECTED), done.stderr


def test_the_systems_ini_files_still_count(product: Product, tmp_path: Path) -> None:
    """ext-curl itself is loaded by a file of the system's directory, and the user's own goes on to count."""
    (tmp_path / "own.ini").write_text("user_agent = mine\n")
    code = "echo ini_get('user_agent'), ' ', extension_loaded('curl') ? 'curl' : '', ' ';" + SETUP + CURL
    done = product.run([_php("curl"), "-r", code], more={"PHP_INI_SCAN_DIR": f":{tmp_path}"})
    assert done.stdout == f"mine curl {EXPECTED}", done.stderr


def test_symfonys_twilio_notifier(product: Product) -> None:
    php = _php("curl")
    if not NOTIFIER.is_file():
        pytest.skip("Symfony's Twilio notifier is not installed here (Debian: php-symfony-twilio-notifier)")
    done = product.run([php, "-r", SETUP + SYMFONY])
    assert (done.returncode, done.stdout) == (0, "SM\n21211\nSM\n21211\n"), done.stderr


@pytest.mark.parametrize(
    "agent, named",
    [("twilio-php/5.16.0 (PHP 7.4.33)", True), ("twilio-php/5.37.0 (PHP 7.4.33)", False), ("curl/8", False)],
)
def test_an_sdk_that_takes_the_reply_to_connect_for_the_answer_is_named(
    agent: str, named: bool, product: Product
) -> None:
    url = f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
    done = product.run([needs("curl"), "-sS", "-A", agent, "-u", f"{SID}:{TOKEN}", "-d", "To=1", url])
    assert (f"ringback: {agent[:17]} read a wrong answer" in done.stderr) == named
    assert (f"ringback:   1 x {agent[:17]} read a wrong answer" in done.stderr) == named

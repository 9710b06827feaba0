"""The pages of docs/testing: their files are written as they stand there, and run under `ringback run`."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.chromium import program
from support.dotnet import compiled, dotnet
from support.launching import needs
from support.maven import maven
from support.product import CACHE, alone_in, finished, product
from support.sdks import MissingError, absent, install, python_sdk

if TYPE_CHECKING:
    from support.product import Product

__all__ = ["product"]

PAGES = Path(__file__).parents[1] / "docs" / "testing"
FILE = re.compile(r"`([\w./-]+\.\w+)`:\n\n```\w+\n(.*?)\n```", re.DOTALL)
NODE_PACKAGES = ("jest@30.2.0", "vitest@3.2.4", "@playwright/test@1.56.1", "twilio@6.2.0")
QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error", "--fetch-retries", "1")
JUNIT = "import org.junit.jupiter.api.Test;\nclass NothingTest { @Test void nothing() {} }\n"

# What the pages use of SDKs that no registry here has; they send as these SDKs do.
TWILIO_RUBY = """
require "json"
require "net/http"
module Twilio
  module REST
    RestError = Class.new(StandardError)
    Message = Struct.new(:sid)
    class Client
      def initialize(sid, token) = (@sid, @token = sid, token)
      def messages = self
      def create(**form)
        url = URI("https://api.twilio.com/2010-04-01/Accounts/#{@sid}/Messages.json")
        request = Net::HTTP::Post.new(url)
        request.basic_auth(@sid, @token)
        request.set_form_data(form.to_h { |name, value| [name.to_s.capitalize, value] })
        answer = Net::HTTP.start(url.host, url.port, use_ssl: true) { |http| http.request(request) }
        body = JSON.parse(answer.body)
        raise RestError, "#{body["code"]}: #{body["message"]}" if answer.code.to_i >= 400
        Message.new(body["sid"])
      end
    end
  end
end
"""
TWILIO_PHP = r"""<?php
namespace Twilio\Exceptions { class RestException extends \Exception {} }
namespace Twilio\Rest {
    class Client {
        public Client $messages;
        public function __construct(private string $sid, private string $token) { $this->messages = $this; }
        public function create(string $to, array $options) {
            $curl = curl_init("https://api.twilio.com/2010-04-01/Accounts/$this->sid/Messages.json");
            curl_setopt_array($curl, [
                CURLOPT_RETURNTRANSFER => true,
                CURLOPT_USERPWD => "$this->sid:$this->token",
                CURLOPT_POSTFIELDS => http_build_query(
                    ['To' => $to, 'From' => $options['from'], 'Body' => $options['body']]),
            ]);
            $body = json_decode(curl_exec($curl));
            if (curl_getinfo($curl, CURLINFO_RESPONSE_CODE) >= 400) {
                throw new \Twilio\Exceptions\RestException($body->message, $body->code);
            }
            return $body;
        }
    }
}
"""

# The little of xUnit that the page needs, and a runner.
XUNIT = """
using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
namespace Xunit {
    public sealed class FactAttribute : Attribute {}
    [AttributeUsage(AttributeTargets.Assembly)]
    public sealed class CollectionBehaviorAttribute : Attribute {
        public bool DisableTestParallelization { get; set; }
    }
    public static class Assert {
        static void That(bool holds, object told) { if (!holds) throw new Exception("not so: " + told); }
        public static T Single<T>(IEnumerable<T> found) {
            That(found.Count() == 1, found.Count());
            return found.First();
        }
        public static void Empty<T>(IEnumerable<T> found) { That(!found.Any(), found.Count()); }
        public static void Equal<T>(T wanted, T found) { That(Equals(wanted, found), found); }
        public static T Throws<T>(Func<object> act) where T : Exception {
            try { act(); } catch (T error) { return error; }
            throw new Exception("nothing was thrown");
        }
    }
    public static class Runner {
        public static void Main() {
            foreach (var type in Assembly.GetExecutingAssembly().GetTypes())
                foreach (var method in type.GetMethods().Where(m => m.IsDefined(typeof(FactAttribute)))) {
                    method.Invoke(Activator.CreateInstance(type), null);
                    Console.WriteLine("passed " + method.Name);
                }
        }
    }
}
"""
TWILIO_CSHARP = """
using System;
using System.Collections.Generic;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
namespace Twilio {
    public static class TwilioClient {
        internal static string Sid, Token;
        public static void Init(string sid, string token) { Sid = sid; Token = token; }
    }
}
namespace Twilio.Exceptions {
    public sealed class ApiException : Exception {
        public int Code { get; }
        public ApiException(int code, string message) : base(message) { Code = code; }
    }
}
namespace Twilio.Rest.Api.V2010.Account {
    public sealed class MessageResource {
        public string Sid { get; private set; }
        public static MessageResource Create(string to, string from, string body) {
            var url = "https://api.twilio.com/2010-04-01/Accounts/" + TwilioClient.Sid + "/Messages.json";
            var pair = Encoding.ASCII.GetBytes(TwilioClient.Sid + ":" + TwilioClient.Token);
            var client = new HttpClient();
            client.DefaultRequestHeaders.Authorization =
                new AuthenticationHeaderValue("Basic", Convert.ToBase64String(pair));
            var form = new Dictionary<string, string> { {"To", to}, {"From", from}, {"Body", body} };
            var answer = client.PostAsync(url, new FormUrlEncodedContent(form)).GetAwaiter().GetResult();
            var text = answer.Content.ReadAsStringAsync().GetAwaiter().GetResult();
            var found = JsonDocument.Parse(text).RootElement;
            if (!answer.IsSuccessStatusCode)
                throw new Twilio.Exceptions.ApiException(
                    found.GetProperty("code").GetInt32(), found.GetProperty("message").GetString());
            return new MessageResource { Sid = found.GetProperty("sid").GetString() };
        }
    }
}
"""


def files(page: str, directory: Path, *names: str) -> None:
    """Write the files of a page, all or those of `names`."""
    found = FILE.findall((PAGES / page).read_text(encoding="utf-8"))
    found = [(name, text) for name, text in found if not names or name in names]
    assert len(found) >= max(1, len(names)), page
    for name, text in found:
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")


def words_of(page: str, start: str, *program: str, line: int = 0) -> list[str]:
    """The words of a page's command as it shows it, without `ringback run --`.

    Args:
        page: The page.
        start: The words that its reader starts the framework by.
        program: What this test has in their place.
        line: Which of the page's commands.
    """
    block = (PAGES / page).read_text(encoding="utf-8").partition("```console\n")[2].partition("```")[0]
    shown = block.splitlines()[line].removeprefix("$ ").removeprefix("ringback run -- ")
    assert f"{shown} ".startswith(f"{start} "), shown
    return [*program, *shown[len(start) :].split()]


def passed(done: subprocess.CompletedProcess[str], *told: str) -> None:
    """Hold a test run to its success, to what it prints, and to requests that were answered."""
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    assert [one for one in (*told, "Twilio requests answered, offline") if one not in printed] == [], printed


def test_every_page_is_in_the_index_and_every_framework_has_one() -> None:
    pages = {file.name for file in PAGES.glob("*.md")} - {"README.md"}
    linked = re.findall(r"^\| \[.+\]\((\w[\w-]*\.md)\)", (PAGES / "README.md").read_text(), re.MULTILINE)
    assert sorted(linked) == sorted(pages)
    for page in pages:
        text = (PAGES / page).read_text(encoding="utf-8").lower()
        asked = ("start it", "one session a test", "assert what was sent", "make it fail")
        assert [part for part in asked if part not in text] == [], page


def test_pytest(product: Product, tmp_path: Path) -> None:
    sdk = python_sdk("9")
    files("pytest.md", tmp_path)
    text = (PAGES / "pytest.md").read_text(encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(text.partition("```ini\n")[2].partition("```")[0])
    python = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    passed(
        finished(words_of("pytest.md", "pytest", *python), product.environment(sdk.environment), tmp_path),
        "8 passed",
    )


def test_unittest(product: Product, tmp_path: Path) -> None:
    sdk = python_sdk("9")
    files("unittest.md", tmp_path)
    passed(
        product.run(words_of("unittest.md", "python", sys.executable), cwd=tmp_path, more=sdk.environment),
        "Ran 3 tests",
        "OK",
    )


@pytest.fixture(scope="module")
def node_modules() -> Path:
    """Jest, Vitest, Playwright and twilio-node, installed once."""
    needs("node")
    path = CACHE / ("node-testing-" + re.sub(r"[^0-9.]+", "-", "-".join(NODE_PACKAGES)))
    fetch = [needs("npm"), "install", "--prefix", str(path), *QUIET, *NODE_PACKAGES]
    try:
        install(path, fetch)
    except MissingError as missing:
        absent(missing)
    return path / "node_modules"


@pytest.fixture
def node_project(node_modules: Path, tmp_path: Path) -> Path:
    """A project with these packages and the helper of the page about Jest."""
    (tmp_path / "node_modules").symlink_to(node_modules)
    (tmp_path / "package.json").write_text(json.dumps({"name": "sms", "version": "1.0.0"}))
    files("jest-vitest.md", tmp_path, "ringback.js")
    return tmp_path


@pytest.mark.parametrize(
    "name, test, line", [("jest", "sms.test.js", 0), ("vitest", "sms.spec.mjs", 1)], ids=["jest", "vitest"]
)
def test_jest_and_vitest(name: str, test: str, line: int, product: Product, node_project: Path) -> None:
    files("jest-vitest.md", node_project, "sms.js", test)
    words = words_of("jest-vitest.md", f"npx {name}", f"node_modules/.bin/{name}", line=line)
    patient = "--testTimeout=60000"  # a busy machine takes its time
    done = product.run([*words, patient], cwd=node_project)
    passed(done, "3 passed")


def test_playwright(product: Product, node_project: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        more = {"CHROMIUM": program(), "PORT": str(free.getsockname()[1])}
    files("playwright.md", node_project)
    words = words_of("playwright.md", "npx playwright", "node_modules/.bin/playwright")
    done = product.run(words, cwd=node_project, more=more)
    passed(done, "2 passed")


@pytest.mark.slow
def test_junit(product: Product) -> None:
    place = CACHE / "java" / "junit-page"
    with alone_in(place):
        files("junit.md", place)
        if not (place / "fetched").exists():
            # Surefire fetches what it runs JUnit with when there is a test to run.
            (place / "src/test/java/NothingTest.java").write_text(JUNIT)
            maven(place, "test", "-Dtest=NothingTest")
            (place / "fetched").touch()
        words = words_of("junit.md", "mvn", needs("mvn"), "-B", "-o")
        done = product.run([*words, "-Dtest=SmsTest"], cwd=place)
    passed(done, "Tests run: 2, Failures: 0, Errors: 0, Skipped: 0")


@pytest.mark.slow
def test_go(product: Product) -> None:
    go = needs("go")
    with alone_in(CACHE / "go" / "page") as place:
        files("go.md", place)
        if not (place / "go.sum").exists():
            (place / "go.mod").write_text("module example.test/sms\n\ngo 1.21\n")
            for command in (["get", "github.com/twilio/twilio-go@v1.31.0"], ["mod", "tidy"]):
                done = subprocess.run([go, *command], cwd=place, capture_output=True, text=True, check=False)
                if done.returncode:
                    (place / "go.sum").unlink(missing_ok=True)
                    pytest.skip(f"go {command[0]} cannot fetch twilio-go: {done.stderr.strip()[:300]}")
        done = product.run(words_of("go.md", "go test", go, "test", "-v"), cwd=place)
    passed(done, "PASS: TestOneCodeIsSent", "PASS: TestAPersonWhoUnsubscribed")


def test_rspec(product: Product, tmp_path: Path) -> None:
    files("rspec.md", tmp_path)
    (tmp_path / "sdk").mkdir()
    (tmp_path / "sdk" / "twilio-ruby.rb").write_text(TWILIO_RUBY)
    words = words_of("rspec.md", "bundle exec rspec", needs("rspec"), "-I", "sdk")
    done = product.run([*words, "sms_spec.rb"], cwd=tmp_path)
    passed(done, "2 examples, 0 failures")


def test_phpunit(product: Product, tmp_path: Path) -> None:
    files("phpunit.md", tmp_path)
    (tmp_path / "twilio.php").write_text(TWILIO_PHP)
    program = (needs("phpunit"), "--do-not-cache-result", "--bootstrap", "twilio.php")
    words = [*words_of("phpunit.md", "vendor/bin/phpunit", *program), "SmsTest.php"]
    passed(product.run(words, cwd=tmp_path), "OK (2 tests")


@pytest.mark.slow
@pytest.mark.xdist_group("sdk-dotnet")  # they share a runtime
def test_xunit(product: Product, tmp_path: Path) -> None:
    """On .NET, with stand-ins: xUnit and twilio-csharp come from a registry that these tests do not use."""
    runtime = dotnet()
    files("xunit.md", tmp_path)
    (tmp_path / "StandIns.cs").write_text(XUNIT)
    (tmp_path / "TwilioStandIns.cs").write_text(TWILIO_CSHARP)
    program = compiled(runtime, sorted(tmp_path.glob("*.cs")), tmp_path / "Page.dll")
    done = product.run([runtime.program, program], cwd=tmp_path, more=runtime.variables)
    passed(done, "passed OneCodeIsSent", "passed APersonWhoUnsubscribed")

"""twilio-java, twilio-go, and twilio-ruby, -php and -csharp of each generation under `ringback run`.

Each sends the page's 24 rows and eight examples, and raises its own exception for an error. See
`support.unreached` for where the last three come from: they skip where no registry and no variable has them.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from support.drivers import (
    CASES,
    REFUSED,
    Answers,
    check_case,
    check_edge,
    check_run,
    check_sids_differ,
    drive_by,
)
from support.launching import needs
from support.maven import jars
from support.sdks import go_module
from support.unreached import CSHARP, PHP, RUBY, RUBY_RUNS, csharp_program, php_sdk, ruby_sdk

if TYPE_CHECKING:
    from support.product import Product
    from support.rows import Case

JAVA: Final = "13.0.1"
GO: Final = "1.31.0"
HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Said:
    """An SDK's way to tell of an error.

    Attributes:
        exception: Its exception.
        prefix: The text before Twilio's.
        suffix: The text behind it.
        status: Whether the exception has the status.
    """

    exception: str
    prefix: str = ""
    suffix: str = ""
    status: bool = True


_RUBY: Final = Said(
    "Twilio::REST::RestError",
    "[HTTP {status}] {code} : Unable to create record\n",
    "\nhttps://www.twilio.com/docs/errors/{code}\n\n",
)
_PHP: Final = Said("Twilio\\Exceptions\\RestException", "[HTTP {status}] Unable to create record: ")
_CSHARP: Final = Said("Twilio.Exceptions.ApiException")
SAID: Final = (
    {("ruby", generation): _RUBY for generation in RUBY}
    | {("php", generation): _PHP for generation in PHP}
    | {("csharp", generation): _CSHARP for generation in CSHARP}
    | {("ruby", "4"): Said("Twilio::REST::RequestError", status=False)}
    | {("php", "4"): Said("Services_Twilio_RestException")}
    | {("csharp", "4"): Said("Twilio.RestException")}
    | {("java", "13"): Said("com.twilio.exception.ApiException")}
    | {("go", "1"): Said("TwilioRestError")}
)
NO_EDGE: Final = {("ruby", "4"), ("php", "4"), ("php", "5early"), ("php", "5")} | {
    ("csharp", it) for it in CSHARP
}

pytestmark = pytest.mark.xdist_group("sdk-generations")  # one worker drives each client once


@pytest.fixture(scope="module", params=SAID, ids="-".join)
def sdk(request: pytest.FixtureRequest) -> tuple[str, str]:
    language, generation = request.param
    return language, generation


@pytest.fixture(scope="module")
def answers(sdk: tuple[str, str], product: Product, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    language, generation = sdk
    drives = {"ruby": _by_ruby, "php": _by_php, "csharp": _by_csharp, "java": _by_java, "go": _by_go}
    drive = drives[language]
    return drive(product, generation, tmp_path_factory.mktemp("-".join(sdk)))


def _by_ruby(product: Product, generation: str, directory: Path) -> Answers:
    got = ruby_sdk(generation)
    command = [got.runtime, "-e", RUBY_RUNS, f"~> {generation}.0", HERE / "ruby" / "driver.rb"]
    return drive_by(product, command, directory, more=got.environment)


def _by_php(product: Product, generation: str, directory: Path) -> Answers:
    place = php_sdk(generation)
    # Newer PHPs deprecate what old SDKs do, and would print that among their output.
    quiet = ["-d", "display_errors=stderr", "-d", "error_reporting=1"]
    command = [needs("php"), *quiet, HERE / "php" / "driver.php"]
    return drive_by(product, command, directory, after=[place])


def _by_csharp(product: Product, generation: str, directory: Path) -> Answers:
    source = HERE / "dotnet" / ("Sdk4.cs" if generation == "4" else "Sdk5.cs")
    command, more = csharp_program(product, generation, source, directory)
    return drive_by(product, command, directory, more=more)


def _by_java(product: Product, _: str, directory: Path) -> Answers:
    classpath = f"{jars('twilio', JAVA)}/*:{directory}"
    compiled = [
        needs("javac"),
        "-nowarn",
        "-cp",
        classpath,
        "-d",
        str(directory),
        HERE / "java" / "Rows.java",
    ]
    subprocess.run(compiled, check=True, capture_output=True)
    return drive_by(product, [needs("java"), "-cp", classpath, "Rows"], directory, after=[JAVA])


def _by_go(product: Product, _: str, directory: Path) -> Answers:
    place = go_module("rows", GO, {"main.go": (HERE / "go" / "rows.go").read_text()})
    built = [needs("go"), "build", "-o", directory / "rows", "."]
    subprocess.run(built, cwd=place, check=True, capture_output=True)
    return drive_by(product, [directory / "rows"], directory, after=[GO])


def test_every_request_went_through_the_proxy(answers: Answers, sdk: tuple[str, str]) -> None:
    version = str(answers.by_id["version"]["version"])
    if sdk[0] != "csharp":  # its libraries do not tell: 4.7.2 says 3.4.1, what Mono compiled says 0.0
        assert version.split(".", maxsplit=1)[0] == sdk[1].removesuffix("early")
    check_run(answers, version, repeated=sdk[0] == "java")  # twilio-java repeats what gets 429, once


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_row_or_example(answers: Answers, sdk: tuple[str, str], case: Case) -> None:
    said = SAID[sdk]
    check_case(
        case,
        answers.by_id[case.id],
        exception=said.exception,
        prefix=said.prefix,
        suffix=said.suffix,
        status=said.status,
    )


def test_equal_requests_get_different_sids(answers: Answers) -> None:
    check_sids_differ(answers)


@pytest.mark.parametrize("name", ["fetch-message", "fetch-account"])
def test_other_resources_are_refused(answers: Answers, sdk: tuple[str, str], name: str) -> None:
    refused = answers.by_id[name]
    assert (refused["exception"], refused["code"]) == (SAID[sdk].exception, 20008)
    assert REFUSED in refused["message"]


def test_a_list_is_refused(answers: Answers) -> None:
    assert REFUSED in answers.by_id["list-calls"]["message"]


def test_regional_hosts_answer(answers: Answers, sdk: tuple[str, str]) -> None:
    if sdk in NO_EDGE:
        assert "edge" not in answers.by_id
    else:
        check_edge(answers)

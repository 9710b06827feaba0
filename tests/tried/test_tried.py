"""Each client of `rows.ROWS` under `ringback run`, and the table of them in `docs/clients.md`.

They are tried where RINGBACK_TRY_CLIENTS is set: most are fetched or compiled first, which takes minutes.
`python test_tried.py`, in this directory with `tests` on PYTHONPATH, writes the table anew.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from support.launching import needs
from support.namespaces import ALLOWED, WITNESSED
from support.product import CACHE, SID, TOKEN, Product, alone_in, product
from support.sdks import MissingError, pip_for
from tried.rows import BY_WITNESS, NOTICED, ROWS, SERVED, STOPPED, UNTRUSTED, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["product"]

pytestmark = pytest.mark.xdist_group("tried")

TRIED: Final = pytest.mark.skipif(
    "RINGBACK_TRY_CLIENTS" not in os.environ, reason="RINGBACK_TRY_CLIENTS is not set"
)
PAGE: Final = Path(__file__).parents[2] / "docs" / "clients.md"
BEGIN, END = "<!-- written by tests/tried/test_tried.py -->\n", "<!-- end -->"
FORM: Final = "From=%2B15005550006&Body=x&To=%2B"
ENVIRONMENT: Final = {
    "URL": f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json",
    "AUTH": "Basic " + base64.b64encode(f"{SID}:{TOKEN}".encode()).decode(),
    "TYPE": "application/x-www-form-urlencoded",
    "GOOD": f"{FORM}14105550100",
    "BAD": f"{FORM}15005550001",
}


def _fetched(command: Sequence[str | Path], place: Path) -> None:
    done = subprocess.run(
        list(map(str, command)), cwd=place, capture_output=True, text=True, check=False, timeout=900
    )
    if done.returncode:
        pytest.skip(f"{command[0]} fetches or compiles nothing here: {done.stderr.strip()[-300:]}")


def _python(row: Row, place: Path) -> list[str | Path]:
    file = place / "tried.py"
    file.write_text(row.source)
    if row.packages:
        try:
            pip = pip_for(sys.executable)
        except MissingError as missing:
            pytest.skip(str(missing))
        libraries = place / "libraries"
        if not libraries.is_dir():
            _fetched([*pip, "install", "-q", "--target", libraries, *row.packages], place)
        return ["env", f"LIBRARIES={libraries}", sys.executable, "-c", _PATHED, file]
    return [sys.executable, file]


_PATHED: Final = (
    "import os, runpy, sys; sys.path[:0] = [os.environ['LIBRARIES']]; runpy.run_path(sys.argv[1])"
)


def _by_npm(*command: str) -> Callable[[Row, Path], list[str | Path]]:
    def runner(row: Row, place: Path) -> list[str | Path]:
        (place / "tried.mjs").write_text(row.source)
        packages = [
            one for one in row.packages if not (place / "node_modules" / one.rpartition("@")[0]).is_dir()
        ]
        if packages:
            _fetched([needs("npm"), "install", "--silent", "--prefix", place, *packages], place)
        local = place / "node_modules" / ".bin" / command[0]
        return [local if local.exists() else needs(command[0]), *command[1:], place / "tried.mjs"]

    return runner


def _script(name: str, *command: str) -> Callable[[Row, Path], list[str | Path]]:
    def runner(row: Row, place: Path) -> list[str | Path]:
        (place / name).write_text(row.source)
        return [needs(command[0]), *command[1:], place / name]

    return runner


def _ruby(row: Row, place: Path) -> list[str | Path]:
    ruby = needs("ruby")
    (library,) = {line for line in row.source.splitlines() if line.startswith("require ")} - {
        "require 'net/http'"
    } or {"require 'net/http'"}
    if subprocess.run([ruby, "-e", library], check=False, capture_output=True).returncode:
        pytest.skip(f"Ruby has nothing for {library} here")
    (place / "tried.rb").write_text(row.source)
    return [ruby, place / "tried.rb"]


def _perl(row: Row, place: Path) -> list[str | Path]:
    perl = needs("perl")
    use = row.source.partition(";")[0]
    if subprocess.run([perl, "-MIO::Socket::SSL", "-e", use], check=False, capture_output=True).returncode:
        pytest.skip(f"Perl has nothing for {use!r} here")
    (place / "tried.pl").write_text(row.source)
    return [perl, place / "tried.pl"]


def _php(row: Row, place: Path) -> list[str | Path]:
    php = needs("php")
    if "GuzzleHttp" in row.source and not Path("/usr/share/php/GuzzleHttp/autoload.php").exists():
        pytest.skip("Guzzle is not installed here (Debian: php-guzzlehttp-guzzle)")
    if subprocess.run([php, "-r", "curl_init();"], check=False, capture_output=True).returncode:
        pytest.skip("PHP has no curl here (Debian: php-curl)")
    (place / "tried.php").write_text(row.source)
    return [php, place / "tried.php"]


def _r(row: Row, place: Path) -> list[str | Path]:
    if subprocess.run([needs("Rscript"), "-e", "library(httr)"], check=False, capture_output=True).returncode:
        pytest.skip("R has no httr here (Debian: r-cran-httr)")
    return _script("tried.R", "Rscript")(row, place)


def _go(row: Row, place: Path) -> list[str | Path]:
    (place / "tried.go").write_text(row.source)
    if not (place / "go.mod").exists():
        _fetched([needs("go"), "mod", "init", "ringback.test/tried"], place)
        for package in row.packages:
            _fetched(["go", "get", package], place)
    _fetched(["go", "build", "-o", "program", "."], place)
    return [place / "program"]


def _rust(row: Row, place: Path) -> list[str | Path]:
    (place / "src").mkdir(exist_ok=True)
    (place / "src" / "main.rs").write_text(row.source)
    manifest = '[package]\nname = "tried"\nversion = "0.1.0"\nedition = "2021"\n\n[dependencies]\n'
    (place / "Cargo.toml").write_text(manifest + "\n".join(row.packages) + "\n")
    _fetched([needs("cargo"), "build", "--quiet", "--target-dir", place.parent / "rust-target"], place)
    shutil.copy(place.parent / "rust-target" / "debug" / "tried", place / "tried")
    return [place / "tried"]


def _java(row: Row, place: Path) -> list[str | Path]:
    java = needs("java")
    (place / "Tried.java").write_text(row.source)
    if not row.packages:
        return [java, place / "Tried.java"]
    if not (place / "jars").is_dir():
        (group, artifact, version) = row.packages[0].split(":")
        (place / "pom.xml").write_text(_POM.format(group=group, artifact=artifact, version=version))
        goal = ["dependency:copy-dependencies", "-DoutputDirectory=jars"]
        _fetched([needs("mvn"), "-q", "-B", *goal], place)
    return [java, "-cp", f"{place / 'jars'}/*", place / "Tried.java"]


_POM: Final = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>ringback.tests</groupId><artifactId>tried</artifactId><version>1</version><dependencies><dependency>
<groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>
</dependency></dependencies></project>
"""

RUNNERS: Final[dict[str, Callable[[Row, Path], list[str | Path]]]] = {
    "Ruby": _ruby,
    "PHP": _php,
    "Python": _python,
    "Node.js": _by_npm("node"),
    "Deno": _by_npm("deno", "run", "-A"),
    "Bun": _by_npm("bun", "run"),
    "Go": _go,
    "Rust": _rust,
    "Java": _java,
    "Perl": _perl,
    "Elixir": _script("tried.exs", "elixir"),
    "R": _r,
    "sh": _script("tried.sh", "sh"),
}


def outcome(done: subprocess.CompletedProcess[str]) -> str:
    """Name the result of a run, in the words of `rows`."""
    if done.returncode == 0 and "queued" in done.stdout and "21211" in done.stdout:
        return SERVED
    if done.returncode != 3:
        return f"exit code {done.returncode}"
    if "past the proxy and was stopped" in done.stderr:
        return STOPPED
    if "does not trust Ringback's CA" in done.stderr:
        return UNTRUSTED
    return NOTICED


def run(product: Product, row: Row, *options: str) -> str:
    """Run one client."""
    name = "".join(letter if letter.isalnum() else "-" for letter in f"{row.language}-{row.client}").lower()
    with alone_in(CACHE / "tried" / name) as place:
        command = RUNNERS[row.language](row, place)
        done = product.run(command, more=ENVIRONMENT, cwd=place, options=options)
    sys.stderr.write(done.stdout + done.stderr)
    return outcome(done)


def _id(row: Row) -> str:
    return f"{row.language}-{row.client}"


@TRIED
@pytest.mark.parametrize("row", ROWS, ids=_id)
def test_client(product: Product, row: Row) -> None:
    if row.result == BY_WITNESS:
        assert run(product, row, "--witness", "never") == NOTICED
        if WITNESSED:
            assert run(product, row, "--witness", "always") == STOPPED
    else:
        assert run(product, row) == row.result


@TRIED
@pytest.mark.skipif(not ALLOWED, reason="no mount namespace is allowed here: it needs root on Linux")
@pytest.mark.parametrize("row", [row for row in ROWS if row.everywhere], ids=_id)
def test_client_in_a_mount_namespace(product: Product, row: Row) -> None:
    assert run(product, row, "--mount-namespace") == row.everywhere


def table() -> str:
    """The table of the page."""
    lines = [
        "| language | client | under `run` | with `--mount-namespace`, where it differs |",
        "|---|---|---|---|",
    ]
    for row in ROWS:
        versions = [one for one in row.packages if one.partition("@")[0] not in {"deno", "bun"}]
        version = f" ({', '.join(versions)})" if versions and row.language != "Rust" else ""
        lines.append(f"| {row.language} | {row.client}{version} | {row.result} | {row.everywhere} |")
    return "\n".join(lines) + "\n"


def test_the_page_has_the_table() -> None:
    text = PAGE.read_text()
    assert text.partition(BEGIN)[2].partition(END)[0] == table()


if __name__ == "__main__":
    before, _, after = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + after.partition(END)[2])

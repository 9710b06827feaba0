"""curl and wget under `ringback run`, in both of the API's formats."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.launching import needs
from support.product import INVALID_TO, MAGIC_FROM, SID, TO, TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from support.product import Product

URL = f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages"


def _curl(url: str, to: str) -> list[str]:
    fields = [f"To={to}", f"From={MAGIC_FROM}", "Body=hello"]
    form = [part for field in fields for part in ("--data-urlencode", field)]
    return [needs("curl"), "--silent", "--show-error", "-X", "POST", url, "-u", f"{SID}:{TOKEN}", *form]


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_json(version: str, product: Product) -> None:
    done = product.run([*_curl(f"{URL}.json", TO), version])
    assert json.loads(done.stdout)["status"] == "queued"
    assert "1 Twilio request answered" in done.stderr


def test_an_error(product: Product) -> None:
    done = product.run(_curl(f"{URL}.json", INVALID_TO))
    assert json.loads(done.stdout)["code"] == 21211


def test_xml(product: Product) -> None:
    done = product.run(_curl(URL, INVALID_TO))
    assert "<Code>21211</Code>" in done.stdout


@pytest.mark.parametrize(
    "hostile",
    [
        {"NO_PROXY": "*"},
        {"no_proxy": "api.twilio.com"},
        {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
        {"CURL_CA_BUNDLE": "/not/there", "SSL_CERT_FILE": "/not/there"},
        {"SSL_CERT_DIR": "/not/there"},
        {"TMPDIR": "with space"},
    ],
    ids=" ".join,
)
def test_an_environment_that_leads_elsewhere(
    hostile: dict[str, str], product: Product, tmp_path: Path
) -> None:
    if "TMPDIR" in hostile:
        hostile = {"TMPDIR": str(tmp_path / "with space")}
        (tmp_path / "with space").mkdir()
    done = product.run(_curl(f"{URL}.json", TO), more=hostile)
    assert json.loads(done.stdout)["status"] == "queued", done.stderr


def test_wget(product: Product, tmp_path: Path) -> None:
    login = ["--auth-no-challenge", f"--user={SID}", f"--password={TOKEN}"]
    form = "--post-data=To=%2B14105550100&From=%2B15005550006&Body=hello"
    done = product.run([needs("wget"), "-q", "-O", tmp_path / "answer", *login, form, f"{URL}.json"])
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "answer").read_text())["status"] == "queued"

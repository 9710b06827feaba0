""".NET's HTTP stacks under `ringback run`: HttpClient, which twilio-csharp sends with, and HttpWebRequest.

NuGet is not everywhere reachable, and no package of Debian has twilio-csharp.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.dotnet import Dotnet, compiled, compiled_for_mono, dotnet, mono, packaged, packaged_8

if TYPE_CHECKING:
    from support.product import Product

pytestmark = pytest.mark.xdist_group("sdk-dotnet")  # they share a runtime

SOURCE = Path(__file__).with_name("Driver.cs")
EXPECTED = (
    "HttpClient 201 queued\nHttpClient 400 21211\nHttpWebRequest 201 queued\nHttpWebRequest 400 21211\n"
)
# One of Twilio's names that leads nowhere.
NOWHERE = "https://api.doctor.twilio.com/"


@pytest.fixture(scope="module", params=["this machine's", "3.1", "8"])
def runtime(request: pytest.FixtureRequest) -> Dotnet:
    if request.param == "3.1":
        return packaged()
    if request.param == "8":
        return packaged_8()
    if shutil.which("dotnet") is None:
        pytest.skip("no dotnet is installed here; those from PyPI are driven instead")
    return dotnet()


@pytest.fixture(scope="module")
def program(runtime: Dotnet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(runtime, [SOURCE], tmp_path_factory.mktemp("dotnet") / "Driver.dll")


def test_both_clients(runtime: Dotnet, program: Path, product: Product) -> None:
    done = product.run([runtime.program, program], more=runtime.variables)
    assert (done.returncode, done.stdout) == (0, EXPECTED), done.stderr
    assert "ringback: 4 Twilio requests answered, offline (contract 4)" in done.stderr


@pytest.mark.parametrize(
    "hostile",
    [
        {"NO_PROXY": "*", "no_proxy": "*"},
        {"no_proxy": "api.twilio.com", "NO_PROXY": ".twilio.com"},
        {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
        {"ALL_PROXY": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9"},
        {"SSL_CERT_FILE": "/not/there", "SSL_CERT_DIR": "/not/there"},
    ],
    ids=" ".join,
)
def test_an_environment_that_leads_elsewhere(
    hostile: dict[str, str], runtime: Dotnet, program: Path, product: Product
) -> None:
    done = product.run([runtime.program, program], more=dict(runtime.variables) | hostile)
    assert (done.returncode, done.stdout) == (0, EXPECTED), done.stderr


def test_a_client_that_goes_past_the_proxy_is_not_green(
    runtime: Dotnet, program: Path, product: Product
) -> None:
    done = product.run([runtime.program, program, NOWHERE], more=runtime.variables)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "needs its `UseProxy`" in done.stderr


# -- Mono, which has a trust store of its own and reads no variable for it


@pytest.fixture(scope="module")
def mono_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    mono()
    return compiled_for_mono(SOURCE, tmp_path_factory.mktemp("mono") / "Driver.exe")


@pytest.mark.parametrize(
    "hostile",
    [
        {},
        {"NO_PROXY": "*", "no_proxy": "*"},
        {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"},
    ],
    ids=lambda hostile: " ".join(hostile) or "friendly",
)
def test_mono(hostile: dict[str, str], mono_program: Path, product: Product, tmp_path: Path) -> None:
    more = {"HOME": str(tmp_path)}
    product.run(["true"], more=more)  # makes the CA
    root = product.home / "ca" / "current" / "mitmproxy-ca-cert.pem"
    subprocess.run(["cert-sync", "--user", str(root)], env=more | _path(), check=True, capture_output=True)
    done = product.run([mono(), mono_program], more=more | hostile)
    assert (done.returncode, done.stdout) == (0, EXPECTED), done.stderr


def test_mono_without_the_ca_is_told_what_it_needs(
    mono_program: Path, product: Product, tmp_path: Path
) -> None:
    done = product.run(["sh", "-c", f"mono {mono_program} || true"], more={"HOME": str(tmp_path)})
    assert done.returncode == 3
    assert "cert-sync --quiet --user" in done.stderr


def _path() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin"}

"""The environment as a whole; what real clients make of it is in the tests of each runtime."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ringback.launch.environment import Launch, Proxy, prepare
from ringback.launch.runtimes import RUNTIMES

if TYPE_CHECKING:
    from ringback.launch.ca import Authority

PROXY = Proxy("127.0.0.1", 4010)
FOUR = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
BUNDLED = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "HTTPLIB2_CA_CERTS",
    "PERL_LWP_SSL_CA_FILE",
    "DENO_CERT",
)
OTHER_ROOT = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "launch"
    place.mkdir()
    return place


def test_all_four_proxy_variables_name_the_proxy(authority: Authority, directory: Path) -> None:
    launch = prepare(PROXY, authority, {"HTTP_PROXY": "http://old.example:1", "HOME": "/"}, directory)
    assert {launch.environment[name] for name in FOUR} == {"http://127.0.0.1:4010"}
    assert launch.warnings == ()


@pytest.mark.parametrize(
    "proxy, url",
    [
        (Proxy("127.0.0.1", 1, "night run"), "http://night%20run:x@127.0.0.1:1"),
        (Proxy("127.0.0.1", 1, password="a/b@c"), "http://ringback:a%2Fb%40c@127.0.0.1:1"),
        (Proxy("::1", 1), "http://[::1]:1"),
    ],
)
def test_the_proxy_url(proxy: Proxy, url: str) -> None:
    assert proxy.url == url


def test_unrelated_variables_are_kept_and_only_changes_are_listed(
    authority: Authority, directory: Path
) -> None:
    launch = prepare(PROXY, authority, {"HOME": "/nowhere", "MINE": "1"}, directory)
    assert launch.environment["MINE"] == "1"
    assert "MINE" not in launch.variables
    assert set(launch.environment) == {"HOME", "MINE"} | set(launch.variables)


def test_every_file_it_names_is_in_the_directory(authority: Authority, directory: Path) -> None:
    launch = prepare(PROXY, authority, {}, directory)
    for name in BUNDLED:
        assert Path(launch.environment[name]).is_relative_to(directory), name
        assert authority.root_pem.read_text().strip() in Path(launch.environment[name]).read_text(), name
    assert launch.bundle.read_bytes().count(b"BEGIN CERTIFICATE") > 50
    shutil.rmtree(directory)
    assert not any(directory.parent.glob("**/*.pem"))


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundle_holds_what_the_variable_named_before(
    name: str, authority: Authority, directory: Path
) -> None:
    own = directory.parent / "own roots.pem"
    own.write_text(OTHER_ROOT)
    launch = prepare(PROXY, authority, {name: str(own)}, directory)
    text = Path(launch.environment[name]).read_text()
    assert OTHER_ROOT in text
    assert authority.root_pem.read_text().strip() in text
    assert text.count("BEGIN CERTIFICATE") == 2
    assert launch.warnings == ()


def test_a_bundle_can_come_from_a_directory_as_requests_takes_it(
    authority: Authority, directory: Path
) -> None:
    own = directory.parent / "roots"
    own.mkdir()
    (own / "a.pem").write_text(OTHER_ROOT)
    (own / "1a2b3c4d.0").symlink_to("a.pem")
    launch = prepare(PROXY, authority, {"REQUESTS_CA_BUNDLE": str(own)}, directory)
    assert Path(launch.environment["REQUESTS_CA_BUNDLE"]).read_text().count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize("name", BUNDLED)
def test_a_missing_file_is_warned_about_and_replaced(
    name: str, authority: Authority, directory: Path
) -> None:
    launch = prepare(PROXY, authority, {name: "/not/there.pem"}, directory)
    assert len(launch.warnings) == 1
    assert name in launch.warnings[0]
    assert "/not/there.pem" in launch.warnings[0]
    assert authority.root_pem.read_text().strip() in Path(launch.environment[name]).read_text()


def test_ssl_cert_dir_is_kept_as_far_as_it_exists(authority: Authority, directory: Path) -> None:
    here = str(directory.parent)
    launch = prepare(PROXY, authority, {"SSL_CERT_DIR": f"/not/there:{here}"}, directory)
    assert launch.environment["SSL_CERT_DIR"] == here
    assert "/not/there" in launch.warnings[0]


def test_ssl_cert_dir_goes_when_nothing_of_it_exists(authority: Authority, directory: Path) -> None:
    launch = prepare(PROXY, authority, {"SSL_CERT_DIR": "/not/there"}, directory)
    assert launch.removed == ("SSL_CERT_DIR",)
    assert "SSL_CERT_DIR" not in launch.environment


@pytest.mark.parametrize(
    "name, old, start, end",
    [
        ("NODE_OPTIONS", "--max-old-space-size=512", "--max-old-space-size=512 --require ", "preload.cjs"),
        ("PYTHONPATH", "/a:/b", "", ":/a:/b"),
        ("GOFLAGS", "-mod=mod", "-mod=mod ", "-count=1"),
        ("GOFLAGS", "-count=3", "-count=3", "-count=3"),
        ("PHP_INI_SCAN_DIR", "", ":/", "/php"),
        ("PHP_INI_SCAN_DIR", "/etc/mine", "/etc/mine:/", "/php"),
        ("JAVA_TOOL_OPTIONS", "-Xmx1g", "-Xmx1g -", ""),
    ],
)
def test_lists_are_extended(
    name: str, old: str, start: str, end: str, authority: Authority, directory: Path
) -> None:
    launch = prepare(PROXY, authority, {name: old} if old else {}, directory)
    assert launch.environment[name].startswith(start)
    assert launch.environment[name].endswith(end)


def test_goflags_of_the_go_settings_file_are_kept(authority: Authority, directory: Path) -> None:
    config = directory.parent / "go"
    config.mkdir()
    (config / "env").write_text("GOFLAGS=-mod=vendor\n")
    launch = prepare(PROXY, authority, {"XDG_CONFIG_HOME": str(directory.parent)}, directory)
    assert launch.environment["GOFLAGS"] == "-mod=vendor -count=1"


def test_wgets_own_settings_are_kept(authority: Authority, directory: Path) -> None:
    (directory.parent / ".wgetrc").write_text("tries = 1\n")
    launch = prepare(PROXY, authority, {"HOME": str(directory.parent)}, directory)
    text = Path(launch.environment["WGETRC"]).read_text()
    assert text == f"tries = 1\n\nca_certificate = {launch.bundle}\n"


def test_nothing_that_node_20_refuses(authority: Authority, directory: Path) -> None:
    launch = prepare(PROXY, authority, {}, directory)
    assert "--use-env-proxy" not in launch.environment["NODE_OPTIONS"]


def test_no_variable_is_set_by_two_tables() -> None:
    names = [variable.name for runtime in RUNTIMES for variable in runtime]
    assert sorted(names) == sorted(set(names))
    assert all(variable.why for runtime in RUNTIMES for variable in runtime)


def _again(authority: Authority, first: Launch, directory: Path) -> Launch:
    second = directory.parent / "second"
    second.mkdir()
    return prepare(Proxy("127.0.0.1", 4011), authority, first.environment, second)


def test_a_launch_inside_a_launch_points_at_the_inner_proxy(authority: Authority, directory: Path) -> None:
    outer = prepare(PROXY, authority, {}, directory)
    inner = _again(authority, outer, directory)
    assert {inner.environment[name] for name in FOUR} == {"http://127.0.0.1:4011"}
    assert inner.warnings == ()

"""The words of the runtimes' tables: the proxy's URL, files in one step, quoting."""

from __future__ import annotations

import os
import shlex
import stat
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from ringback.launch.directory import launch_base, write_file
from ringback.launch.runtimes import LaunchContext, Proxy, bundle, quoted, shim
from ringback.launch.trust import Bundles


def context(directory: Path) -> LaunchContext:
    root = write_file(directory / "root.pem", b"root")
    bundles = Bundles(directory, root, lambda _: None)
    return LaunchContext(Proxy("127.0.0.1", 1), root, {}, directory, bundles, "", lambda _: None)


@pytest.mark.parametrize(
    "proxy",
    [
        Proxy("127.0.0.1", 8080),
        Proxy("::1", 8080, "name"),
        Proxy("proxy.example", 1, "a@b:c/d", "p:w@/%"),
        Proxy("127.0.0.1", 1, None, "secret"),
    ],
)
def test_a_client_reads_out_of_the_url_what_was_put_into_it(proxy: Proxy) -> None:
    parts = urlsplit(proxy.url)
    assert (parts.scheme, parts.hostname, parts.port) == ("http", proxy.host, proxy.port)
    if proxy.user or proxy.password:
        assert unquote(parts.username or "") == (proxy.user or "ringback")
        assert unquote(parts.password or "") == (proxy.password or "x")  # requests sends none that is empty
    else:
        assert parts.username is None


def test_a_file_is_placed_whole_readable_for_all_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    assert write_file(path, b"one") == path
    assert write_file(path, b"two").read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_an_equal_file_is_left_as_it_is(tmp_path: Path) -> None:
    before = write_file(tmp_path / "file", b"one").stat()
    after = write_file(tmp_path / "file", b"one").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_shim_is_a_copy_of_the_package_s(tmp_path: Path) -> None:
    copy = shim(context(tmp_path), "python", "sitecustomize.py")
    assert copy == tmp_path / "python" / "sitecustomize.py"
    assert copy.read_text().startswith("# Python 2.7")


def test_a_bundle_s_variable_names_a_file(tmp_path: Path) -> None:
    setting = bundle("SSL_CERT_FILE", "why")
    own = tmp_path / "own.pem"
    own.write_bytes(b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n")
    value = setting.value(context(tmp_path), str(own))
    assert value is not None
    assert own.read_bytes().strip() in Path(value).read_bytes()


@pytest.mark.parametrize("text", ["/plain/path", "/with space", 'with "quotes"', "back\\slash"])
def test_quoting_as_a_shell_would_read_it(text: str) -> None:
    assert shlex.split(quoted(text)) == [text]
    assert (quoted(text) == text) == (text == "/plain/path")


@pytest.mark.parametrize("name", ["plain", "a b,c;d#e", "(%!&*~`|<>?)[{@+^}]"])
def test_a_launch_s_directory_is_where_the_user_wants_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    assert launch_base(told.append) == tmp_path / name
    assert told == []


@pytest.mark.parametrize("odd", ['"', "'", "=", "\\", ":", "$", "\t", "\n", "ü"])
def test_a_directory_that_some_runtime_cannot_be_reported_is_replaced(
    odd: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / odd))
    assert launch_base(told.append) == Path("/tmp")
    (line,) = told
    assert line.startswith("TMPDIR ")
    assert line.endswith(f" has a {odd!r} that not every runtime can be told: using /tmp")


def test_where_there_is_no_other_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a=b"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert launch_base(pytest.fail) == tmp_path / "a=b"

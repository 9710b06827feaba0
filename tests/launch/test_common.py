"""What several runtimes read: all forms of the proxy variables, the CA directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringback.launch.environment import Proxy, prepare

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.launch.ca import Authority

INHERITED = {
    "HTTPS_PROXY": "http://old.example:1",
    "http_proxy": "http://old.example:2",
    "NO_PROXY": "api.twilio.com,internal.example",
    "no_proxy": "*.twilio.com",
}


def test_no_form_of_a_proxy_variable_keeps_an_old_proxy(authority: Authority, tmp_path: Path) -> None:
    launch = prepare(Proxy("127.0.0.1", 7, "mine"), authority, INHERITED, tmp_path)
    urls = {launch.environment[name] for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")}
    assert urls == {"http://mine:x@127.0.0.1:7"}


def test_both_forms_of_no_proxy_lose_what_names_twilio_and_keep_the_rest(
    authority: Authority, tmp_path: Path
) -> None:
    launch = prepare(Proxy("127.0.0.1", 7), authority, INHERITED, tmp_path)
    for name in ("NO_PROXY", "no_proxy"):
        assert "twilio" not in launch.environment[name]
        assert "internal.example" in launch.environment[name]


def test_certificate_directories_stay_in_their_order(authority: Authority, tmp_path: Path) -> None:
    for name in ("a", "b", "launch"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("x")
    listed = [str(tmp_path / name) for name in ("b", "file", "none", "a")]
    launch = prepare(
        Proxy("127.0.0.1", 7), authority, {"SSL_CERT_DIR": ":".join(listed) + ":"}, tmp_path / "launch"
    )
    assert launch.environment["SSL_CERT_DIR"] == f"{tmp_path / 'b'}:{tmp_path / 'a'}"
    missing = [str(tmp_path / name) for name in ("file", "none")]
    assert [name in line for name, line in zip(missing, launch.warnings, strict=True)] == [True, True]

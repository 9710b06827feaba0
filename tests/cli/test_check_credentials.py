"""`ringback check-credentials`: one probe, its verdict and exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from ringback.cli import ringback
from support.clients import ACCOUNT, TOKEN
from support.egress import egress
from support.upstream import RESET, TEST, module_upstream, response, twilio, upstream, upstream_ca

if TYPE_CHECKING:
    from pathlib import Path

    from support.upstream import LoopbackUpstream

__all__ = ["module_upstream", "upstream", "upstream_ca"]

SID, SECRET = "RINGBACK_TEST_ACCOUNT_SID", "RINGBACK_TEST_AUTH_TOKEN"


def check(*arguments: str, account: str = ACCOUNT, token: str = TOKEN) -> Result:
    return CliRunner().invoke(ringback, ["check-credentials", *arguments], env={SID: account, SECRET: token})


def ask(server: LoopbackUpstream) -> Result:
    return check("--upstream", server.url, "--upstream-ca", str(server.ca))


@pytest.mark.parametrize(
    "answer, code, verdict, said",
    [
        (TEST, 0, "test", "are test credentials"),
        (twilio(200, sid=ACCOUNT), 1, "live", "what they do costs money"),
        (twilio(401, 20003), 1, "wrong", "do not belong together"),
        (twilio(403, 20003), 2, "unclear", "api.twilio.com answered 403"),
        (response(200, b"<html>log in</html>"), 2, "unclear", "api.twilio.com answered 200"),
        (twilio(500, 20500), 2, "unclear", "api.twilio.com answered 500"),
        (RESET, 2, "unclear", "no answer (upstream."),
    ],
)
def test_the_verdict_of_one_probe(
    upstream: LoopbackUpstream, answer: bytes, code: int, verdict: str, said: str
) -> None:
    upstream.probe = lambda _: answer
    got = ask(upstream)
    assert got.exit_code == code
    assert got.stdout.startswith(f"{verdict}: ")
    assert said in got.stdout
    assert TOKEN not in got.output
    assert [(seen.pair, seen.is_probe) for seen in upstream.seen] == [((ACCOUNT, TOKEN), True)]


def test_nobody_there_is_unclear(upstream: LoopbackUpstream) -> None:
    upstream.before_tls = "reset"
    got = ask(upstream)
    assert (got.exit_code, got.stdout.split(" ")[0]) == (2, "unclear:")


WAYS = [
    "--egress-proxy",
    "RINGBACK_EGRESS_PROXY",
    "egress-proxy in ringback.toml",
    "HTTPS_PROXY",
    "https_proxy",
]


@pytest.mark.parametrize("by", WAYS)
def test_it_goes_through_the_egress_proxy_that_serve_would_take(
    upstream: LoopbackUpstream, by: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    upstream.probe = lambda _: TEST
    monkeypatch.chdir(tmp_path)
    with egress({"api.twilio.com:443": upstream.port}) as proxy:
        arguments = ["--upstream-ca", str(upstream.ca)]
        if by.startswith("--"):
            arguments += [by, proxy.url]
        elif by.endswith(".toml"):
            (tmp_path / "ringback.toml").write_text(f'egress-proxy = "{proxy.url}"')
        else:
            monkeypatch.setenv(by, proxy.url)
        assert (check(*arguments).exit_code, proxy.seen) == (0, ["api.twilio.com:443"])


def test_a_proxy_variable_that_is_no_proxy_is_reported(
    upstream: LoopbackUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.probe = lambda _: TEST
    monkeypatch.setenv("https_proxy", "socks5://somewhere.example:1080")
    got = ask(upstream)
    assert got.exit_code == 0
    assert "HTTPS_PROXY cannot be used" in got.stderr


@pytest.mark.parametrize(
    "account, token, said",
    [
        ("", TOKEN, f"set {SID} and {SECRET}"),
        (ACCOUNT, "", f"set {SID} and {SECRET}"),
        (ACCOUNT, "\udcff", f"{SECRET} has characters that are not ASCII"),
    ],
)
def test_a_missing_or_impossible_pair_is_not_sent(
    upstream: LoopbackUpstream, account: str, token: str, said: str
) -> None:
    got = check("--upstream", upstream.url, account=account, token=token)
    assert got.exit_code == 2
    assert said in got.stderr
    assert upstream.seen == []


@pytest.mark.parametrize(
    "account, said",
    [
        ("AC1/../AC2", "is no AccountSid (AC and 32 hexadecimal digits); nothing was sent"),
        ("AC" + "g" * 32, "is no AccountSid (AC and 32 hexadecimal digits); nothing was sent"),
        (f"{ACCOUNT} ", "is no AccountSid (AC and 32 hexadecimal digits); nothing was sent"),
        ("SK" + "0a" * 16, "but an API key: there are no test API keys; nothing was sent"),
    ],
)
def test_a_sid_that_is_none_is_wrong_and_not_sent(
    upstream: LoopbackUpstream, account: str, said: str
) -> None:
    """Live-test: a malformed AccountSid gets 404, which says nothing about the token."""
    got = check("--upstream", upstream.url, account=account)
    assert got.exit_code == 1
    assert got.stdout.startswith("wrong: ")
    assert said in got.stdout
    assert upstream.seen == []


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_help_has_every_exit_code(code: int) -> None:
    assert f"\n    {code}  " in check("--help").stdout

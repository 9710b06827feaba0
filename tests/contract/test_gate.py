"""Who may ask what: hosts, credentials, account, resource; and what each refusal says."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ringback.contract import Credentials, Names, Request, admit, load
from ringback.contract.gate import Admitted, Refused, canonical_host, disagreement
from support.clients import (
    ACCOUNT,
    FORM_TYPE,
    GOOD,
    TOKEN,
    ask,
    basic,
    fail_of,
    one_line,
    path,
    post,
)

CONTRACT = load()
FINE = post("Messages", GOOD["Messages"])
HOST = "api.twilio.com"
OTHER = "AC" + "f" * 32
FORBIDDEN = "Resource not accessible with Test Account Credentials"


def judge(request: Request, names: Names | None = None, credentials: Credentials | None = None) -> str:
    """The rule that refuses, or `admitted`."""
    got = admit(CONTRACT, request, names or Names(request.host), credentials or Credentials())
    return got.refusal.id if isinstance(got, Refused) else "admitted"


def authorized(header: str | None) -> Request:
    fields = (FORM_TYPE,) if header is None else (("Authorization", header), FORM_TYPE)
    return replace(FINE, headers=fields)


# -- hosts


@pytest.mark.parametrize(
    "host",
    [
        "api.twilio.com",
        "api.us1.twilio.com",
        "api.ie1.twilio.com",
        "api.dublin.ie1.twilio.com",
        "api.sydney.au1.twilio.com",
    ],
)
def test_the_api_in_every_region_and_edge(host: str) -> None:
    assert judge(replace(FINE, host=host)) == "admitted"
    assert CONTRACT.is_twilio(host)


@pytest.mark.parametrize(
    "host",
    [
        "lookups.twilio.com",
        "verify.twilio.com",
        "www.twilio.com",
        "twilio.com",
        "api.a.b.c.twilio.com",
        "xapi.twilio.com",
        "api-x.twilio.com",
        "ap_i.twilio.com",
        "*.twilio.com",
    ],
)
@pytest.mark.parametrize("target", [path(), "/v2/PhoneNumbers/+14105550100", "/"])
def test_every_other_host_of_twilios_is_out_of_reach_and_speaks_json(host: str, target: str) -> None:
    got = ask(replace(FINE, host=host, target=target))
    failed = fail_of(got)
    assert (failed["status"], failed["code"], failed["message"]) == (403, 20008, FORBIDDEN)
    assert got.header("Content-Type") == "application/json"
    assert got.source.rule == "resource.product-host"
    newer = "newer editions open GET /v2/PhoneNumbers" in (got.source.reason or "")
    assert newer == (host == "lookups.twilio.com")
    assert host in (got.source.reason or "")
    assert "about 2017" in (got.source.reason or "")
    assert got.source.line == 17


@pytest.mark.parametrize(
    "method, target, rule, basis",
    [
        ("GET", "/v2/PhoneNumbers/+14105550100", "resource.lookup", "assumed"),
        ("GET", "/v2/PhoneNumbers/+14105550100?Fields=line_type_intelligence", "resource.lookup", "assumed"),
        ("POST", "/v2/PhoneNumbers/+14105550100", "resource.product-host", "documented"),
        ("GET", "/v1/PhoneNumbers/+14105550100", "resource.product-host", "documented"),
    ],
)
def test_a_lookup_that_newer_editions_open_is_refused_by_assumption(
    method: str, target: str, rule: str, basis: str
) -> None:
    """The newest edition of the page has GET v2/PhoneNumbers; no table of its magic numbers was found."""
    got = ask(replace(FINE, method=method, host="lookups.twilio.com", target=target))
    assert (got.status, got.source.rule, got.source.basis) == (403, rule, basis)
    assert "newer editions" in (got.source.reason or "")


@pytest.mark.parametrize(
    "host",
    [
        "api.twilio.com.evil.example",
        "eviltwilio.com",
        "api-twilio.com",
        "twilio.com.",
        "twilio.co",
        "twilio.community",
        "api.twilio.com@evil.example",
        "127.0.0.1",
        "::1",
        "[::1]",
        "localhost",
        "",
        "com",
        "tw\u0131lio.com",
    ],
)
def test_look_alikes_are_not_twilio(host: str) -> None:
    assert not CONTRACT.is_twilio(host)
    assert not CONTRACT.is_api(host)


@pytest.mark.parametrize(
    "host",
    [
        "api\u3002twilio\u3002com",
        "\uff41pi.twilio.com",
        "api.twil\u00adio.com",
        "API.TW\u0130LIO.com"[:3] + ".twilio.com\u200b",
    ],
)
def test_what_a_resolver_would_take_for_twilio_is_twilio(host: str) -> None:
    assert CONTRACT.is_twilio(host)


@pytest.mark.parametrize(
    "sent, wanted",
    [
        ("API.TWILIO.COM.", "api.twilio.com"),
        ("api.twilio.com:443", "api.twilio.com"),
        ("Api.Twilio.Com.:8443", "api.twilio.com"),
        ("[::1]:8080", "[::1]"),
        ("[FE80::1]", "[fe80::1]"),
        ("127.0.0.1:1", "127.0.0.1"),
    ],
)
def test_hosts_are_compared_in_one_form(sent: str, wanted: str) -> None:
    assert canonical_host(sent) == wanted


@pytest.mark.parametrize(
    "names, detail",
    [
        (
            Names(HOST, "127.0.0.9", HOST),
            "CONNECT says 127.0.0.9, TLS says api.twilio.com, Host says api.twilio.com",
        ),
        (
            Names(HOST, HOST, "evil.example"),
            "CONNECT says api.twilio.com, TLS says evil.example, Host says api.twilio.com",
        ),
        (
            Names("evil.example", HOST, HOST),
            "CONNECT says api.twilio.com, TLS says api.twilio.com, Host says evil.example",
        ),
        (Names("lookups.twilio.com", HOST), "CONNECT says api.twilio.com, Host says lookups.twilio.com"),
        (Names(HOST, None, "api.ie1.twilio.com"), "TLS says api.ie1.twilio.com, Host says api.twilio.com"),
    ],
)
def test_a_connection_that_names_two_hosts_is_refused(names: Names, detail: str) -> None:
    got = ask(replace(FINE, host=names.host), names=names)
    assert (got.status, got.source.rule) == (403, "host.mismatch")
    assert got.source.reason is not None
    assert got.source.reason.endswith(detail)
    assert fail_of(got)["code"] == 20008


@pytest.mark.parametrize(
    "names", [Names(HOST), Names(HOST, HOST), Names(HOST, HOST, HOST, 443), Names(HOST, None, HOST)]
)
def test_a_connection_that_names_one_host_passes(names: Names) -> None:
    assert disagreement(names) is None
    assert judge(FINE, names) == "admitted"


@pytest.mark.parametrize(
    "scheme, port, wanted",
    [
        ("https", 443, "admitted"),
        ("http", 80, "admitted"),
        ("https", None, "admitted"),
        ("https", 80, "host.port"),
        ("http", 443, "host.port"),
        ("https", 8443, "host.port"),
        ("https", 0, "host.port"),
    ],
)
def test_ports(scheme: str, port: int | None, wanted: str) -> None:
    assert judge(replace(FINE, scheme=scheme), Names(HOST, port=port)) == wanted


def test_an_upgrade_is_refused() -> None:
    assert judge(replace(FINE, headers=(*FINE.headers, ("Upgrade", "websocket")))) == "host.upgrade"


# -- credentials


def encoded(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "header, rule, message",
    [
        (None, "auth.missing", "Authentication Error - No credentials provided"),
        ("", "auth.missing", "Authentication Error - No credentials provided"),
        ("Bearer abc", "auth.malformed", "Authenticate"),
        ("Basic", "auth.malformed", "Authenticate"),
        ("Basic ", "auth.malformed", "Authenticate"),
        ("Basic !!!", "auth.malformed", "Authenticate"),
        ("Basic QUM", "auth.malformed", "Authenticate"),
        ("Basic \u00e9", "auth.malformed", "Authenticate"),
        ("Basic " + base64.b64encode(b"\xff\xfe:x").decode(), "auth.malformed", "Authenticate"),
        (encoded("no colon"), "auth.malformed", "Authenticate"),
        (encoded("SK" + "0" * 32 + ":secret"), "auth.api-key", "Authentication Error - invalid username"),
        (encoded("alice:secret"), "auth.username", "Authentication Error - invalid username"),
        (encoded(":"), "auth.username", "Authentication Error - invalid username"),
        (encoded("AC:x"), "auth.username", "Authentication Error - invalid username"),
        (encoded(f"{ACCOUNT}\n:x"), "auth.username", "Authentication Error - invalid username"),
        (encoded(f"{ACCOUNT}:"), "auth.token", "Authenticate"),
    ],
)
@pytest.mark.parametrize("extension", [".json", ""])
def test_bad_credentials(header: str | None, rule: str, message: str, extension: str) -> None:
    got = ask(replace(authorized(header), target=path(extension=extension)))
    assert got.source.rule == rule
    failed = fail_of(got)
    assert (failed["status"], failed["code"], failed["message"]) == (401, 20003, message)
    assert got.header("WWW-Authenticate") == 'Basic realm="Twilio API"'
    assert got.header("Content-Type") == ("application/json" if extension else "application/xml")


@pytest.mark.parametrize(
    "header", [encoded(f"{ACCOUNT}:{TOKEN}").replace("Basic", "bASIC"), encoded(f"{ACCOUNT}:a:b:c")]
)
def test_odd_but_good_credentials(header: str) -> None:
    assert judge(authorized(header)) == "admitted"


@pytest.mark.parametrize("token", ["your_auth_token", "[AuthToken]", "0"])
def test_placeholders_of_tokens_work(token: str) -> None:
    request = replace(FINE, headers=(basic(ACCOUNT, token), FORM_TYPE))
    assert judge(request) == "admitted"
    assert ask(request).status == 201


# Source: live tests with test credentials; a malformed AccountSid is 20404 before any 401, an empty one too.
@pytest.mark.parametrize(
    "account",
    [
        "",
        "AC0",
        "ACyouraccountsid",
        "AC" + "0" * 31,
        "AC" + "0" * 33,
        "ac" + "0" * 32,
        "SK" + "0" * 32,
    ],
)
@pytest.mark.parametrize("authorized", ["itself", "another", "nobody"])
def test_a_malformed_account_in_the_path_is_not_found_before_any_401(account: str, authorized: str) -> None:
    user = account if authorized == "itself" else ACCOUNT
    headers = (FORM_TYPE,) if authorized == "nobody" else (basic(user, TOKEN), FORM_TYPE)
    got = ask(replace(FINE, target=path(account=account), headers=headers))
    failed = fail_of(got)
    assert (failed["status"], failed["code"]) == (404, 20404)
    assert failed["message"] == f"The requested resource {path(account=account)} was not found"
    assert (got.source.rule, got.source.basis) == ("account.malformed", "recorded")


@given(st.from_regex(r"[A-Za-z0-9_-]{0,40}|AC[0-9a-fA-FX]{30,34}", fullmatch=True), st.booleans())
def test_an_account_is_ac_and_32_digits(account: str, known: bool) -> None:
    headers = (basic(account, TOKEN) if known else basic(), FORM_TYPE)
    rule = judge(replace(FINE, target=path(account=account), headers=headers))
    formed = re.fullmatch(r"AC([0-9a-fA-F]{32}|X{32})", account)
    assert (rule == "account.malformed") == (formed is None)


def test_another_well_formed_account_is_not_found_by_assumption() -> None:
    got = ask(replace(FINE, target=path(account=OTHER)))
    assert (got.status, got.source.rule, got.source.basis) == (404, "account.other", "assumed")


def test_an_api_key_is_reported_apart_and_named() -> None:
    got = ask(authorized(encoded("SK" + "1" * 32 + ":the-secret")))
    assert got.source.reason is not None
    assert "SK" + "1" * 32 + " is an API key" in got.source.reason
    assert "the-secret" not in str(got)


PAIR = Credentials(ACCOUNT, TOKEN)


@pytest.mark.parametrize(
    "user, token, wanted",
    [
        (ACCOUNT, TOKEN, "admitted"),
        (ACCOUNT, "other", "auth.token"),
        (ACCOUNT, TOKEN + "x", "auth.token"),
        (ACCOUNT, "\u00e9", "auth.token"),
        (ACCOUNT, "", "auth.token"),
        (OTHER, TOKEN, "auth.unknown"),
        ("SK" + "0" * 32, TOKEN, "auth.api-key"),
    ],
)
def test_with_a_configured_pair_only_that_pair_passes(user: str, token: str, wanted: str) -> None:
    account = user if user.startswith("AC") else ACCOUNT
    request = replace(FINE, target=path(account=account), headers=(basic(user, token), FORM_TYPE))
    assert judge(request, None, PAIR) == wanted


def test_no_secret_is_shown() -> None:
    got = ask(authorized(encoded(f"{ACCOUNT}:wrong-token")), credentials=PAIR)
    assert got.status == 401
    for secret in ("wrong-token", TOKEN):
        assert secret not in str(got)
        assert secret not in repr(PAIR)
    passed = admit(CONTRACT, FINE, Names(HOST), PAIR)
    assert isinstance(passed, Admitted)
    assert TOKEN not in repr(passed)


# -- account and resource


@pytest.mark.parametrize("extension", [".json", ""])
@pytest.mark.parametrize("below", ["Messages", "Calls/CA1", "Recordings"])
def test_another_account_in_the_path_is_not_found(below: str, extension: str) -> None:
    target = path(below, extension, OTHER)
    got = ask(replace(FINE, target=target))
    failed = fail_of(got)
    assert (failed["status"], failed["code"]) == (404, 20404)
    assert failed["message"] == f"The requested resource {target} was not found"
    assert got.source.reason == f"the account in the path, {OTHER}, is not the one that authenticated"


@pytest.mark.parametrize(
    "method, target, named",
    [
        ("GET", path(), "GET Messages"),
        ("PUT", path(), "PUT Messages"),
        ("DELETE", path("Messages/SM" + "0" * 32), "DELETE Messages/SM" + "0" * 32),
        ("HEAD", path(), "HEAD Messages"),
        ("OPTIONS", path("Calls"), "OPTIONS Calls"),
        ("BREW", path("Calls"), "BREW Calls"),
        ("POST", path("Calls/CA" + "0" * 32), "POST Calls/CA" + "0" * 32),
        ("POST", path("IncomingPhoneNumbers/Local"), "POST IncomingPhoneNumbers/Local"),
        ("GET", path("AvailablePhoneNumbers/US/Local"), "GET AvailablePhoneNumbers/US/Local"),
        ("POST", path("/Messages"), "POST /Messages"),
        ("POST", path("Media"), "POST Media"),
        ("GET", path("messages"), "GET messages"),
        ("POST", path("Messages.json"), "POST Messages.json"),
        ("POST", path("Messages%2Ejson", ""), "POST Messages%2Ejson"),
        ("POST", path("../" + ACCOUNT + "/Messages"), f"POST ../{ACCOUNT}/Messages"),
        ("GET", f"/2010-04-01/Accounts/{ACCOUNT}.json", f"GET /Accounts/{ACCOUNT}.json"),
        ("GET", f"/2010-04-01/Accounts/{ACCOUNT}", f"GET /Accounts/{ACCOUNT}"),
        ("GET", "/2010-04-01/Accounts.json", "GET /Accounts.json"),
        ("GET", "/2010-04-01", "GET "),
        ("GET", "/", "GET /"),
        ("GET", "*", "GET *"),
        (
            "POST",
            f"/2008-08-01/Accounts/{ACCOUNT}/Messages.json",
            f"POST /2008-08-01/Accounts/{ACCOUNT}/Messages.json",
        ),
        ("POST", f"/2010-04-01x/Accounts/{ACCOUNT}/Messages", None),
        ("POST", f"//2010-04-01/Accounts/{ACCOUNT}/Messages", None),
    ],
)
def test_any_other_resource_or_method_is_forbidden_and_named(
    method: str, target: str, named: str | None
) -> None:
    got = ask(replace(FINE, method=method, target=target))
    failed = fail_of(got)
    assert (failed["status"], failed["code"], failed["message"]) == (403, 20008, FORBIDDEN)
    assert got.reason == "FORBIDDEN"
    assert (got.source.rule, got.source.basis, got.source.line) == ("resource.unsupported", "documented", 17)
    if named is not None:
        assert got.source.reason == (
            f"test credentials reach POST Messages, Calls and IncomingPhoneNumbers only, not {named}"
        )


@pytest.mark.parametrize("extension", [".json", "", ".xml"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_the_old_path_is_named(method: str, extension: str) -> None:
    got = ask(replace(FINE, method=method, target=path("SMS/Messages", extension)))
    assert got.source.rule == "resource.sms-messages"
    assert got.source.reason == (
        f"/SMS/Messages is the old path: POST to /2010-04-01/Accounts/{ACCOUNT}/Messages instead"
    )
    assert fail_of(got)["code"] == 20008


@pytest.mark.parametrize(
    "name, meant",
    [
        ("messages", "Messages"),
        ("Message", "Messages"),
        ("Messages/", "Messages"),
        ("CALLS", "Calls"),
        ("IncomingPhoneNumber", "IncomingPhoneNumbers"),
    ],
)
def test_a_misspelt_name_is_reported_with_the_right_one(name: str, meant: str) -> None:
    got = ask(replace(FINE, target=path(name, "")))
    assert (got.source.rule, got.source.basis, got.source.line) == ("resource.misspelt", "documented", 17)
    assert got.source.reason == (
        f"no resource is called {name}: did you mean {meant}? Names in the path are case-sensitive"
    )
    assert got.status == 403


@pytest.mark.parametrize("target", [path() + "?", path() + "?PageSize=1", path() + "?x=%zz"])
def test_a_query_does_not_count(target: str) -> None:
    assert judge(replace(FINE, target=target)) == "admitted"


@pytest.mark.parametrize(
    "host, target, wanted",
    [
        (HOST, path(extension=".json"), "json"),
        (HOST, path(extension=".xml"), "xml"),
        (HOST, path(extension=""), "xml"),
        (HOST, path(extension=".csv"), "xml"),
        (HOST, path("Nothing", ".json"), "json"),
        (HOST, "/v1/Things", "json"),
        (HOST, "/v1/Things.xml", "json"),
        (HOST, "/", "json"),
        ("lookups.twilio.com", path(extension=""), "json"),
    ],
)
@pytest.mark.parametrize("accept", ["application/json", "application/xml"])
def test_the_extension_alone_chooses_the_format(host: str, target: str, wanted: str, accept: str) -> None:
    got = ask(replace(FINE, host=host, target=target, headers=(("Accept", accept),)))
    assert got.header("Content-Type") == f"application/{wanted}"
    assert fail_of(got)["code"] == 20003


# -- refusals


@pytest.mark.parametrize("refusal", CONTRACT.gate.refusals, ids=lambda refusal: refusal.id)
def test_every_refusal_has_its_phrase_and_an_actionable_line(refusal: object) -> None:
    from ringback.contract.schema import Refusal  # noqa: PLC0415 - for this test alone

    assert isinstance(refusal, Refusal)
    assert refusal.status in CONTRACT.gate.phrases
    assert one_line(refusal.reason)
    assert len(refusal.reason) > 25 or refusal.reason == "{detail}"


@pytest.mark.parametrize(
    "evil",
    [
        "\x1b[2J",
        "y" * 9000,
        "x\r\nSet-Cookie: a=b",
        "x\nRingback-Source: contract",
        "x\0",
        "\u2028line",
        "\udcff\udc80",
    ],
)
def test_nothing_quoted_adds_a_header_or_a_line(evil: str) -> None:
    key = base64.b64encode(("SK" + evil).encode("utf-8", "surrogatepass")).decode()
    for request in (
        replace(FINE, method=evil),
        replace(FINE, target=path(evil)),
        replace(FINE, target=path(account="AC" + evil)),
        replace(FINE, host=f"{evil}.twilio.com"),
        authorized("Basic " + key),
        replace(FINE, headers=(basic(), ("Content-Type", evil))),
        replace(FINE, headers=(basic(), FORM_TYPE, ("Content-Encoding", evil))),
    ):
        got = ask(request)
        assert 400 <= got.status < 500
        assert one_line(got.source.reason or "-"), "the summary shows it on a terminal"
        for name, value in (*got.headers, *got.source.headers()):
            assert one_line(name + value)
        for extension in (".json", ""):
            fail_of(ask(replace(request, target=request.target.replace(".json", extension))))


def test_the_placeholder_of_the_pages_samples_passes() -> None:
    """Twilio answers it with 404; the samples shall run here as they stand."""
    account = "AC" + "X" * 32
    request = replace(FINE, target=path(account=account), headers=(basic(account), FORM_TYPE))
    assert isinstance(admit(CONTRACT, request, Names(HOST), Credentials()), Admitted)

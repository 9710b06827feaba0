"""Whatever comes, the answer is one that Twilio could have given."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from urllib.parse import quote_plus

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ringback.contract import Answer, AnswerStamp, Credentials, Names, Request, answer, load
from ringback.contract.render import EPOCH
from support.clients import ACCOUNT, FORM_TYPE, GOOD, basic, fail_of, one_line, path

CONTRACT = load()
STAMP = AnswerStamp("0" * 32, "1" * 32, EPOCH, 0.1)
PARAMETERS = sorted({name for resource in CONTRACT.resources for name in resource.parameters})
MAGIC_VALUES = sorted({row.value for resource in CONTRACT.resources for row in resource.magic})

# Text as mitmproxy hands it over: bytes that are not UTF-8 arrive as surrogates.
anything = st.text(st.characters(codec="utf-8") | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))
wellformed = st.text(st.characters(codec="utf-8"), max_size=40)
value = (
    st.sampled_from(MAGIC_VALUES) | wellformed | st.sampled_from(["", "client:a", "http://a.example", "500"])
)
fields = st.lists(st.tuples(st.sampled_from(PARAMETERS) | wellformed, value), max_size=8)
quick = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def check(got: Answer) -> None:
    for name, text in (*got.headers, *got.source.headers()):
        assert one_line(f"{name}: {text}")
    assert got.header("Content-Length") == str(len(got.body))
    assert one_line(got.reason)
    assert got.source.rule
    assert got.source.basis in {"documented", "recorded", "assumed"}
    if got.status != 201:
        fail_of(got)
    elif got.header("Content-Type") == "application/json":
        found = json.loads(got.body)
        assert found["account_sid"] == ACCOUNT
        assert found["sid"][2:] == "0" * 32
    else:
        root = ET.fromstring(got.body)
        assert root.findtext("./*/AccountSid") == ACCOUNT


def asked(request: Request, names: Names | None = None) -> None:
    check(answer(CONTRACT, request, names or Names(request.host), Credentials(), STAMP))


@quick
@given(st.sampled_from(sorted(GOOD)), fields, st.sampled_from([".json", ""]), st.booleans())
def test_any_form(resource: str, sent: list[tuple[str, str]], extension: str, complete: bool) -> None:
    form = [*(GOOD[resource].items() if complete else ()), *sent]
    body = "&".join(f"{quote_plus(name)}={quote_plus(text)}" for name, text in form).encode()
    asked(Request("POST", "api.twilio.com", path(resource, extension), (basic(), FORM_TYPE), body))


@quick
@given(st.binary(max_size=200), st.sampled_from([".json", ""]))
def test_any_body(body: bytes, extension: str) -> None:
    asked(Request("POST", "api.twilio.com", path(extension=extension), (basic(), FORM_TYPE), body))


@quick
@given(
    anything, anything, anything, st.lists(st.tuples(anything, anything), max_size=4), st.binary(max_size=20)
)
def test_any_request(
    method: str, host: str, target: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    asked(Request(method, host, target, tuple(headers), body))
    asked(Request(method, "api.twilio.com", target, (basic(), *headers), body))
    asked(Request("POST", "api.twilio.com", "/2010-04-01/Accounts/" + target, (basic(), *headers), body))


@quick
@given(anything, anything | st.none(), anything | st.none(), st.integers() | st.none())
def test_any_names(host: str, connect: str | None, sni: str | None, port: int | None) -> None:
    asked(Request("POST", host, path(), (basic(),)), Names(host, connect, sni, port))


@quick
@given(anything)
def test_any_authorization(header: str) -> None:
    for text in (header, f"Basic {header}"):
        asked(Request("POST", "api.twilio.com", path(), (("Authorization", text),)))


@quick
@given(wellformed, wellformed)
def test_any_user_and_token(user: str, token: str) -> None:
    for name in (user, "AC" + user, "SK" + user):
        asked(Request("POST", "api.twilio.com", path(extension=""), (basic(name, token),)))

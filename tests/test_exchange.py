import pytest

from ringback.contract import Answer, Request, Source
from ringback.exchange import (
    LARGEST_ERROR,
    basic_auth,
    error_code,
    first_header,
    header_value,
    spellings,
    without_secrets,
)
from support.clients import one_line

_XML_ERROR = (
    b"<TwilioResponse><RestException><Code>20008</Code><Message>%s</Message></RestException></TwilioResponse>"
)


def test_a_requests_path_has_no_query() -> None:
    assert Request("GET", "h", "/a/b?c=/d?e").path == "/a/b"
    assert Request("GET", "h", "/a/b?c=/d?e").query == "c=/d?e"
    assert Request("GET", "h", "/a/b").query == ""


@pytest.mark.parametrize("name", ["X-One", "x-one", "X-ONE"])
def test_header_names_in_any_case(name: str) -> None:
    headers = (("x-One", "1"), ("X-one", "2"))
    assert first_header(headers, name) == "1"
    assert Request("GET", "h", "/", headers).header(name) == "1"
    assert Answer(200, "OK", headers, b"", Source("live")).header(name) == "1"
    assert first_header((), name) is None


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("plain", "plain"),
        ("a\r\nSet-Cookie: b", "a??Set-Cookie: b"),
        ("\x00\x7f\u2028é\udcff", "?????"),
        ("x" * 400, "x" * 400),
        ("x" * 401, "x" * 397 + "..."),
    ],
)
def test_a_header_value_is_one_short_line_of_ascii(text: str, wanted: str) -> None:
    assert header_value(text) == wanted
    assert one_line(header_value(text))


@pytest.mark.parametrize(
    "source, wanted",
    [
        (Source("live"), {"Ringback-Source": "live"}),
        (
            Source("contract", "Calls.to.blocked", "documented", None, 1716, "documented", "test-calls"),
            {"Ringback-Source": "contract; rule=Calls.to.blocked; basis=documented; page=test-calls"},
        ),
        (
            Source("contract", "r", "documented", text="recorded"),
            {"Ringback-Source": "contract; rule=r; basis=documented; text=recorded"},
        ),
        (
            Source("gate", "r", "assumed", "do\r\nthis", None, "assumed"),
            {"Ringback-Source": "gate; rule=r; basis=assumed", "Ringback-Reason": "do??this"},
        ),
    ],
)
def test_provenance_as_headers(source: Source, wanted: dict[str, str]) -> None:
    assert dict(source.headers()) == wanted


@pytest.mark.parametrize("character", ["x", "\u00e9"])
def test_a_header_value_is_cut_only_where_it_is_too_long(character: str) -> None:
    longest = len(header_value("x" * 100_000))
    assert header_value("x" * 100_000).endswith("x...")
    shown = character if character.isascii() else "?"
    assert header_value(character * longest) == shown * longest
    assert header_value(character * (longest + 1)) == shown * (longest - 3) + "..."


@pytest.mark.parametrize(
    "body, code",
    [
        (b'{"code": 21211}', 21211),
        (b' \n{"code": 21211}', 21211),
        (b'{"code": "21211"}', 21211),
        (b'{"code": "20008"}', 20008),
        (b'{"detail": {"code": 21211}}', None),
        (b"<TwilioResponse><RestException><Code>21211</Code></RestException></TwilioResponse>", 21211),
        (b"<TwilioResponse><RestException><Code> 21211 </Code></RestException></TwilioResponse>", 21211),
        (b"<TwilioResponse><Message><Code>21211</Code></Message></TwilioResponse>", None),
        (b'{"code": null}', None),
        (b'{"code": 7}', None),
        (b'{"code": true}', None),
        (b'{"code": 21211.0}', None),
        (b'{"code": [21211]}', None),
        (b'{"code": ', None),
        (b"[21211]", None),
        (b"<Code>1</Code>", None),
        (b"[" * 100_000, None),
        (b'{"code":' * 100_000, None),
        (b"", None),
        (b"\xff\xfe", None),
    ],
)
def test_error_code(body: bytes, code: int | None) -> None:
    assert error_code(body) == code


@pytest.mark.parametrize("form", [b'{"code": 20008, "message": "%s"}', _XML_ERROR])
def test_a_body_that_is_too_large_for_an_error_is_not_parsed(form: bytes) -> None:
    assert error_code(form % (b"x" * 1000)) == 20008
    assert error_code(form % (b"x" * LARGEST_ERROR)) is None


@pytest.mark.parametrize(
    "header, pair",
    [
        ("Basic QUM6dG9rZW4=", ("AC", "token")),
        ("basic  QUM6dG9rZW4= ", ("AC", "token")),
        (" Basic QUM6dG9rZW4=", ("AC", "token")),
        ("Basic QUM6YTpi", ("AC", "a:b")),
        ("Basic Og==", ("", "")),
        ("Basic QUM=", None),  # no colon
        ("Basic QUM6dG9rZW4", None),  # padding is missing
        ("Basic /zo=", None),  # no UTF-8
        ("Basic QUM6*dG9rZW4=", None),
        ("Basic \u00e9", None),
        ("Bearer QUM6dG9rZW4=", None),
        ("", None),
    ],
)
def test_basic_auth(header: str, pair: tuple[str, str] | None) -> None:
    assert basic_auth(header) == pair


@pytest.mark.parametrize(
    "secret, wanted",
    [
        ("seven77", ()),
        ("eight888", ("eight888", "ZWlnaHQ4ODg")),
        (
            'a "b" c/d',
            ('a "b" c/d', 'a \\"b\\" c/d', "a%20%22b%22%20c%2Fd", "a+%22b%22+c%2Fd", "YSAiYiIgYy9k"),
        ),
        (
            "odd bytes\udcff",
            ("odd bytes\udcff", "odd bytes\\udcff", "odd%20bytes%FF", "odd+bytes%FF", "b2RkIGJ5dGVz/w"),
        ),
        (
            "half \ud800 pair",
            (
                "half \ud800 pair",
                "half \\ud800 pair",
                "half%20%ED%A0%80%20pair",
                "half+%ED%A0%80+pair",
                "aGFsZiDtoIAgcGFpcg",
            ),
        ),
    ],
)
def test_every_spelling_of_a_secret(secret: str, wanted: tuple[str, ...]) -> None:
    assert spellings(secret) == wanted


@pytest.mark.parametrize(
    "value", ["Bearer token-\udcff-rest", "Bearer a token/with +", "Bearer half-\ud800-pair"]
)
def test_every_spelling_is_taken_out_of_a_text(value: str) -> None:
    request = Request("GET", "h", "/", (("Authorization", value),))
    secret = value.partition(" ")[2]
    for spelling in spellings(secret):
        assert without_secrets(f"<{spelling}>", request) == "<token>"

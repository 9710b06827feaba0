import pytest

from ringback.contract import Answer, Request, Source
from ringback.contract.exchange import first_header, header_value
from support.clients import one_line


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
            Source("contract", "Calls.to.blocked", "documented", None, 1716, "documented"),
            {"Ringback-Source": "contract; rule=Calls.to.blocked; basis=documented; line=1716"},
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

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringback.cassettes.vcr_format import (
    Interaction,
    InteractionError,
    dump,
    load_foreign,
    load_mapping,
    parse,
    parse_request,
)
from ringback.exchange import Answer, Request, Source
from support.exchanges import answer, request

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30)
NAME = st.from_regex(r"[A-Z][a-z]{0,8}(-[A-Z][a-z]{0,8})?", fullmatch=True)
BODY = st.binary(max_size=200) | st.text(st.characters(exclude_categories=("Cs",))).map(str.encode)


def unique(headers: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """One field for each name, as vcrpy keeps a request's; none of ours."""
    kept = {name.lower(): (name, value) for name, value in headers if not name.startswith("Ringback")}
    return tuple(sorted(kept.values()))


@given(BODY, BODY, st.lists(st.tuples(NAME, VALUE), max_size=4), st.integers(200, 599))
def test_an_interaction_comes_back_as_it_was(
    sent: bytes, received: bytes, headers: list[tuple[str, str]], status: int
) -> None:
    fields = unique(headers)
    asked = Request("POST", "api.twilio.com", "/a?b=%20c", fields, sent)
    answered = Answer(status, "OK", fields, received, Source("cassette"))
    item = dump(Interaction(asked, answered, (("Ringback-Source", "live"),)))
    assert item.startswith(b"- request:\n")
    assert item.endswith(b"\n")
    assert item.isascii()
    back = parse(item)
    assert (back.request, back.request) == (parse_request(item), back.request)
    assert back.request.body == sent
    assert back.request.target == asked.target
    assert tuple(sorted(back.request.headers)) == fields
    assert (back.answer.status, back.answer.body) == (status, received)
    assert tuple(sorted(back.answer.headers)) == fields
    assert back.provenance_value("ringback-source") == "live"


def test_repeated_response_headers_are_all_kept() -> None:
    answered = answer(headers=(("Link", "a"), ("X-A", "1"), ("link", "b")))
    back = parse(dump(Interaction(request(), answered)))
    assert [value for name, value in back.answer.headers if name == "Link"] == ["a", "b"]


def test_a_reason_phrase_stays_on_one_line() -> None:
    odd = Answer(201, "A\r\nB" + " long" * 40, (), b"", Source("live"))
    item = dump(Interaction(request(), odd))
    assert item.rstrip().split(b"\n")[-1].startswith(b"      message: A B long")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"- request: {}\n",
        b"- {}\n",
        b"- request:\n    method: GET\n",
        b"- [\n",
        b"- request: !!python/object/apply:os.system ['true']\n  response: {}\n",
        dump(Interaction(request(), answer())) * 2,
        dump(Interaction(request(), answer())).replace(b"code: 201", b"code: many"),
        b"\xff\xfe",
    ],
)
def test_what_is_no_single_whole_interaction_is_an_error(text: bytes) -> None:
    with pytest.raises(InteractionError) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_yaml_that_would_run_code_is_refused() -> None:
    text = (
        "version: 1\ninteractions:\n- request: !!python/object/apply:os.system ['exit 1']\n  response: {}\n"
    )
    with pytest.raises(InteractionError):
        load_foreign(text)


OLD = """\
- request: !!python/object:vcr.request.Request
    body: null
    headers: !!python/object/apply:__builtin__.frozenset
    - - !!python/tuple [User-Agent, x]
    host: api.twilio.com
    method: GET
    path: /
    port: 443
    protocol: https
  response:
    body: {string: hello}
    headers: ["Content-Type: text/plain\\r\\n"]
    status: {code: 200, message: OK}
"""


def test_a_cassette_from_before_versions_is_named_with_the_command_that_takes_it_over() -> None:
    for text in (OLD, re.sub(r"!!python/object\S+", "", OLD)):
        with pytest.raises(InteractionError, match=r"vcrpy before 1\.0.*`ringback cassettes import FILE`"):
            load_foreign(text)


LAYOUTS = {
    "header values without a list": """\
interactions:
- request: {body: a=b, headers: {X-A: b}, method: post, uri: 'https://api.twilio.com/x'}
  response:
    body: {string: hello}
    headers: {X-B: c}
    status: {code: 200, message: OK}
version: 1
""",
    "what httpx received, by older versions": """\
interactions:
- request: {body: a=b, headers: {X-A: [b]}, method: POST, uri: 'https://api.twilio.com/x'}
  response: {content: hello, headers: {X-B: [c]}, http_version: HTTP/1.1, status_code: 200}
version: 1
""",
    "strings of Python 2": """\
interactions:
- request:
    body: !!python/unicode 'a=b'
    headers: {X-A: [!!python/unicode 'b']}
    method: !!python/unicode POST
    uri: !!python/unicode 'https://api.twilio.com/x'
  response:
    body: {string: !!python/unicode 'hello'}
    headers: {X-B: [!!python/unicode 'c']}
    status: {code: 200, message: !!python/unicode OK}
version: 1
""",
    "a body that was a file": """\
interactions:
- request:
    body: !!python/object/new:_io.BytesIO
      state: !!python/tuple
      - !!binary YT1i
      - 0
      - null
    headers: {X-A: [b]}
    method: POST
    uri: https://api.twilio.com/x
  response:
    body: {string: !!binary aGVsbG8=}
    headers: {X-B: [c]}
    status: {code: 200, message: OK}
version: 1
""",
    "a body that was an iterator": """\
interactions:
- request:
    body: !!python/object/apply:builtins.iter
      args:
      - [a, '=b']
    headers: {X-A: [b]}
    method: POST
    uri: https://api.twilio.com/x
  response:
    body: {string: hello}
    headers: {X-B: [c]}
    status: {code: 200, message: OK}
version: 1
""",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_that_vcrpy_still_reads_is_read(layout: str) -> None:
    ((one,), metadata) = load_foreign(LAYOUTS[layout])
    assert (one.request.method, one.request.host, one.request.target) == ("POST", "api.twilio.com", "/x")
    assert one.request.headers == (("X-A", "b"),)
    assert one.request.body == b"a=b"
    assert one.answer.body == b"hello"
    assert (one.answer.status, one.answer.headers) == (200, (("X-B", "c"),))
    assert metadata == {}


@pytest.mark.parametrize(
    "read", [parse, parse_request, load_mapping, lambda text: load_foreign(text.decode())]
)
def test_what_is_nested_too_deeply_is_refused_before_a_parser_recurses(
    read: Callable[[bytes], object],
) -> None:
    with pytest.raises(InteractionError, match="nested too deeply"):
        read(b"- request: " + b"[" * 20_000 + b"]" * 20_000 + b"\n")

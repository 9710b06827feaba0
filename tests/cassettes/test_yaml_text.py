"""The quick writer of YAML, against PyYAML."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vcr.serializers import yamlserializer

from ringback.cassettes import vcr_format, yaml_text
from ringback.cassettes.vcr_format import Interaction
from ringback.cassettes.yaml_text import UnusualError
from ringback.exchange import Answer, Request, Source

pytestmark = pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML's own emitter folds otherwise")

# Words with single and double spaces between them, and what YAML takes for something else.
WORD = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=90)
SPECIAL = st.sampled_from(
    (
        *[
            "yes",
            "No",
            "null",
            "~",
            "-",
            "?",
            ":",
            "x:",
            "#",
            "x#y",
            "---",
            "...",
            "1",
            "1.5",
            "1e3",
            "0x1f",
            "1_000",
            "2026-11-27",
            "1:30",
            "=",
            "<<",
            "it's",
            "'",
            "''",
            "{}",
            "[x]",
        ],
        *['"', "*x", "&x", "!x", "|", ">", "%x", "@x", "`x", ",x", "x,", "2026-11-27T01:02:03Z"],
        *(
            "- x",
            "? x",
            "x: y",
            "x :y",
            "x #y",
            "--- ",
            " x",
            "x ",
            "  ",
            "",
            "Fri, 27 Nov 2026 09:31:27 GMT",
        ),
        *("a " * 60, "it's " * 30, "x" * 200, "x" * 79 + " y", "x" * 80 + " y  z"),
    )
)
TEXT = st.one_of(SPECIAL, st.lists(WORD | SPECIAL, max_size=30).map(" ".join))
KEY = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,20}", fullmatch=True)
VALUE = st.recursive(
    st.none() | st.integers() | TEXT | st.lists(TEXT, min_size=1, max_size=3),
    lambda inner: st.dictionaries(KEY, inner, max_size=3),
    max_leaves=8,
)


def expected(data: dict[str, Any], indent: int) -> str:
    for _ in range(indent // 2):
        data = {"x": data}
    text: str = yamlserializer.serialize(data)
    return text.split("\n", indent // 2)[-1]


@given(data=st.dictionaries(KEY, VALUE, min_size=1, max_size=4), indent=st.sampled_from((0, 2, 4, 6)))
@settings(max_examples=400, deadline=None)
@example(data={"body": "x" * 90 + " it's " + "y" * 90 + " z"}, indent=4)
@example(data={"string": "'" * 100 + " " + "'" * 100 + " x"}, indent=6)
def test_it_writes_what_pyyaml_writes(data: dict[str, Any], indent: int) -> None:
    try:
        written = yaml_text.block(data, indent)
    except UnusualError:
        assert any(
            name.lower() in {"yes", "no", "on", "off", "true", "false", "null"} for name in _names(data)
        )
        return
    assert written == expected(data, indent)


def _names(data: object) -> list[str]:
    if not isinstance(data, dict):
        return []
    return [*data, *(name for value in data.values() for name in _names(value))]


@pytest.mark.parametrize(
    "data",
    [
        {"string": "two\nlines"},
        {"string": "caf\u00e9"},
        {"string": b"\xff"},
        {"a b": "x"},
        {"yes": "x"},
        {"list": []},
        {"list": [1]},
        {"flag": True},
        {"share": 1.5},
    ],
)
def test_the_rest_is_left_to_pyyaml(data: dict[str, Any]) -> None:
    with pytest.raises(UnusualError):
        yaml_text.block(data, 0)


@pytest.mark.parametrize(
    "body", [b"", b"To=%2B14105550100&Body=it%27s", "Body=Gr\u00fc\u00dfe".encode(), b"\xff\0"]
)
@pytest.mark.parametrize(
    "answer",
    [
        b'{"sid": null, "body": "%s"}' % (b"word " * 100),
        b"<Twilio>\n  <Message/>\n</Twilio>\n",
        b"",
        b"\x1f\x8b\xff",
    ],
)
def test_interactions_are_the_same_without_it(
    body: bytes, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = (
        ("Host", "api.twilio.com"),
        ("Accept", "a/b"),
        ("accept", "c/d; q=1, e/f"),
        ("Empty", ""),
        ("X-Date", "Fri, 27 Nov 2026"),
    )
    one = Interaction(
        Request("POST", "api.twilio.com", "/2010-04-01/Accounts/x.json?a=b", headers, body),
        Answer(201, "CREATED", (*headers, ("Content-Length", "757")), answer, Source("live")),
        (("Ringback-Recorded", "2026-11-27T09:31:27Z"),),
    )
    quick = vcr_format.dump(one)

    def unusual(*_: object) -> str:
        raise UnusualError

    monkeypatch.setattr(yaml_text, "block", unusual)
    assert vcr_format.dump(one) == quick

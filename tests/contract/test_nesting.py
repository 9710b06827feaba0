from __future__ import annotations

import pytest

from ringback.contract.yaml_files import too_deep


@pytest.mark.parametrize(
    "text",
    [
        "interactions: " + "[" * 90_000,
        "magic: " + "{a: " * 90_000,
        "- " * 90_000,
        "\n".join(" " * level + "a:" for level in range(3_000)),
    ],
    ids=["sequences", "mappings", "dashes", "indentation"],
)
def test_what_would_end_the_parsers_stack(text: str) -> None:
    assert too_deep(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: 1",
        "a: " + "[1], " * 3,
        "body: '" + "[" * 20_000 + "'",
        "a: [" + "[1], " * 6_000 + "[2]]",
        " " * 400 + "a: 1",
    ],
    ids=["empty", "scalar", "flat", "brackets in a text", "many side by side", "one far right"],
)
def test_what_is_only_large(text: str) -> None:
    assert not too_deep(text)

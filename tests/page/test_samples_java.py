"""The page's own Java samples, unchanged, under `ringback run`: twilio-java-sdk 6 and twilio 7.

`twilio-java-sdk` takes nothing but 32 characters for an AuthToken: with the page's placeholder, 6.3 takes it
for an access token and sends the user name `Token`. Its samples are held to the refusal that this request
deserves, and once more, with both placeholders filled in as their comment says, to their example's answer.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from support.clients import send
from support.launching import needs
from support.maven import jars
from support.page import EXAMPLES, OWN_ANSWER, Page
from support.product import SID, TOKEN
from support.rows import EXAMPLES as CASES
from support.rows import SID_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.product import Product

HERE = Path(__file__).parent
PLACEHOLDERS: Final = {"ACXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX": SID, "your_auth_token": TOKEN}
NAMES = [f"{resource}-{number}" for resource, number in EXAMPLES]
INVALID = "threw com.twilio.sdk.TwilioRestException: Authentication Error - invalid username"


def run(product: Product, sdk: Path, directory: Path, sources: Sequence[str]) -> tuple[list[str], str]:
    """What each source printed, and what the proxy said; all of them in one JVM."""
    needs("javac")  # which a JRE lacks
    places = []
    for name, source in zip(NAMES, sources, strict=True):
        places.append(directory / name)
        places[-1].mkdir(parents=True)
        (places[-1] / "Example.java").write_text(source)
    done = product.run([needs("java"), HERE / "Samples.java", sdk, *places])
    assert done.returncode == 0, done.stderr
    begun = re.split(r"^-- (.*)\n", done.stdout, flags=re.MULTILINE)[1:]
    assert begun[::2] == NAMES, done.stdout + done.stderr
    assert f"ringback: {len(NAMES)} Twilio requests answered, offline" in done.stderr
    return [text.strip() for text in begun[1::2]], done.stderr


def sources(page: Page, generation: str) -> list[str]:
    """The samples of one generation, all of which can get their example's answer."""
    assert not [key for key in OWN_ANSWER if key[2] == "java"]
    return [example.sample("java", generation).source for example in page.examples]


def held_to_the_examples(printed: list[str], told: str, thrown: str) -> None:
    """Each printed the sid, or threw what its example documents."""
    for case, text in zip(CASES, printed, strict=True):
        if case.code is None:
            assert re.fullmatch(SID_PREFIX[case.resource] + "[0-9a-f]{32}", text)
            continue
        assert text == f"threw {thrown}: {case.message}"
        answer = send(case.resource, case.form)
        assert json.loads(answer.body)["code"] == case.code
        assert f"1 x error {answer.source.rule}\n" in told


@pytest.mark.slow
def test_generation_7(product: Product, page: Page, tmp_path: Path) -> None:
    printed, told = run(product, jars("twilio", "7.55.3"), tmp_path, sources(page, "7"))
    held_to_the_examples(printed, told, "com.twilio.exception.ApiException")


@pytest.mark.slow
def test_generation_6(product: Product, page: Page, tmp_path: Path) -> None:
    sdk = jars("twilio-java-sdk", "6.3.0")
    unchanged = sources(page, "6")
    printed, told = run(product, sdk, tmp_path / "unchanged", unchanged)
    assert printed == [INVALID] * len(NAMES)
    assert f"{len(NAMES)} x refused auth.username" in told

    filled = []
    for source in unchanged:
        for placeholder, value in PLACEHOLDERS.items():
            assert source.count(placeholder) == 1
            source = source.replace(placeholder, value)  # noqa: PLW2901 - both, one after the other
        filled.append(source)
    printed, told = run(product, sdk, tmp_path / "filled", filled)
    held_to_the_examples(printed, told, "com.twilio.sdk.TwilioRestException")

"""The page's own Ruby samples, unchanged, under `ringback run`: twilio-ruby 4 and 5, where they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.page import EXAMPLES, Page
from support.rows import EXAMPLES as CASES
from support.rows import SID_PREFIX
from support.samples import held_to
from support.unreached import RUBY_RUNS, ruby_sdk

if TYPE_CHECKING:
    from pathlib import Path

    from support.product import Product

PRINTED = re.compile(r"puts \S+\.(\w+)")


@pytest.mark.parametrize("at", range(len(EXAMPLES)), ids=[f"{name}-{n}" for name, n in EXAMPLES])
@pytest.mark.parametrize("generation", ["4", "5"])
def test_ruby(product: Product, page: Page, tmp_path: Path, at: int, generation: str) -> None:
    sample, case = page.examples[at].sample("ruby", generation), CASES[at]
    sdk = ruby_sdk(generation)
    file = tmp_path / "sample.rb"
    file.write_text(sample.source)
    done = product.run([sdk.runtime, "-e", RUBY_RUNS, f"~> {generation}.0", file], more=sdk.environment)
    held_to(case, sample, done)
    printed = PRINTED.search(sample.source)
    assert printed
    if case.code is None and printed[1] == "sid":
        assert re.fullmatch(SID_PREFIX[case.resource] + "[0-9a-f]{32}\n", done.stdout)

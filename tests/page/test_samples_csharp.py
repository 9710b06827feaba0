"""The page's own C# samples, unchanged, under `ringback run`: twilio-csharp 4 and 5, where they can be had.

Generation 5 runs on .NET or Mono. Generation 4 is for .NET Framework, whose like on this system is Mono.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.page import EXAMPLES, OWN_ANSWER, Page, Sample
from support.rows import EXAMPLES as CASES
from support.rows import SID_PREFIX
from support.samples import held_to
from support.unreached import csharp_program

if TYPE_CHECKING:
    from pathlib import Path

    from support.product import Product

ALL = pytest.mark.parametrize("at", range(len(EXAMPLES)), ids=[f"{name}-{n}" for name, n in EXAMPLES])


def printed_a_sid(sample: Sample, at: int, stdout: str) -> bool:
    case = CASES[at]
    own = OWN_ANSWER.get((sample.resource, sample.example, sample.language, sample.generation))
    if case.code is not None or own is not None:
        return not stdout.strip()
    return re.fullmatch(SID_PREFIX[case.resource] + "[0-9a-f]{32}\n", stdout) is not None


@ALL
@pytest.mark.parametrize("generation", ["4", "5"])
def test_csharp(product: Product, page: Page, tmp_path: Path, at: int, generation: str) -> None:
    sample = page.examples[at].sample("csharp", generation)
    (tmp_path / "Example.cs").write_text(sample.source)
    command, more = csharp_program(product, generation, tmp_path / "Example.cs", tmp_path)
    done = product.run(command, more=more)
    # Generation 4 raises nothing: it prints an empty sid.
    held_to(CASES[at], sample, done, raises=generation != "4")
    assert printed_a_sid(sample, at, done.stdout)

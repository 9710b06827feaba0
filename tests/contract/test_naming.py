from __future__ import annotations

import subprocess
import sys

import pytest

from ringback import contract
from ringback.contract.form import NamingError, parameters_named, plain_name

LOADED = contract.load()


def test_names_are_compared_without_case_and_punctuation() -> None:
    assert plain_name("Auth-Token_2") == plain_name("authtoken2") == "authtoken2"


@pytest.mark.parametrize(
    "texts, named",
    [
        ([], ()),
        ([" ", ","], ()),
        (["To, Body"], ("To", "Body")),
        (["to,TO", "t-o", "status_callback"], ("To", "StatusCallback")),
    ],
)
def test_parameters_are_named_once_and_as_twilio_spells_them(
    texts: list[str], named: tuple[str, ...]
) -> None:
    assert parameters_named(LOADED, texts) == named


@pytest.mark.parametrize(
    "text, said",
    [
        ("boddy", r"'boddy' is no parameter of any resource, did you mean Body\? There are: .*, To, "),
        ("xyzzy", "'xyzzy' is no parameter of any resource\\. There are: AddressRetention, "),
        ("To;Body", "'To;Body' cannot name a form field: use letters"),
        ("To Body", "cannot name a form field"),
        ("Tö", r"'T\\xf6' cannot name"),
        ("--", "cannot name a form field"),
    ],
)
def test_what_is_none_is_reported_with_the_nearest(text: str, said: str) -> None:
    with pytest.raises(NamingError, match=said):
        parameters_named(LOADED, [f"To,{text}"])


def test_who_makes_no_mistake_does_not_wait_for_the_search_of_the_nearest() -> None:
    program = """
import sys
from ringback import contract
from ringback.contract.form import parameters_named
parameters_named(contract.load(), ["to"])
assert "difflib" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)

"""A report in each of its forms, by the form's name."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from ringback.drift.report import FORMATS, write
from support.reports import empty, full


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("made", [full(), empty(), empty(0)], ids=["full", "nothing found", "nothing seen"])
def test_every_form_is_text_that_names_what_was_found(form: str, made: object) -> None:
    text = write(made, form)  # type: ignore[arg-type]  # a report
    assert text.strip()
    assert ("Messages.to.blocked" in text) == (made.findings != ())  # type: ignore[attr-defined]  # as above


def test_the_name_is_the_form() -> None:
    assert set(FORMATS) == {"terminal", "json", "junit", "sarif", "html"}
    assert json.loads(write(full(), "json"))
    assert "runs" in json.loads(write(full(), "sarif"))
    assert ET.fromstring(write(full(), "junit")).tag == "testsuites"
    assert write(full(), "html").lower().startswith("<!doctype html>")
    with pytest.raises(KeyError):
        write(full(), "pdf")

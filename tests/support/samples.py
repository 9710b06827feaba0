"""Checks that hold for each of the page's samples, whatever its SDK makes of it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from support.clients import send
from support.page import OWN_ANSWER

if TYPE_CHECKING:
    import subprocess

    from support.page import Sample
    from support.rows import Case

# A request that gets the error of a sample with an answer of its own, by its code.
_SAME_ERROR = {21606: {"From": "+14105550100", "To": "+15005550006", "Body": "hello"}}


def held_to(
    case: Case, sample: Sample, done: subprocess.CompletedProcess[str], *, raises: bool = True
) -> None:
    """Its one request was answered, with what the request itself deserves, and the SDK told of an error.

    Args:
        case: What the sample's example sends and gets.
        sample: The sample.
        done: Its run under `ringback run`.
        raises: Whether the SDK ends the program with the error's text.
    """
    assert "ringback: 1 Twilio request answered, offline (contract 1)\n" in done.stderr, done.stderr
    own = OWN_ANSWER.get((sample.resource, sample.example, sample.language, sample.generation))
    code = own[0] if own else case.code
    if code is None:
        assert done.returncode == 0, done.stderr
        assert " x error " not in done.stderr
        return
    answer = send(case.resource, _SAME_ERROR[code] if own else case.form)
    body = json.loads(answer.body)
    assert body["code"] == code
    assert re.search(rf"1 x error {re.escape(answer.source.rule)}[:\n]", done.stderr), done.stderr
    if raises:
        assert done.returncode != 0
        numbers = re.compile(r"\+\d+")  # a sample with an answer of its own has its own From
        text = numbers.sub("+", body["message"])
        assert text in numbers.sub("+", done.stderr + done.stdout)

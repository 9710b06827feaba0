"""What the documentation says to a request whose credentials are gone."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from ringback import contract
from ringback.cassettes.matching import ACCOUNT_PLACEHOLDER
from ringback.cassettes.verify import documented_answer
from ringback.contract import AnswerStamp
from support.exchanges import FORM, basic, request

CONTRACT = contract.load()
STAMP = AnswerStamp("ab" * 16, "ba" * 16, datetime(2026, 1, 2, tzinfo=UTC), 0.1)
SENT = {"From": "+15005550006", "To": "+14105550100", "Body": "hi"}


@pytest.mark.parametrize("headers", [(FORM,), (FORM, basic("AC" + "9" * 32, "whatever"))])
def test_it_is_answered_as_the_account_that_stands_for_all(headers: tuple[tuple[str, str], ...]) -> None:
    asked = request(SENT, sid=ACCOUNT_PLACEHOLDER, headers=headers)
    got = documented_answer(CONTRACT, asked, STAMP)
    body = json.loads(got.body)
    assert (got.status, body["account_sid"], body["sid"]) == (201, ACCOUNT_PLACEHOLDER, "SM" + "ab" * 16)


def test_a_magic_value_fails_as_ever() -> None:
    asked = request(SENT | {"To": "+15005550001"}, sid=ACCOUNT_PLACEHOLDER)
    assert json.loads(documented_answer(CONTRACT, asked, STAMP).body)["code"] == 21211

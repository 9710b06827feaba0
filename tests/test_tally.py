import json

import pytest

from ringback.contract import Answer, Source
from ringback.tally import Tally


def answer(source: Source, status: int = 201) -> Answer:
    return Answer(status, "", (), b"", source)


def test_counts_by_source_rule_and_reason() -> None:
    tally = Tally()
    for got in (
        answer(Source("contract", "Messages.from.valid")),
        answer(Source("contract", "Messages.to.blocked"), 400),
        answer(Source("contract", "Messages.from.other", reason="because"), 400),
        answer(Source("gate", "resource.unsupported", reason="no"), 403),
        answer(Source("gate", "resource.unsupported", reason="not this either"), 403),
        answer(Source("cassette", "1"), 400),
        answer(Source("live"), 400),
    ):
        tally.count(got)
    assert tally.total == 7
    assert tally.by_source == {"contract": 3, "gate": 2, "cassette": 1, "live": 1}
    assert tally.refused == {"resource.unsupported": 2}
    assert tally.failed == {"Messages.to.blocked": 1, "Messages.from.other": 1}
    assert tally.reasons == {"Messages.from.other": "because", "resource.unsupported": "not this either"}


def test_a_challenge_is_neither_an_answer_nor_a_refusal() -> None:
    tally = Tally()
    tally.count(answer(Source("gate", "auth.missing", reason="no Authorization header"), 401))
    assert (tally.total, tally.challenged, dict(tally.refused), tally.reasons) == (0, 1, {}, {})


@pytest.mark.parametrize("rule", ["auth.token", "auth.malformed", "auth.api-key"])
def test_every_other_401_is_a_refusal(rule: str) -> None:
    tally = Tally()
    tally.count(answer(Source("gate", rule), 401))
    assert (tally.total, tally.challenged, dict(tally.refused)) == (1, 0, {rule: 1})


def test_as_json() -> None:
    tally = Tally()
    tally.count(answer(Source("gate", "host.port"), 403))
    found = json.loads(json.dumps(tally.as_dict()))
    assert found["answered"] == 1
    assert found["by_source"] == {"gate": 1}
    assert found["refused"] == {"host.port": 1}
    assert (found["failed"], found["challenged"]) == ({}, 0)

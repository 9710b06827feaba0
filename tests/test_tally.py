import json

import pytest

from ringback.contract import Answer, Source
from ringback.tally import MOST_REASONS, Tally, many, misled_by_connect, times


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
    assert tally.reasons == {
        ("Messages.to.blocked", ""): 1,
        ("Messages.from.other", "because"): 1,
        ("resource.unsupported", "no"): 1,
        ("resource.unsupported", "not this either"): 1,
    }


@pytest.mark.parametrize(
    "reason, counted",
    [
        (f"not GET /Accounts/AC{'0a' * 16}.json", "not GET /Accounts/{account}.json"),
        (f"not GET Messages/SM{'0a' * 16}", "not GET Messages/{sid}"),
        (
            f"the account in the path, AC{'X' * 32}, is another",
            "the account in the path, {account}, is another",
        ),
        ("not GET AvailablePhoneNumbers/US/Local", "not GET AvailablePhoneNumbers/US/Local"),
        (f"not GET XAC{'0' * 32}", f"not GET XAC{'0' * 32}"),
    ],
)
def test_reasons_have_no_sids(reason: str, counted: str) -> None:
    tally = Tally()
    tally.count(answer(Source("gate", "r", reason=reason), 403))
    tally.fall_back("f", reason)
    assert tally.reasons == {("r", counted): 1, ("f", counted): 1}


def test_reasons_take_no_more_memory_however_many_there_are() -> None:
    tally = Tally()
    for number in range(MOST_REASONS + 10):
        tally.count(answer(Source("gate", "r", reason=f"not GET {number}"), 403))
    tally.count(answer(Source("gate", "r", reason="not GET 0"), 403))
    assert len(tally.reasons) == MOST_REASONS
    assert (tally.reasons["r", "not GET 0"], tally.refused["r"]) == (2, MOST_REASONS + 11)


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


@pytest.mark.parametrize(
    "user_agent, client",
    [
        ("twilio-php/4.12.0 (php 7.4.33)", "twilio-php/4.12.0"),
        ("twilio-php/5.0.0 (PHP 7.0.1)", "twilio-php/5.0.0"),
        ("twilio-php/5.36.1 (PHP 8.2.36)", "twilio-php/5.36.1"),
        ("twilio-php/5.37.0 (PHP 8.2.36)", None),
        ("twilio-php/8.12.0 (Linux x86_64) PHP/8.2.36", None),
        ("twilio-php/10.1.0", None),
        ("my-twilio-php/4.1.0", "twilio-php/4.1.0"),
        ("twilio-ruby/5.16.0", None),
        ("twilio-php/4", None),
        ("", None),
    ],
)
def test_clients_that_take_the_reply_to_connect_for_the_answer(user_agent: str, client: str | None) -> None:
    assert misled_by_connect(user_agent) == client


def test_a_misled_client_is_warned_of_once_and_counted() -> None:
    tally = Tally()
    old = "twilio-php/5.16.0 (PHP 7.4.33)"
    assert [tally.count_tunnelled(agent) for agent in (old, "curl/8", old)] == [
        "twilio-php/5.16.0",
        None,
        None,
    ]
    assert tally.as_dict()["misled"] == {"twilio-php/5.16.0": 2}


def test_one_is_no_plural() -> None:
    assert [many(number, "byte") for number in (0, 1, 2)] == ["0 bytes", "1 byte", "2 bytes"]
    assert [times(number) for number in (0, 1, 3)] == ["0 times", "once", "3 times"]

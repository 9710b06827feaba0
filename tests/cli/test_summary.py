"""What `run` and `serve` tell at the end; the first lines are in test_proxy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ringback.cassettes.manager import CassetteUsage
from ringback.cli.summary import cassettes_fail, summary
from ringback.contract import Answer, Source
from ringback.drift.findings import DriftFinding
from ringback.tally import Tally

USED = CassetteUsage("default", 0, 0, 0, 0, 0)
FOUND = DriftFinding("Messages.to.blocked", "error", "code", "Messages", "", "as said", "otherwise", "f" * 12)


def lines(
    tally: Tally | None = None,
    used: tuple[CassetteUsage, ...] = (),
    found: tuple[DriftFinding, ...] = (),
    *,
    list_unused: bool = False,
) -> list[str]:
    first, *others = summary(tally or Tally(), "auto", used, found, list_unused=list_unused)
    assert first == "0 Twilio requests answered, auto"
    return others


@pytest.mark.parametrize(
    "used, said",
    [
        (USED, []),
        (replace(USED, replayed=2), ["  cassette default: 2 replayed"]),
        (
            replace(USED, replayed=1, recorded=2, failed=3, missed=4),
            ["  cassette default: 1 replayed, 2 recorded, 3 NOT recorded, 4 missed"],
        ),
        (
            replace(USED, unused=3, labels=("POST /a", "POST /b")),
            [
                "  cassette default: 3 unused",
                "    unused: POST /a",
                "    unused: POST /b",
                "    and 1 more: `ringback cassettes prune default --unused --dry-run`",
            ],
        ),
        (
            replace(USED, unused=1, labels=("POST /a",)),
            ["  cassette default: 1 unused", "    unused: POST /a"],
        ),
    ],
)
def test_what_became_of_a_cassette(used: CassetteUsage, said: list[str]) -> None:
    assert lines(used=(used,), list_unused=True) == said
    assert lines(used=(used,)) == said[:1]  # the count is enough where nothing fails for it


def test_strict_misses() -> None:
    assert lines(Tally(missed=2)) == ["  2 x not in the cassette (--strict)"]


@pytest.mark.parametrize(
    "tally, used, fail_on_unused, fails",
    [
        (Tally(), replace(USED, unused=1), False, False),
        (Tally(), replace(USED, unused=1), True, True),
        (Tally(), USED, True, False),
        (Tally(missed=1), USED, False, True),
    ],
)
def test_when_cassettes_are_a_reason_to_fail(
    tally: Tally, used: CassetteUsage, fail_on_unused: bool, fails: bool
) -> None:
    assert cassettes_fail(tally, [used], fail_on_unused=fail_on_unused) is fails


def test_what_the_live_api_said() -> None:
    tally = Tally()
    tally.compare(None)
    for difference in ("x: expected 201, live answered 400", "y", "y"):
        tally.compare(difference)
    tally.fall_back("upstream.timeout", "no answer within 30 seconds")
    assert lines(tally) == [
        "  live answers: 1 with the documented status and code, 3 with others",
        "  2 x different y",
        "  1 x different x: expected 201, live answered 400",
        "  1 x answered offline instead, upstream.timeout: no answer within 30 seconds",
    ]


def test_drift_is_counted_and_what_is_only_new_is_not_listed() -> None:
    new = replace(FOUND, severity="info", rule="Messages.answer.new")
    assert lines(found=(FOUND, new, new)) == [
        "  drift: 1 error, 2 info",
        f"    error Messages.to.blocked: documented as said, live otherwise ({'f' * 12})",
    ]


@pytest.mark.parametrize(
    "count, more", [(10, []), (11, ["    and 1 more: --drift-report FILE writes all of them"])]
)
def test_no_more_drift_is_listed_than_can_be_read(count: int, more: list[str]) -> None:
    said = lines(found=(FOUND,) * count)
    assert (len(said), said[11:]) == (11 + len(more), more)


def refused(*reasons: str, rule: str = "resource.unsupported") -> Tally:
    tally = Tally()
    for reason in reasons:
        tally.count(Answer(403, "", (), b"", Source("gate", rule, reason=reason)))
    return tally


def test_each_reason_of_one_rule_is_reported_by_itself() -> None:
    _, *said = summary(refused("not GET Messages", "not GET Calls", "not GET Calls"), "offline")
    assert said == [
        "  2 x refused resource.unsupported: not GET Calls",
        "  1 x refused resource.unsupported: not GET Messages",
    ]


def test_of_many_reasons_the_most_frequent_are_reported() -> None:
    tally = refused(*(f"not GET {number}" for number in range(8)), "not GET 7", rule="r")
    _, *said = summary(tally, "offline")
    assert said[0] == "  2 x refused r: not GET 7"
    assert said[5:] == ["    and 3 others"]
    tally.refused["late"] = 10  # after too many reasons of other rules
    assert summary(tally, "offline")[1:3] == ["  10 x refused late", "  2 x refused r: not GET 7"]


def test_a_client_that_reads_wrong_answers_is_named_with_the_cure() -> None:
    tally = Tally()
    tally.count_tunnelled("twilio-php/4.12.0 (php 7.4.33)")
    (line,) = [line for line in summary(tally, "offline") if "twilio-php" in line]
    assert line.startswith("  1 x twilio-php/4.12.0 read a wrong answer")
    assert "socks5h://" in line

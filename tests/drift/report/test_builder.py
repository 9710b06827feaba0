"""From comparisons to a report."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from ringback import __version__
from ringback.drift.report.builder import (
    AcceptedFinding,
    NotCompared,
    Report,
    ReportFrame,
    build_report,
    reproduce_command,
    unknown_claims,
)
from support.drifting import CLAIM_SET, NOW, edit, failing, look, probe

SEEN = [
    look(probe("example.message.sent"), edit(status="accepted", body="hi", new=1)),
    look(probe("Messages.to.blocked"), failing(30003)),
    look(probe("Calls.to.blocked"), lambda answer: replace(answer, status=503)),
]


def made(**frame: Any) -> Report:
    return build_report(
        CLAIM_SET,
        SEEN,
        [NotCompared("x", "y", harmless=True)],
        ReportFrame("live", "here", made=NOW, **frame),
    )


def test_the_worst_comes_first_and_what_was_skipped_does_not_count() -> None:
    got = made()
    assert [(item.severity, item.rule) for item in got.findings] == [
        ("error", "Messages.to.blocked"),
        ("warning", "Messages.answer.status"),
        ("info", "Messages.answer.new"),
    ]
    assert (got.compared, got.not_compared[0].what, got.version) == (2, "x", __version__)
    assert (got.source, got.origin, got.made, got.total) == ("live", "here", NOW, len(CLAIM_SET.claims))


def test_only_some_claims_count() -> None:
    assert [item.rule for item in made(only=["*.answer.status"]).findings] == ["Messages.answer.status"]
    # A finding about a wider claim is found by those that it breaks too.
    assert [item.rule for item in made(only=["Messages.to.*"]).findings] == ["Messages.to.blocked"]
    assert made(only=["nothing"]).findings == ()


def test_what_is_accepted_is_no_finding() -> None:
    blocked = made().findings[0]
    expires = (NOW + timedelta(days=30)).date()
    entry = AcceptedFinding(
        fingerprint=blocked.fingerprint, reason="known", expires=expires, rule=blocked.rule
    )
    got = made(entries=[entry])
    assert [item.rule for item in got.accepted] == ["Messages.to.blocked"]
    assert "Messages.to.blocked" not in [item.rule for item in got.findings]
    old = msgspec.structs.replace(entry, expires=(NOW - timedelta(days=1)).date())
    assert "Messages.to.blocked" in [item.rule for item in made(entries=[old]).findings]


def test_the_page_s_own_mistakes_are_named_and_counted() -> None:
    (known,) = [item for item in made().known if item.id == "sms-body-hi"]
    assert (known.seen, known.says.startswith("erratum of the page: ")) == (1, True)
    (recorded,) = [item for item in made().known if item.id == "Messages.answer.num_media"]
    assert recorded.says == "the page does not mention /num_media of Messages, recordings have it"


def test_the_claims_are_those_that_were_looked_at() -> None:
    names = {claim.id for claim in made().claims}
    assert {"Messages.to.blocked", "Messages.answer.status", "status.201"} <= names
    assert not any(name.startswith("Calls.") for name in names)


def test_a_report_is_of_now_unless_somebody_says_otherwise() -> None:
    made_at = ReportFrame("live", "here").made
    assert abs(made_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_command_again_names_the_rule_itself_and_what_a_shell_would_split() -> None:
    command = reproduce_command(["a b.yaml", "--wire", "xml"])("outside.x[1]*")
    assert shlex.split(command) == [
        "ringback",
        "drift",
        "a b.yaml",
        "--wire",
        "xml",
        "--only",
        "outside.x[[]1][*]",
    ]
    assert reproduce_command(())("Calls.to.blocked") == "ringback drift --only Calls.to.blocked"


def test_what_no_finding_can_be_about() -> None:
    told = [
        "Messages.to.*",
        "status.400.21217",
        "header.x-new",
        "Messages.answer.new",
        "outside.api.get.x",
        "error.*",
    ]
    assert unknown_claims(CLAIM_SET, told) == ()
    wrong = ("", "x", "Mesages.to.*", "Messages.too.blocked", "header", "Faxes.answer.sid")
    assert unknown_claims(CLAIM_SET, wrong) == wrong


def test_what_was_compared_is_what_only_names() -> None:
    assert (made(only=["Calls.*"]).compared, made(only=["Calls.*"]).exit_code) == (0, 2)
    got = made(only=["Messages.to.blocked"])
    assert (got.compared, [claim.id for claim in got.claims]) == (1, ["Messages.to.blocked"])
    assert made(only=["header.x-new"]).compared == 2

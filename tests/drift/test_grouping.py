from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from ringback.contract import decide
from ringback.drift.compare import inputs_of
from ringback.drift.findings import collect_findings
from ringback.drift.report.builder import ReportFrame, build_report
from support.drifting import ACCOUNT, CLAIM_SET, edit, failing, look, probe

if TYPE_CHECKING:
    from ringback.contract import Answer
    from ringback.drift.claims import ClaimProbe
    from ringback.drift.findings import DriftFinding


# The rules that decide after To has passed.
REACHED = {"Messages.from.valid", "Messages.schedule.no-service", "Messages.send-at.no-service"} | {
    f"Messages.{name}"
    for name in (
        "body.missing",
        "body.malformed",
        "statuscallback.malformed",
        "mediaurl.malformed",
        "maxprice.malformed",
        "validityperiod.malformed",
        "contentsid.malformed",
    )
}
POSTS = [probe for probe in CLAIM_SET.probes if probe.method == "POST"]


def findings(change: Any, chosen: Any = CLAIM_SET.probes) -> list[DriftFinding]:
    """What is found where `change(probe)` gives each probe's change, or None."""
    return collect_findings(
        CLAIM_SET, [look(item, change(item) or (lambda answer: answer)) for item in chosen]
    )


def of_claim(claim: str, change: Any) -> Any:
    return lambda item: change if claim in item.claims else None


def test_nothing_is_found_where_nothing_differs() -> None:
    assert findings(lambda _: None) == []


def swap(name: str, text: str) -> Any:
    """The same change of a value in JSON and XML."""
    element = "".join(part.capitalize() for part in name.split("_"))

    def change(answer: Answer) -> Answer:
        body = answer.body
        if body.startswith(b"{"):
            return edit(**{name: text})(answer)
        start, tag, rest = body.partition(f"<{element}>".encode())
        return structs.replace(answer, body=start + tag + text.encode() + b"<" + rest.partition(b"<")[2])

    return change


def test_one_cause_in_json_and_xml_and_many_requests_is_one_finding() -> None:
    (found,) = findings(
        lambda item: (
            swap("api_version", "2027-01-01")
            if "/IncomingPhoneNumbers" in item.path
            and CLAIM_SET.offline(item.request("AC" + "1" * 32)).status < 400
            and item.method == "POST"
            else None
        )
    )
    assert (found.rule, found.severity, found.formats) == (
        "IncomingPhoneNumbers.answer.api_version",
        "warning",
        ("json", "xml"),
    )
    assert found.seen > 2


def test_a_type_that_xml_cannot_show_is_one_finding_with_json_s() -> None:
    def change(item: ClaimProbe) -> Any:
        if "example.message.sent" not in item.claims:
            return None
        return edit(status=1) if item.format == "json" else swap("status", "1")

    (found,) = findings(change)
    assert (found.kind, found.severity, found.formats) == ("type", "error", ("json", "xml"))


def test_a_sender_that_stops_working_is_one_finding_about_it() -> None:
    def change(item: ClaimProbe) -> Any:
        return (
            failing(21606)
            if ("From", "+15005550006") in item.form and item.format == "json" and ("/Messages" in item.path)
            else None
        )

    (found,) = findings(change)
    assert (found.rule, found.kind) == ("Messages.from.valid", "refused")
    assert len(found.claims) > 5


def test_a_recipient_that_stops_working_is_not_blamed_on_the_sender() -> None:
    def change(item: ClaimProbe) -> Any:
        reached = CLAIM_SET.offline(item.request("AC" + "1" * 32)).source.rule in REACHED
        return failing(21211) if reached else None

    (found,) = findings(change)
    assert found.rule == "Messages.to.other"


def test_all_resources_opening_is_one_finding_and_two_of_them_are_two() -> None:
    gone = failing(20404, 404)
    (one,) = findings(lambda item: gone if item.method == "GET" else None)
    assert one.rule == "resource.unsupported"
    some = {"outside.api.get.queues", "outside.api.get.keys"}
    two = findings(lambda item: gone if item.claims[0] in some else None)
    assert {item.rule for item in two} == some


def test_other_resources_in_json_alone_are_a_format_and_no_other_outcome() -> None:
    as_json = {
        item.claims: CLAIM_SET.offline(item.request("AC" + "1" * 32)).body
        for item in CLAIM_SET.probes
        if item.method == "GET" and item.format == "json"
    }

    def change(item: ClaimProbe) -> Any:
        return (
            (lambda answer: structs.replace(answer, body=as_json[item.claims]))
            if item.method == "GET"
            else None
        )

    (found,) = findings(change)
    assert (found.rule, found.observed) == ("format.body", "no XML, it looks like JSON")


def test_other_resources_without_a_code_lack_a_field() -> None:
    (found,) = findings(
        lambda item: edit(code=...) if item.method == "GET" and item.format == "json" else None
    )
    assert (found.rule, found.observed) == ("error.code.20008", "no such field")


def test_a_status_that_all_errors_share_is_one_finding_and_one_of_them_is_about_its_code() -> None:
    def status(answer: Answer) -> Answer:
        return structs.replace(answer, status=422, body=answer.body.replace(b"400", b"422"))

    fails = [item for item in POSTS if CLAIM_SET.offline(item.request("AC" + "1" * 32)).status == 400]
    (all_of_them,) = findings(lambda item: status if item in fails else None)
    assert all_of_them.rule == "status.400"
    (one,) = findings(of_claim("Messages.to.blocked", status))
    assert one.rule == "status.400.21610"


@pytest.mark.parametrize("claim", ["Messages.to.blocked", "Calls.from.other"])
def test_fingerprints_are_the_same_again_and_after_unrelated_changes(claim: str) -> None:
    first = findings(of_claim(claim, failing(30003)))
    again = findings(of_claim(claim, failing(30003)))
    unrelated = {"example.message.sent": edit(tags=1), "outside.api.get.keys": failing(1, 404)}

    def change(item: ClaimProbe) -> Any:
        others = [unrelated[name] for name in item.claims if name in unrelated and item.format == "json"]
        return failing(30003) if claim in item.claims else next(iter(others), None)

    both = findings(change)
    names = {item.fingerprint for item in first}
    assert len(names) == 1
    assert {item.fingerprint for item in again} == names
    assert names < {item.fingerprint for item in both}


def test_a_fingerprint_does_not_depend_on_sids_numbers_or_dates() -> None:
    names = set()
    for digit, number in (("1", "+14105550100"), ("2", "+14105550133")):
        request = replace(
            probe("Messages.from.other"), form=(("From", number), ("To", number), ("Body", "x"))
        )
        text = f"Sender {number} is unknown"
        found = collect_findings(CLAIM_SET, [look(request, edit(message=text))])
        found += collect_findings(
            CLAIM_SET, [look(probe("example.message.sent"), edit(sid="SM" + digit * 30))]
        )
        names.add(tuple(item.fingerprint for item in found))
    assert len(names) == 1


def test_another_observation_of_the_same_claim_is_another_fingerprint() -> None:
    one = findings(of_claim("Messages.to.blocked", failing(30003)))
    other = findings(of_claim("Messages.to.blocked", failing(30004)))
    assert {item.fingerprint for item in one}.isdisjoint(item.fingerprint for item in other)


def test_a_finding_shows_both_sides_and_how_to_see_it_again() -> None:
    comparison = look(probe("Messages.to.blocked"), failing(30003), where="c.yaml:7")
    (found,) = collect_findings(CLAIM_SET, [comparison], lambda rule: f"ringback drift --only {rule}")
    assert found.reproduce == "ringback drift --only Messages.to.blocked"
    assert found.sightings[0].where == "c.yaml:7"
    assert (found.line, found.first_seen, found.seen) == (859, comparison.observation.when, 1)
    row = next(row for row in found.rows if row.pointer == "/code")
    assert (row.documented, row.live, row.offline, row.mark, row.line) == (
        "21610",
        "30003",
        "21610",
        "code",
        859,
    )


def test_header_fields_that_are_all_gone_are_one_finding_and_one_of_them_is_itself() -> None:
    kept = {"Date", "Content-Type", "Content-Length"}

    def strip(answer: Answer) -> Answer:
        return structs.replace(answer, headers=tuple(field for field in answer.headers if field[0] in kept))

    def one_less(answer: Answer) -> Answer:
        return structs.replace(
            answer, headers=tuple(field for field in answer.headers if field[0] != "X-Shenanigans")
        )

    (gone,) = findings(
        lambda _: strip, [probe for probe in CLAIM_SET.probes if probe.host == "api.twilio.com"]
    )
    assert gone.rule == "header.api"
    (one,) = findings(of_claim("Messages.to.blocked", one_less))
    assert one.rule == "header.x-shenanigans"


def test_fields_that_are_missing_in_the_same_answers_are_one_finding() -> None:
    successes = [look(probe("example.message.sent"), edit(price=..., to=..., body=...))]
    (found,) = collect_findings(CLAIM_SET, successes)
    assert (found.rule, found.kind, found.severity) == ("Messages.answer", "removed", "error")
    assert found.observed == "no to, body, price"
    assert found.pointers == ("/body", "/price", "/to")
    assert {"Messages.answer.to", "Messages.answer.price"} <= set(found.claims)
    again = collect_findings(CLAIM_SET, [look(probe("example.message.sent"), edit(price=..., to=...))])
    assert again[0].fingerprint != found.fingerprint, "one that is accepted does not hide another field"
    only = build_report(CLAIM_SET, successes, [], ReportFrame("recordings", "", only=["Messages.answer.to"]))
    assert [one.fingerprint for one in only.findings] == [found.fingerprint]


def test_fields_that_are_missing_in_other_answers_are_findings_of_their_own() -> None:
    changed = [
        look(probe("example.message.sent"), edit(price=...)),
        look(probe("Messages.from.valid"), edit(to=...)),
    ]
    assert {one.rule for one in collect_findings(CLAIM_SET, changed)} == {
        "Messages.answer.price",
        "Messages.answer.to",
    }


def test_an_error_without_several_fields_and_new_ones_together_are_one_finding_each() -> None:
    (less,) = collect_findings(
        CLAIM_SET, [look(probe("Messages.to.blocked"), edit(more_info=..., status=...))]
    )
    assert (less.rule, less.observed) == ("error.fields", "no more_info, status")
    new = edit(a=1, b=2, c=3, d=4)
    (more,) = collect_findings(CLAIM_SET, [look(probe("example.message.sent"), new)])
    assert (more.severity, more.observed) == ("info", "new fields: a, b, c and 1 more")


def test_the_sid_of_another_resource_makes_no_other_finding() -> None:
    def change(number: int) -> Any:
        return edit(uri=f"/2010-04-01/Accounts/{ACCOUNT}/Messages/SM{number:032x}.json")

    changed = [look(probe("example.message.sent"), change(number)) for number in (1, 2)]
    (found,) = collect_findings(CLAIM_SET, changed)
    assert (found.rule, found.seen) == ("Messages.answer.uri", 2)


def test_no_account_is_in_a_finding() -> None:
    link = f"https://www.twilio.com/{ACCOUNT}"
    changed = [
        look(probe("example.message.sent"), edit(uri=f"/Accounts/{ACCOUNT}", price=ACCOUNT, new=ACCOUNT)),
        look(probe("Messages.to.blocked"), edit(message=f"{ACCOUNT} is blocked", more_info=link)),
        look(probe("outside.api.get.queues"), edit(message=f"{ACCOUNT} may not")),
    ]
    found = collect_findings(CLAIM_SET, changed)
    assert len(found) == 6
    assert ACCOUNT not in repr(found)


def test_a_sender_that_is_no_number_says_nothing_about_the_recipient() -> None:
    """A From that is no number, or on a channel, decides before To is looked at."""
    for form in ({"From": "+123"}, {"From": "whatsapp:+14105550101"}):
        fields = (("From", form["From"]), ("To", "+14105550100"), ("Body", "x"))
        documented = decide(CLAIM_SET.contract, CLAIM_SET.contract.resource("Messages"), fields)
        inputs, decided_at = inputs_of(CLAIM_SET, documented, fields)
        assert ("To", "Messages.to.other") in inputs
        assert decided_at == documented.resource.order.index("From")

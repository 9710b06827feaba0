"""What a form gets: requirements, order, addresses, texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from ringback.contract import load
from ringback.contract.rules import fill
from support.clients import GOOD, MAGIC, REAL, ask, better, body_of, fail_of, post, send

if TYPE_CHECKING:
    from pathlib import Path

SENDER = "Messages"
CALLER = "Calls"
BUYER = "IncomingPhoneNumbers"


def code(resource: str, **fields: str | None) -> int | None:
    """The error code that the good form, changed so, gets; None for success."""
    got = send(resource, better(resource, **fields))
    return None if got.status == 201 else int(fail_of(got)["code"])


@pytest.mark.parametrize(
    "resource, missing, wanted",
    [
        (SENDER, {"From": None}, (21603, "A 'From' phone number is required.")),
        (SENDER, {"To": None}, (21604, "A 'To' phone number is required.")),
        (SENDER, {"Body": None}, (21602, "Message body is required.")),
        (SENDER, {"Body": ""}, (21602, "Message body is required.")),
        (SENDER, {"From": ""}, (21603, "A 'From' phone number is required.")),
        (CALLER, {"To": None}, (21201, "No 'To' number is specified")),
        (CALLER, {"Url": None}, (21205, "Url parameter is required.")),
        (CALLER, {"From": None}, (21213, "No 'From' number is specified")),
        (BUYER, {"PhoneNumber": None}, (21421, "PhoneNumber is not a valid number")),
        (BUYER, {"PhoneNumber": ""}, (21421, "PhoneNumber is not a valid number")),
    ],
)
def test_a_missing_parameter_has_its_own_error(
    resource: str, missing: dict[str, str | None], wanted: tuple[int, str]
) -> None:
    got = send(resource, better(resource, **missing))
    failed = fail_of(got)
    assert (failed["code"], failed["message"]) == wanted
    assert got.source.rule.endswith(".missing")


@pytest.mark.parametrize(
    "resource, left_out, sent, meant",
    [
        (SENDER, "From", "from", "From"),
        (SENDER, "To", "TO", "To"),
        (SENDER, "Body", "media_url", "MediaUrl"),
        (CALLER, "Url", "url", "Url"),
        (BUYER, "PhoneNumber", "phone_number", "PhoneNumber"),
        (BUYER, "PhoneNumber", "area_code", "AreaCode"),
    ],
)
def test_a_parameter_of_another_spelling_is_reported(
    resource: str, left_out: str, sent: str, meant: str
) -> None:
    form = {**better(resource, **{left_out: None}), sent: "x"}
    got, plain = send(resource, form), send(resource, better(resource, **{left_out: None}))
    assert got.source.reason == (
        f"the form has {sent}, which is no parameter: names are case-sensitive, send {meant}"
    )
    assert (got.body, got.source.basis, got.source.rule) == (
        plain.body,
        plain.source.basis,
        plain.source.rule,
    )


def test_a_parameter_in_the_query_is_reported() -> None:
    request = post(SENDER, better(SENDER, From=None))
    for query in ("?From=%2B15005550006", "?x=&from=1", "?From"):
        got = ask(replace(request, target=request.target + query))
        assert got.source.reason == (
            "From is in the URL's query, where parameters do not count: send it in the body"
        )
    assert ask(replace(request, target=request.target + "?To=1&From%=")).source.reason is None


def test_buying_without_number_or_area_code_says_what_can_be_bought() -> None:
    got = send(BUYER, {})
    assert got.source.reason == (
        "neither PhoneNumber nor AreaCode was sent: buy PhoneNumber=+15005550006 or AreaCode=500"
    )
    assert got.source.basis == "assumed"


@pytest.mark.parametrize(
    "resource, fields",
    [
        (SENDER, {"Body": None, "MediaUrl": "https://a.example/p.png"}),
        (SENDER, {"Body": None, "ContentSid": "HX" + "0" * 32}),
        (CALLER, {"Url": None, "Twiml": "<Response/>"}),
        (CALLER, {"Url": None, "ApplicationSid": "AP" + "0" * 32}),
        (BUYER, {"PhoneNumber": None, "AreaCode": "500"}),
    ],
)
def test_an_alternative_satisfies_the_requirement(resource: str, fields: dict[str, str | None]) -> None:
    assert code(resource, **fields) is None


# Each of these forms has several mistakes; the first of the order is told.
@pytest.mark.parametrize(
    "resource, form, wanted",
    [
        (SENDER, {}, 21603),
        (SENDER, {"From": "+15005550008"}, 21611),
        (SENDER, {"From": MAGIC}, 21604),
        (SENDER, {"From": "+15005550001", "To": "+15005550001"}, 21212),
        (SENDER, {"From": REAL, "To": "+15005550001"}, 21606),
        (SENDER, {"From": MAGIC, "To": "+15005550001"}, 21211),
        (SENDER, {"From": MAGIC, "To": REAL, "StatusCallback": "nowhere"}, 21602),
        (SENDER, {"From": MAGIC, "To": REAL, "Body": "x" * 1601, "Attempt": "x"}, 21617),
        (SENDER, {"MessagingServiceSid": "MG" + "0" * 32, "To": "+15005550001"}, 21701),
        (CALLER, {}, 21201),
        (CALLER, {"To": "+15005550001"}, 21217),
        (CALLER, {"To": REAL}, 21205),
        (CALLER, {"To": REAL, "Url": "nowhere"}, 21205),
        (CALLER, {"To": REAL, "Url": "http://a.example/"}, 21213),
        (CALLER, {"To": "+15005550001", "From": "+15005550001"}, 21217),
        (CALLER, {"To": REAL, "From": "+15005550001"}, 21205),
        (CALLER, {"To": REAL, "Url": "http://a.example/", "From": REAL, "Timeout": "x"}, 21210),
        (BUYER, {"PhoneNumber": "+15005550000", "AreaCode": "533", "SmsUrl": "nowhere"}, 21422),
    ],
)
def test_the_first_mistake_in_the_order_is_reported(resource: str, form: dict[str, str], wanted: int) -> None:
    assert fail_of(send(resource, form))["code"] == wanted
    backwards = dict(reversed(form.items()))
    assert fail_of(send(resource, backwards))["code"] == wanted, "the order of the fields must not count"


@pytest.mark.parametrize(
    "sent", ["5005550006", "15005550006", "+5005550006", "+15005550006", "(500) 555-0006"]
)
@pytest.mark.parametrize("resource", [SENDER, CALLER])
def test_the_magic_from_passes_however_it_is_written_and_is_echoed_as_sent(resource: str, sent: str) -> None:
    got = send(resource, better(resource, From=sent))
    assert got.status == 201
    assert body_of(got)["from"] == sent


@pytest.mark.parametrize(
    "sent", ["5005550004", "15005550004", "+5005550004", "500-555-0004", "+1 500 555 0004"]
)
@pytest.mark.parametrize("resource, wanted", [(SENDER, 21610), (CALLER, 21216)])
def test_a_magic_to_is_recognised_however_it_is_written(resource: str, wanted: int, sent: str) -> None:
    assert code(resource, To=sent) == wanted


@pytest.mark.parametrize(
    "sent, answered",
    [
        ("+14108675309", "+14108675309"),
        ("4108675309", "+14108675309"),
        ("14108675309", "+14108675309"),
        ("(410) 867-5309", "+14108675309"),
        ("+1.410.867.5309", "+14108675309"),
        ("410TOPJENN", "+14108675366"),
        ("+442079460000", "+442079460000"),
        ("5005550006", "+15005550006"),
    ],
)
@pytest.mark.parametrize("resource", [SENDER, CALLER])
def test_to_is_answered_in_e164(resource: str, sent: str, answered: str) -> None:
    got = send(resource, better(resource, To=sent))
    assert got.status == 201, got.body
    assert body_of(got)["to"] == answered


@pytest.mark.parametrize(
    "sent", ["1111111", "33", "+1", "abc", "+141086753091234567890", "not a number!", "++14108675309"]
)
def test_a_to_that_cannot_exist_is_reported_as_it_was_sent(sent: str) -> None:
    message = fail_of(send(SENDER, better(SENDER, To=sent)))
    assert message["message"] == f"The 'To' number {sent} is not a valid phone number."
    call = fail_of(send(CALLER, better(CALLER, To=sent)))
    assert (call["code"], call["message"]) == (21217, f"{sent} does not appear to be a valid phone number")
    bought = fail_of(send(BUYER, {"PhoneNumber": sent}))
    assert (bought["code"], bought["message"]) == (21421, f"{sent} is not a valid number")


@pytest.mark.parametrize(
    "resource, parameter, sent, wanted",
    [
        # Well formed, but a test account owns none of them.
        (SENDER, "From", "12345", 21606),
        (SENDER, "From", "ACME", 21606),
        (SENDER, "From", "Acme Corp", 21606),
        # WhatsApp: quote 2020-2023, about ten reports, live credentials.
        (SENDER, "From", "whatsapp:+15005550006", 63007),
        (SENDER, "From", "whatsapp:+14108675309", 63007),
        (SENDER, "From", "messenger:1234567890", 63007),
        (SENDER, "From", "+14108675309", 21606),
        # No number at all: live-test 2023 with test credentials, `+123` is 21606 as any other From.
        (SENDER, "From", "+123", 21606),
        (SENDER, "From", "Eleven chars and more", 21606),
        (SENDER, "From", "whatsapp:", 63007),
        (SENDER, "From", "messenger:", 63007),
        (SENDER, "From", "client:alice", 21606),
        (SENDER, "From", "sip:alice@a.example", 21606),
        (SENDER, "From", "12", 21606),
        # Another channel than From's: quote 2021. A colon after no channel: quote 2018.
        (SENDER, "To", "whatsapp:+14108675309", 21910),
        (SENDER, "To", "messenger:1234567890", 21910),
        (SENDER, "To", "whatsapp:33", 21910),
        (SENDER, "To", "client:alice", 21212),
        (SENDER, "To", "sip:alice@a.example", 21212),
        (SENDER, "To", "12345", 21211),
        (SENDER, "To", "ACME", 21211),
        (CALLER, "To", "client:alice", None),
        (CALLER, "To", "client:alice?name=Bob", None),
        (CALLER, "To", "sip:alice@a.example", None),
        (CALLER, "To", "sips:alice@a.example;transport=tls", None),
        (CALLER, "To", "client:", 21217),
        (CALLER, "To", "sip:", 21217),
        (CALLER, "To", "whatsapp:+14108675309", 21217),
        (CALLER, "From", "client:alice", 21210),
        (CALLER, "From", "sip:alice@a.example", 21210),
        (CALLER, "From", "ACME Corporation", 21212),
        (BUYER, "PhoneNumber", "client:alice", 21421),
        (BUYER, "PhoneNumber", "+14108675309", 21422),
    ],
)
def test_the_other_kinds_of_address(resource: str, parameter: str, sent: str, wanted: int | None) -> None:
    assert code(resource, **{parameter: sent}) == wanted


NUMBERS_ALONE = "the page speaks of phone numbers alone: what another "


@pytest.mark.parametrize(
    "resource, parameter, sent, rule",
    [
        (SENDER, "From", "12345", "from.no-number"),
        (SENDER, "From", "ACME", "from.no-number"),
        (CALLER, "To", "client:alice", "to.no-number"),
        (CALLER, "To", "sip:alice@a.example", "to.no-number"),
        (CALLER, "To", "whatsapp:+14105550100", "to.malformed"),
        (CALLER, "From", "client:alice", "from.no-number"),
        (BUYER, "PhoneNumber", "client:alice", "phonenumber.malformed"),
    ],
)
def test_what_an_address_that_is_no_number_gets_is_assumed(
    resource: str, parameter: str, sent: str, rule: str
) -> None:
    source = send(resource, better(resource, **{parameter: sent})).source
    assert (source.rule, source.basis, source.line) == (f"{resource}.{rule}", "assumed", None)
    assert NUMBERS_ALONE in (source.reason or "")


@pytest.mark.parametrize(
    "parameter, sent, rule, basis",
    [
        ("To", "whatsapp:+14105550100", "to.other-channel", "recorded"),
        ("To", "messenger:123", "to.other-messenger", "assumed"),
        ("To", "rcs:+14105550100", "to.unknown-channel", "recorded"),
        ("From", "whatsapp:+15005550006", "from.whatsapp", "recorded"),
        ("From", "messenger:123", "from.messenger", "assumed"),
        ("From", "client:alice", "from.unknown-channel", "assumed"),
    ],
)
def test_an_address_of_a_channel_has_a_row_with_its_own_basis(
    parameter: str, sent: str, rule: str, basis: str
) -> None:
    source = send(SENDER, better(SENDER, **{parameter: sent})).source
    assert (source.rule, source.basis, source.line) == (f"{SENDER}.{rule}", basis, None)
    assert source.reason


@pytest.mark.parametrize("resource, parameter", [(SENDER, "To"), (CALLER, "To"), (CALLER, "From")])
def test_the_code_of_a_malformed_number_is_recorded_not_documented(resource: str, parameter: str) -> None:
    """The page validates any other number normally, and does not say with which code."""
    source = send(resource, better(resource, **{parameter: "12"})).source
    assert (source.rule, source.basis) == (f"{resource}.{parameter.lower()}.malformed", "recorded")


@pytest.mark.parametrize(
    "resource, parameter, sent, rule",
    [
        (SENDER, "To", "+14105550100", "from.valid"),
        (SENDER, "From", "+14105550100", "from.other"),
        (SENDER, "From", "12", "from.other"),
        (CALLER, "To", "+14108675309", "from.valid"),
        (BUYER, "PhoneNumber", "33", "phonenumber.malformed"),
    ],
)
def test_what_a_number_gets_is_documented(resource: str, parameter: str, sent: str, rule: str) -> None:
    source = send(resource, better(resource, **{parameter: sent})).source
    assert (source.rule, source.basis) == (f"{resource}.{rule}", "documented")
    assert source.line is not None


@pytest.mark.parametrize("sent", ["client:alice", "sip:alice@a.example"])
def test_an_address_that_is_no_number_is_echoed_as_it_is(sent: str) -> None:
    got = body_of(send(CALLER, better(CALLER, To=sent)))
    assert got["to"] == sent
    assert got["to_formatted"] == sent


def test_a_whatsapp_number_is_answered_in_e164_behind_its_channel(tmp_path: Path) -> None:
    """With a sender on the channel, which a user's own row gives."""
    own = tmp_path / "own.yaml"
    own.write_text(
        'magic: [{resource: Messages, parameter: From, value: "whatsapp:+14105550100", error: null}]'
    )
    form = better(SENDER, From="whatsapp:+14105550100", To="whatsapp:(410) 867-5309")
    got = body_of(send(SENDER, form, contract=load([own])))
    assert got["to"] == "whatsapp:+14108675309"


@pytest.mark.parametrize(
    "parameter, sent, wanted",
    [
        ("AreaCode", "500", None),
        ("AreaCode", "533", 21452),
        ("AreaCode", "410", 21452),
        ("AreaCode", "41", 21451),
        ("AreaCode", "4100", 21451),
        ("AreaCode", "x", 21451),
    ],
)
def test_area_codes(parameter: str, sent: str, wanted: int | None) -> None:
    assert code(BUYER, PhoneNumber=None, **{parameter: sent}) == wanted


def test_an_area_code_buys_the_magic_number() -> None:
    got = body_of(send(BUYER, {"AreaCode": "500"}))
    assert (got["phone_number"], got["friendly_name"]) == (MAGIC, "(500) 555-0006")
    assert got["status"] == "new"


@pytest.mark.parametrize("area", ["500", "533", "x"])
def test_the_number_wins_over_the_area_code(area: str) -> None:
    assert code(BUYER, AreaCode=area) is None
    assert code(BUYER, PhoneNumber="+15005550000", AreaCode=area) == 21422


@pytest.mark.parametrize(
    "sent", [{"Messagingservicesid": "x"}, {"MediaUrl0": "nowhere"}, {"": "x"}, {"ÿ": "\n"}]
)
@pytest.mark.parametrize("resource", GOOD)
def test_unknown_parameters_are_ignored(resource: str, sent: dict[str, str]) -> None:
    got = send(resource, {**GOOD[resource], **sent})
    assert got.status == 201
    assert "nowhere" not in got.body.decode()


@pytest.mark.parametrize("also", [{}, {"From": None}])
def test_a_messaging_service_is_refused_and_the_cause_named(also: dict[str, None]) -> None:
    got = send(SENDER, better(SENDER, MessagingServiceSid="MG" + "0" * 32, **also))
    assert fail_of(got)["code"] == 21701
    assert got.source.rule == "Messages.messaging-service"
    assert (got.source.line, got.source.basis) == (842, "assumed")
    assert got.source.reason == (
        "MessagingServiceSid does not work with test credentials: send From=+15005550006 instead"
    )


def test_a_blank_messaging_service_is_no_messaging_service() -> None:
    assert code(SENDER, MessagingServiceSid="") is None


# The wire texts as recorded or quoted; the number in them is written as it was sent.
UNVERIFIED = (
    "The source phone number provided, {}, is not yet verified for your account. You may only make calls "
    "from phone numbers that you've verified or purchased from Twilio."
)
ABROAD = (
    "Account not authorized to call {}. Perhaps you need to enable some international permissions: "
    "https://www.twilio.com/console/voice/calls/geo-permissions/low-risk"
)
NOT_A_SENDER = "The 'From' number {} is not a valid phone number, shortcode, or alphanumeric sender ID."
NOT_OWNED = (
    "The From phone number {} is not a valid, SMS-capable inbound phone number "
    "or short code for your account."
)
NO_ROUTE = (
    "The 'To' phone number: {}, is not currently reachable "
    "using the 'From' phone number: +15005550006 via SMS."
)
NO_PERMISSION = (
    "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: {}."
)
TEXTS = [
    (SENDER, "From", "5005550001", NOT_A_SENDER),
    (SENDER, "From", "5005550007", NOT_OWNED),
    (SENDER, "From", "5005550008", "SMS queue is full."),
    (SENDER, "To", "5005550001", "The 'To' number {} is not a valid phone number."),
    (SENDER, "To", "5005550002", NO_ROUTE),
    (SENDER, "To", "5005550003", NO_PERMISSION),
    (SENDER, "To", "5005550004", "The message From/To pair violates a blacklist rule."),
    (SENDER, "To", "5005550009", "To number: {}, is not a mobile number"),
    (SENDER, "Body", "x" * 1601, "The concatenated message body exceeds the 1600 character limit."),
    (CALLER, "From", "5005550001", "From is not a valid phone number: {}"),
    (CALLER, "From", "4108675309", UNVERIFIED),
    (CALLER, "To", "5005550001", "{} does not appear to be a valid phone number"),
    (CALLER, "To", "5005550002", "'To' phone number cannot be reached"),
    (CALLER, "To", "5005550003", ABROAD),
    (CALLER, "To", "5005550004", "Account not allowed to call {}"),
    (BUYER, "PhoneNumber", "5005550000", "{} is not available"),
    (BUYER, "PhoneNumber", "5005550001", "{} is not a valid number"),
    (BUYER, "AreaCode", "533", "No phone numbers found"),
    (BUYER, "AreaCode", "5", "Invalid area code"),
]


@pytest.mark.parametrize("resource, parameter, sent, text", TEXTS)
def test_the_wire_text_echoes_the_number_as_sent(resource: str, parameter: str, sent: str, text: str) -> None:
    form = better(resource, PhoneNumber=None) if parameter == "AreaCode" else better(resource)
    assert fail_of(send(resource, {**form, parameter: sent}))["message"] == text.format(sent)


@pytest.mark.parametrize("resource, wanted", [(SENDER, "21606"), (CALLER, "21210")])
def test_a_real_from_is_reported_why_it_fails(resource: str, wanted: str) -> None:
    got = send(resource, better(resource, From=REAL))
    assert fail_of(got)["code"] == int(wanted)
    assert got.source.reason is not None
    assert "+15005550006" in got.source.reason
    assert wanted in got.source.reason


@pytest.mark.parametrize("length, wanted", [(1600, None), (1601, 21617)])
@pytest.mark.parametrize("character", ["a", "é", "\u4e2d", "\U0001f600"])
def test_a_body_has_1600_characters_at_most(length: int, wanted: int | None, character: str) -> None:
    assert code(SENDER, Body=character * length) == wanted


def test_mms_is_reported_as_mms() -> None:
    text = {
        media: fail_of(send(SENDER, better(SENDER, To="+15005550002", MediaUrl=media)))["message"]
        for media in (None, "https://a.example/p.png")
    }
    assert text[None].endswith("via SMS.")
    assert text["https://a.example/p.png"].endswith("via MMS.")


def test_every_media_url_is_checked_and_counted() -> None:
    good, bad = ("MediaUrl", "https://a.example/p.png"), ("MediaUrl", "nowhere")
    base = list(GOOD[SENDER].items())
    got = body_of(send(SENDER, [*base, good, good, good]))
    assert got["num_media"] == "3"
    assert got["sid"].startswith("MM")
    for order in ([bad, good], [good, bad]):
        assert fail_of(send(SENDER, [*base, *order]))["code"] == 21620


def test_the_last_of_a_repeated_field_counts() -> None:
    got = send(SENDER, [*GOOD[SENDER].items(), ("Body", "second")])
    assert body_of(got)["body"] == "second"


@pytest.mark.parametrize(
    "template, known, wanted",
    [
        ("{To} and {From}", {"To": "1", "From": "2"}, "1 and 2"),
        ("{To}", {"To": "{From}", "From": "never"}, "{From}"),
        ("{Nothing}!", {}, "!"),
        ("plain", {}, "plain"),
    ],
)
def test_a_text_is_filled_once(template: str, known: dict[str, str], wanted: str) -> None:
    assert fill(template, known) == wanted


def test_what_was_sent_is_never_taken_for_a_placeholder() -> None:
    failed = fail_of(send(SENDER, better(SENDER, To="{Body}{To}{0}", Body="secret")))
    assert failed["message"] == "The 'To' number {Body}{To}{0} is not a valid phone number."


def test_every_code_of_every_parameter_has_a_text() -> None:
    contract = load()
    for resource in contract.resources:
        for parameter in resource.parameters.values():
            assert contract.text(parameter.error, resource.resource).message


def test_two_equal_requests_get_different_sids_and_a_seed_makes_them_repeat() -> None:
    from ringback.contract.render import FreshStamps, SeededStamps  # noqa: PLC0415 - for this test alone

    request = post(SENDER, GOOD[SENDER])
    fresh = FreshStamps()
    assert fresh.of(request).sid != fresh.of(request).sid
    runs = []
    for _ in range(2):
        seeded = SeededStamps(7)
        runs.append([seeded.of(request).sid for _ in range(3)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3
    assert ask(request, seed=1).body == ask(request, seed=1).body
    assert ask(request, seed=1).body != ask(request, seed=2).body

"""Validation that Twilio does and reports show: URLs, channels, scheduling, ranges, formats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ringback.contract import Credentials, Names, answer, decide, load
from ringback.contract.render import FreshStamps
from ringback.contract.values import judge_url, moment, utf16_length
from support.clients import MAGIC, ask, better, body_of, fail_of, post, send
from support.rows import NOT_OWNED

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.contract import Answer, Contract

LOCAL = load(local_urls=True)
URLS = [
    (resource.resource, name)
    for resource in load().resources
    for name, parameter in resource.parameters.items()
    if parameter.type == "url"
]
SENDER, CALLER, BUYER = "Messages", "Calls", "IncomingPhoneNumbers"


def answered(resource: str, **fields: str | None) -> Answer:
    return send(resource, better(resource, **fields))


# What people saw Twilio refuse, with code and text. Each is a quote, of live credentials or unknown ones.
REPORTED = [
    # 2022, 2023, 2026
    (
        SENDER,
        "StatusCallback",
        "http://localhost:8000/s",
        21609,
        "The StatusCallback URL {} is not a valid URL.",
    ),
    (
        CALLER,
        "StatusCallback",
        "http://localhost/s",
        21609,
        "The StatusCallback URL {} is not a valid URL.",
    ),  # 2022
    # 2018 to 2021: malformed, without a host, on localhost
    (CALLER, "Url", "nowhere", 21205, "Url is not a valid URL: {}"),
    (CALLER, "Url", "http://", 21205, "Url is not a valid URL: {}"),
    (CALLER, "Url", "http://localhost/voice", 21205, "Url is not a valid URL: {}"),
    # 2014 to 2023: localhost, no dot, a label that ends in a hyphen
    (BUYER, "VoiceUrl", "http://localhost/voice", 21402, "VoiceUrl is not a valid URL: {}"),
    (BUYER, "SmsUrl", "http://web/sms", 21402, "SmsUrl is not a valid URL: {}"),
    (BUYER, "VoiceUrl", "http://shop-.example.com/", 21402, "VoiceUrl is not a valid URL: {}"),
    (SENDER, "MediaUrl", "a.example.com/cat.png", 21620, "Invalid media URL(s)"),  # log 2026
]


@pytest.mark.parametrize("resource, parameter, url, code, message", REPORTED)
def test_a_url_that_somebody_saw_refused(
    resource: str, parameter: str, url: str, code: int, message: str
) -> None:
    got = answered(resource, **{parameter: url})
    failed = fail_of(got)
    assert (failed["code"], failed["message"]) == (code, message.format(url))
    assert (got.source.rule, got.source.basis) == (f"{resource}.{parameter.lower()}.malformed", "recorded")
    assert got.source.reason


# The faults for which somebody saw a parameter refused.
FAULTS = {
    "scheme": "nowhere",
    "host": "http:///x",
    "localhost": "http://localhost/x",
    "dot": "http://web/x",
    "hyphen": "http://shop-.example.com/x",
    None: "ftp://a.example.com/x",
}
SEEN = {
    (SENDER, "StatusCallback"): {"localhost"},
    (SENDER, "MediaUrl"): {"scheme"},
    (CALLER, "StatusCallback"): {"localhost"},
    (CALLER, "Url"): {"scheme", "host", "localhost"},
    (BUYER, "VoiceUrl"): {"localhost", "dot", "hyphen"},
    (BUYER, "SmsUrl"): {"localhost", "dot", "hyphen"},
}


@pytest.mark.parametrize("resource, parameter", URLS)
def test_a_refusal_that_nobody_reported_of_this_parameter_is_assumed(resource: str, parameter: str) -> None:
    known = {fault for fault, url in FAULTS.items() if basis_of(resource, parameter, url) == "recorded"}
    assert known == SEEN.get((resource, parameter), set())


def basis_of(resource: str, parameter: str, url: str) -> str | None:
    got = answered(resource, **{parameter: url})
    assert got.status == 400
    assert (f"nobody reported it of {parameter}" in (got.source.reason or "")) == (
        got.source.basis == "assumed"
    )
    return got.source.basis


@pytest.mark.parametrize("resource, parameter", URLS)
def test_every_url_parameter_has_the_validator(resource: str, parameter: str) -> None:
    assert answered(resource, **{parameter: "https://a.example.com/x"}).status == 201
    for url in ("http://localhost/x", "http://web/x", "nowhere"):
        got = answered(resource, **{parameter: url})
        assert got.status == 400
        assert fail_of(got)["code"] in {21205, 21402, 21609, 21620}
    assert answered(resource, **{parameter: "http://127.0.0.1/x"}).source.basis == "assumed"


@pytest.mark.parametrize(
    "url, fault, kind, local",
    [
        ("http://localhost", "not public: localhost", "localhost", True),
        ("http://LOCALHOST./x", "not public: localhost", "localhost", True),
        ("http://intranet/x", "has no dot", "dot", True),
        ("http://a-.example.com", "hyphen: a-", "hyphen", False),
        ("http://-a.example.com", "hyphen: -a", None, False),
        ("ftp://a.example.com", "http:// or https://", None, False),
        ("a.example.com", "http:// or https://", "scheme", False),
        ("localhost:3000/x", "http:// or https://", "scheme", False),
        ("http:///x", "no host", "host", False),
        # Nobody reported on these: refused by assumption.
        ("http://127.0.0.1/x", "127.0.0.1", None, True),
        ("http://10.1.2.3/x", "10.1.2.3", None, True),
        ("http://192.168.0.1:8080", "192.168.0.1", None, True),
        ("http://169.254.169.254/", "169.254.169.254", None, True),
        ("http://[::1]/", "::1", None, True),
        ("http://printer.local/", ".local", None, True),
        ("http://localhost.localdomain/", ".localdomain", None, True),
        ("http://a.example.com../", "empty", None, False),
        ("http://2130706433/", "has no dot", "dot", True),
        ("http://127.1/", "no host name", None, False),
        ("http://a.example.com:99999/", "no URL", None, False),
        ("http://a.example.com\\@localhost/", "not public: localhost", "localhost", True),
        ("//a.example.com/", "http:// or https://", "scheme", False),
        ("http://app.localhost/", ".localhost", None, True),
        ("http://a..example.com", "empty", None, False),
        (f"http://{'a' * 64}.example.com", "longer than 63", None, False),
        ("http://a.example.com:0/", "port 0", None, False),
        ("http://a.example.com/a b", "white space", None, False),
        ("http://[::1", "no URL", None, False),
        ("http://1.2.3/", "no host name", None, False),
        ("http://a$b.example.com", "other characters", None, False),
    ],
)
def test_a_refused_url_names_its_fault(url: str, fault: str, kind: str | None, local: bool) -> None:
    judged = judge_url(url)
    assert fault in (judged.fault or "")
    assert (judged.kind, judged.local) == (kind, local)


@pytest.mark.parametrize(
    "url, doubt",
    [
        ("https://hooks.example.com/path?a=b&c=%20#f", None),
        ("HTTPS://a.example", None),
        ("http://a-b.c-d.example", None),
        ("http://a.example:8080/", "a port"),
        ("http://user:pass@a.example/", "user information"),
        ("http://m\u00fcnchen.example/", "letters outside ASCII"),
        ("http://a_b.example.com/", "an underscore"),
        ("http://8.8.8.8/", "an address"),
        ("http://a.example.com./", "a final dot"),
        ("http://8.8.8.8.:8080/", "an address instead of a name and a final dot in its host and a port"),
    ],
)
def test_a_url_passes_and_what_nobody_reported_is_named(url: str, doubt: str | None) -> None:
    judged = judge_url(url)
    assert judged.fault is None
    assert (judged.doubt is None) if doubt is None else (doubt in (judged.doubt or ""))
    source = answered(SENDER, StatusCallback=url).source
    assert source.basis == ("documented" if doubt is None else "assumed")
    assert (doubt or "") in (source.reason or "")


LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(st.lists(LABELS, min_size=1, max_size=4), st.sampled_from(["http", "https"]))
def test_every_plain_public_name_passes(labels: list[str], scheme: str) -> None:
    assert judge_url(f"{scheme}://{'.'.join([*labels, 'com'])}/path").fault is None


@given(LABELS)
def test_no_name_without_a_dot_passes(label: str) -> None:
    assert judge_url(f"http://{label}/path").fault is not None


@given(st.ip_addresses())
def test_an_address_passes_only_where_it_is_public(address: object) -> None:
    shown = f"[{address}]" if ":" in str(address) else str(address)
    judged = judge_url(f"http://{shown}/")
    public = ip_address(str(address)).is_global and ":" not in str(address)
    assert (judged.fault is None) == public
    assert judged.local == (not public)


@given(st.text())
def test_no_text_breaks_the_validator(text: str) -> None:
    judged = judge_url(text)
    assert judged.fault is not None or judged.kind is None
    assert judge_url(f"http://{text}") is not None


@pytest.mark.parametrize("url", ["http://localhost:8000/s", "http://127.0.0.1/s", "http://web/s"])
def test_local_urls_pass_where_the_user_allows_them(url: str) -> None:
    got = send(SENDER, better(SENDER, StatusCallback=url), contract=LOCAL)
    assert (got.status, got.source.basis) == (201, "user")
    assert "local URLs are allowed" in (got.source.reason or "")
    assert send(SENDER, better(SENDER, StatusCallback="nowhere"), contract=LOCAL).status == 400


def test_a_blank_media_url_is_refused_and_not_taken_for_absent() -> None:
    """Quote 2019."""
    got = answered(SENDER, MediaUrl="")
    wanted = "Media urls:  are invalid. Please use only valid http and https urls"
    assert (fail_of(got)["code"], fail_of(got)["message"]) == (21620, wanted)
    assert answered(SENDER, MediaUrl=None).status == 201


@pytest.mark.parametrize(
    "resource, fields, code",
    [
        # Twilio's list of the codes that it answers when a message is sent.
        (SENDER, {"ScheduleType": "fixed"}, 35118),
        (SENDER, {"SendAt": "2030-01-01T00:00:00Z"}, 35118),
        (SENDER, {"ScheduleType": "fixed", "SendAt": "2030-01-01T00:00:00Z"}, 35118),
        (SENDER, {"MaxPrice": "free"}, 21627),
        (SENDER, {"ValidityPeriod": "0"}, 21624),
        (SENDER, {"ValidityPeriod": "36001"}, 21624),
        (SENDER, {"ValidityPeriod": "14400"}, None),
        (SENDER, {"ContentSid": "HX1"}, 21654),
        # Assumed: the codes of Twilio's dictionary.
        (SENDER, {"ContentVariables": "not json"}, 21656),
        (SENDER, {"ContentVariables": '{"1": "a"}'}, None),
        (CALLER, {"Url": None, "Twiml": "<Response>"}, 12100),
        (CALLER, {"Url": None, "Twiml": "<Response/>"}, None),
        (CALLER, {"Timeout": "0"}, 20001),
        (CALLER, {"Timeout": "601"}, 20001),
        (CALLER, {"Timeout": "600"}, None),
        (CALLER, {"MachineDetectionTimeout": "2"}, 20001),
    ],
)
def test_other_parameters(resource: str, fields: dict[str, str | None], code: int | None) -> None:
    got = answered(resource, **fields)
    assert (None if got.status == 201 else fail_of(got)["code"]) == code


# -- lengths, repeats, channels


@pytest.mark.parametrize(
    "body, code, basis, named",
    [
        ("x" * 1600, None, "documented", ""),
        ("x" * 1601, 21617, "recorded", ""),
        ("\u20ac" * 1600, None, "documented", ""),  # two septets each: the limit counts characters
        ("\u4e2d" * 1600, None, "documented", ""),
        ("\U0001f600" * 800, None, "documented", ""),  # 1,600 UTF-16 units
        ("\U0001f600" * 800 + "x", None, "assumed", "801 characters in 1601 UTF-16 units"),
        ("\U0001f600" * 1600, None, "assumed", "1600 characters in 3200 UTF-16 units"),
        ("\U0001f600" * 1601, 21617, "recorded", ""),
        (" ", None, "assumed", "white space alone"),
        ("\n\u3000", None, "assumed", "white space alone"),
        ("", 21602, "documented", ""),
    ],
)
def test_the_longest_body(body: str, code: int | None, basis: str, named: str) -> None:
    """Quote: 1600 characters. Nobody reported whether an emoji counts as one or as two."""
    got = answered(SENDER, Body=body)
    assert (None if got.status == 201 else fail_of(got)["code"], got.source.basis) == (code, basis)
    assert named in (got.source.reason or "")


@given(st.text())
def test_utf16_units_are_the_characters_and_once_more_those_beyond_16_bits(text: str) -> None:
    assert utf16_length(text) == len(text) + sum(char > "\uffff" for char in text)


@pytest.mark.parametrize(
    "more, code, basis, named",
    [
        ([("To", "+15005550009")], 21614, "assumed", "To came more than once"),
        ([("To", MAGIC)], None, "assumed", "To came more than once"),
        ([("To", MAGIC), ("Body", "again")], None, "assumed", "Body, To came more than once"),
        ([("To", "")], None, "documented", ""),  # a blank one counts as absent
        (
            [("MediaUrl", "http://a.example.com/1"), ("MediaUrl", "http://a.example.com/2")],
            None,
            "documented",
            "",
        ),
        ([("Unknown", "1"), ("Unknown", "2")], None, "recorded", "no parameter of Messages"),
    ],
)
def test_a_repeated_parameter_s_last_value_counts_by_assumption(
    more: list[tuple[str, str]], code: int | None, basis: str, named: str
) -> None:
    got = send(SENDER, [*sorted(better(SENDER).items()), *more])
    assert (None if got.status == 201 else fail_of(got)["code"], got.source.basis) == (code, basis)
    assert named in (got.source.reason or "")


@pytest.mark.parametrize("count, code", [(10, None), (11, 21623)])
def test_ten_media_files_at_most(count: int, code: int | None) -> None:
    """The code is of Twilio's dictionary; nobody reported that test credentials answer it."""
    media = [("MediaUrl", f"http://a.example.com/{number}.png") for number in range(count)]
    got = send(SENDER, [*better(SENDER).items(), *media])
    assert (None if got.status == 201 else fail_of(got)["code"]) == code
    assert got.source.basis == ("documented" if code is None else "assumed")


@pytest.mark.parametrize(
    "fields, code, basis",
    [
        # Quote 2020-2023, about ten reports, live credentials.
        ({"From": "whatsapp:+14105550100"}, 63007, "recorded"),
        ({"From": "whatsapp:+14105550100", "To": "whatsapp:+14105550101"}, 63007, "recorded"),
        ({"To": "whatsapp:+14105550101"}, 21910, "recorded"),  # quote 2021, live credentials
        ({"To": "sms:+14105550101"}, 21212, "recorded"),  # quote 2018, test credentials
        ({"To": ":"}, 21212, "recorded"),
        ({"From": ":"}, 21606, "assumed"),
        # A known channel with something else than an address of it: nobody reported that.
        ({"From": "whatsapp:"}, 63007, "assumed"),
        ({"From": "WhatsApp:somebody"}, 63007, "assumed"),
        ({"To": "whatsapp:"}, 21910, "assumed"),
        ({"To": "messenger:123"}, 21910, "assumed"),
        ({"From": "rcs:brand"}, 21606, "assumed"),
        ({"From": "+123"}, 21606, "documented"),  # live test, as the row "any other" says
        ({"From": "12345"}, 21606, "assumed"),  # a short code
        ({"From": "MyCompany"}, 21606, "assumed"),
    ],
)
def test_channels_and_senders(fields: dict[str, str | None], code: int, basis: str) -> None:
    got = answered(SENDER, **fields)
    assert (fail_of(got)["code"], got.source.basis) == (code, basis)


@given(st.sampled_from(["whatsapp", "messenger"]), st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_no_address_on_a_channel_passes(channel: str, rest: str) -> None:
    for parameter in ("From", "To"):
        got = answered(SENDER, **{parameter: f"{channel}:{rest}"})
        assert (got.status, fail_of(got)["code"]) == (400, {"From": 63007, "To": 21910}[parameter])


@given(st.from_regex(r"[a-z]{0,12}:[^\x00]{0,20}", fullmatch=True))
def test_a_recipient_with_a_colon_never_passes(address: str) -> None:
    """Quote 2018, test credentials: a colon after no known channel is 21212, which names From."""
    known = address.partition(":")[0] in {"whatsapp", "messenger"}
    assert fail_of(answered(SENDER, To=address))["code"] == (21910 if known else 21212)


# -- scheduling and messaging services: possible where a user's own row lets a service pass

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
SERVICE = "MG" + "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    file: Path = tmp_path_factory.mktemp("own") / "own.yaml"
    row = f"{{resource: Messages, parameter: MessagingServiceSid, value: {SERVICE}, error: null}}"
    file.write_text(f"magic: [{row}]")
    return load([file])


def scheduled(contract: Contract, send_at: str, now: datetime | None = NOW) -> tuple[int | None, str]:
    form = better(SENDER, From=None, MessagingServiceSid=SERVICE, ScheduleType="fixed", SendAt=send_at)
    found = decide(contract, contract.resource(SENDER), tuple(form.items()), now=now)
    return found.code, found.reason or ""


@pytest.mark.parametrize(
    "ahead, code",
    [
        (timedelta(seconds=-1), 35114),
        (timedelta(seconds=899), 35114),
        (timedelta(seconds=900), None),
        (timedelta(days=7), None),
        (timedelta(days=7, seconds=1), None),  # refused in older lists of the codes
        (timedelta(days=35), None),
        (timedelta(days=35, seconds=1), 35114),
        (timedelta(days=36500), 35114),
    ],
)
def test_a_message_is_scheduled_900_seconds_to_35_days_ahead(
    own: Contract, ahead: timedelta, code: int | None
) -> None:
    """Twilio's list of the codes that it answers when a message is sent; live credentials."""
    got, reason = scheduled(own, (NOW + ahead).isoformat())
    assert got == code
    assert ("must be 15 minutes to 35 days ahead" in reason) == (code is not None)


@pytest.mark.parametrize(
    "send_at, code",
    [
        ("2026-11-27T10:00:00Z", None),
        ("2026-11-27T05:00:00-05:00", None),
        ("2026-11-27T10:00:00+05:00", 35114),
        ("2026-11-27T10:00:00", None),  # without a zone: taken for UTC
        ("tomorrow", 35114),
        ("2026-11-31T10:00:00Z", 35114),
        ("1764237600", 35114),
        ("9999-12-31T23:59:59-23:59", 35114),
        ("0001-01-01T00:00:00+23:59", 35114),
    ],
)
def test_what_can_be_read_as_the_time_of_a_scheduled_message(
    own: Contract, send_at: str, code: int | None
) -> None:
    assert scheduled(own, send_at)[0] == code


@given(st.integers(-(10**7), 10**7), st.integers(-1439, 1439))
def test_a_time_is_the_same_in_every_zone(seconds: int, offset: int) -> None:
    wanted = NOW + timedelta(seconds=seconds)
    zone = timezone(timedelta(minutes=offset))
    assert moment(wanted.astimezone(zone).isoformat()) == wanted


@given(st.text())
def test_no_text_breaks_the_reading_of_a_date(text: str) -> None:
    found = moment(text)
    assert found is None or found.tzinfo is not None


def test_without_a_clock_the_time_is_not_held_against_it_and_the_answer_says_so(own: Contract) -> None:
    code, reason = scheduled(own, "2012-10-10T22:00:00Z", None)
    assert code is None
    assert "SendAt is not held against the clock" in reason
    got = send(
        SENDER, better(SENDER, From=None, MessagingServiceSid=SERVICE, SendAt="2012-10-10"), contract=own
    )
    assert got.status == 201  # answers of a seed repeat
    request = post(SENDER, better(SENDER, From=None, MessagingServiceSid=SERVICE, SendAt="2012-10-10"))
    fresh = answer(own, request, Names(request.host), Credentials(), FreshStamps().of(request))
    assert fail_of(fresh)["code"] == 35114


@pytest.mark.parametrize(
    "fields, wanted",
    [
        ({"From": None}, {"status": "accepted", "from": None}),
        ({}, {"status": "accepted", "from": MAGIC}),
        (
            {"From": None, "ScheduleType": "fixed", "SendAt": "2012-10-10T22:00:00Z"},
            {"status": "scheduled", "from": None},
        ),
    ],
)
def test_a_messaging_service_that_a_user_s_row_lets_pass_answers_as_twilio_s_do(
    own: Contract, fields: dict[str, str | None], wanted: dict[str, str | None]
) -> None:
    """Recorded 2022, live credentials."""
    form = better(SENDER, MessagingServiceSid=SERVICE, Body="x" * 500, **fields)
    got = send(SENDER, form, contract=own)
    body = body_of(got)
    assert (got.status, got.source.basis) == (201, "user")
    assert {name: body[name] for name in wanted} == wanted
    assert (body["messaging_service_sid"], body["num_segments"], body["price_unit"]) == (SERVICE, "0", None)
    xml = ask(post(SENDER, form, extension=""), contract=own).body
    assert b"<NumSegments>0</NumSegments>" in xml
    assert b"<PriceUnit/>" in xml


def test_a_message_through_no_service_counts_its_segments_and_has_a_currency() -> None:
    body = body_of(answered(SENDER, Body="x" * 500))
    assert (body["status"], body["num_segments"], body["price_unit"]) == ("queued", "4", "USD")


def test_from_and_to_may_be_the_same_magic_number() -> None:
    """Recorded 2017 and a live test of 2023: live's 21266 does not apply."""
    got = answered(SENDER, To="+15005550006", From="+15005550006")
    assert (got.status, body_of(got)["to"]) == (201, "+15005550006")


# -- basis


@pytest.mark.parametrize(
    "resource, fields, basis, named",
    [
        (SENDER, {}, "documented", ""),
        (SENDER, {"StatusCallback": "https://a.example.com/s", "MaxPrice": "0.5"}, "documented", ""),
        (SENDER, {"ContentVariables": "{}"}, "assumed", "ContentVariables"),
        (SENDER, {"SmartEncoded": "true", "RiskCheck": "enable"}, "assumed", "SmartEncoded, RiskCheck"),
        (CALLER, {"Timeout": "30", "Method": "GET"}, "documented", ""),
        (CALLER, {"MachineDetection": "Enable"}, "assumed", "MachineDetection"),
        (BUYER, {"FriendlyName": "x", "VoiceUrl": "http://a.example.com/"}, "documented", ""),
        (BUYER, {"EmergencyStatus": "Active"}, "assumed", "EmergencyStatus"),
        # Recorded 2014: MediaUrl0 was ignored.
        (SENDER, {"MediaUrl0": "x"}, "recorded", "MediaUrl0"),
        (SENDER, {"MediaUrl0": "x", "RiskCheck": "enable"}, "assumed", "RiskCheck"),
    ],
)
def test_the_weakest_part_gives_a_success_its_basis_and_is_named(
    resource: str, fields: dict[str, str | None], basis: str, named: str
) -> None:
    got = answered(resource, **fields)
    assert (got.status, got.source.basis) == (201, basis)
    assert named in (got.source.reason or "")
    assert (got.source.reason is None) == (basis == "documented")


@pytest.mark.parametrize("name", ["x\r\ny", "\u00e9" * 99, "a" * 5000])
def test_an_ignored_name_cannot_break_the_header(name: str) -> None:
    fields = dict(answered(SENDER, **{name: "x"}).source.headers())
    assert fields["Ringback-Reason"].isascii()
    assert fields["Ringback-Reason"].isprintable()
    assert len(fields["Ringback-Reason"]) <= 400


@pytest.mark.parametrize(
    "host, basis",
    [
        ("api.twilio.com", "documented"),
        ("api.ashburn.us1.twilio.com", "documented"),
        ("api.dublin.ie1.twilio.com", "assumed"),
        ("api.au1.twilio.com", "assumed"),
    ],
)
def test_another_region_than_us1_is_assumed(host: str, basis: str) -> None:
    """Quote: tokens are per region; nothing was found about test credentials there."""
    got = ask(replace(post(SENDER, better(SENDER)), host=host))
    assert (got.status, got.source.basis) == (201, basis)


# -- texts and accounts

NEWEST = load(texts="newest")
TRIAL = load(account="trial")
CAPABLE = "message-capable Twilio phone number for this destination"
PERMISSION = "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: "


@pytest.mark.parametrize(
    "fields, certain, newest",
    [
        (
            {"To": "+15005550001"},
            "The 'To' number +15005550001 is not a valid phone number.",
            (21211, "Invalid 'To' Phone Number: +1500555XXXX"),
        ),
        (
            {"To": "+15005550003"},
            f"{PERMISSION}+15005550003.",
            (21408, f"{PERMISSION}+1500555XXXX"),
        ),
        (
            {"From": "+14105550101"},
            NOT_OWNED.format("+14105550101"),
            (
                21606,
                f"The 'From' phone number provided (+14105550101) is not a valid {CAPABLE}",
            ),
        ),
        (
            {"From": None},
            "A 'From' phone number is required.",
            (21603, "A 'From' or 'MessagingServiceSid' parameter is required to send a message"),
        ),
        (
            {"Body": None},
            "Message body is required.",
            (21619, "A text message body or media urls must be specified."),
        ),
    ],
)
def test_newer_texts_are_answered_where_they_are_asked_for(
    fields: dict[str, str | None], certain: str, newest: tuple[int, str]
) -> None:
    assert fail_of(answered(SENDER, **fields))["message"] == certain
    got = send(SENDER, better(SENDER, **fields), contract=NEWEST)
    failed = fail_of(got)
    assert (failed["code"], failed["message"]) == newest
    # A code that is not the page's is not documented.
    assert got.source.basis == ("recorded" if newest[0] in {21603, 21619} else "documented")


def test_the_source_reports_the_years_of_a_text() -> None:
    certain = dict(answered(SENDER, To="+15005550001").source.headers())["Ringback-Source"]
    assert "; text=recorded 2014-2020, 2023; " in certain
    newest = send(SENDER, better(SENDER, To="+15005550001"), contract=NEWEST).source
    assert "; text=recorded 2023-2026; " in dict(newest.headers())["Ringback-Source"]


@pytest.mark.parametrize("length, segments", [(122, "1"), (123, "2")])
def test_a_trial_account_s_notice_stands_before_the_body_and_counts(length: int, segments: str) -> None:
    """Recorded 2016 to 2018: 38 characters before the body."""
    answered_trial = send(SENDER, better(SENDER, Body="x" * length), contract=TRIAL)
    assert (
        answered_trial.source.basis,
        "trial account's notice" in (answered_trial.source.reason or ""),
    ) == (
        "recorded",
        True,
    )
    got = body_of(answered_trial)
    assert got["body"] == "Sent from your Twilio trial account - " + "x" * length
    assert got["num_segments"] == segments
    assert body_of(answered(SENDER, Body="x"))["body"] == "x"

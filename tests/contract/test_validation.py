"""Validation that Twilio does and reports show: URLs, channels, scheduling, ranges, formats."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringback.contract import load
from ringback.contract.values import judge_url
from support.clients import ask, better, body_of, fail_of, post, send

if TYPE_CHECKING:
    from ringback.contract import Answer

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


@pytest.mark.parametrize("resource, parameter", URLS)
def test_every_url_parameter_has_the_validator(resource: str, parameter: str) -> None:
    assert answered(resource, **{parameter: "https://a.example.com/x"}).status == 201
    for url in ("http://localhost/x", "http://web/x", "nowhere"):
        got = answered(resource, **{parameter: url})
        assert got.status == 400
        assert fail_of(got)["code"] in {21205, 21402, 21609, 21620}
    assert answered(resource, **{parameter: "http://127.0.0.1/x"}).source.basis == "assumed"


@pytest.mark.parametrize(
    "url, fault, reported, local",
    [
        ("http://localhost", "not public: localhost", True, True),
        ("http://LOCALHOST./x", "not public: localhost", True, True),
        ("http://intranet/x", "has no dot", True, True),
        ("http://a-.example.com", "hyphen: a-", True, False),
        ("http://-a.example.com", "hyphen: -a", True, False),
        ("ftp://a.example.com", "http:// or https://", True, False),
        ("a.example.com", "http:// or https://", True, False),
        ("http:///x", "no host", True, False),
        # Nobody reported on these: refused by assumption.
        ("http://127.0.0.1/x", "127.0.0.1 (assumed", False, True),
        ("http://10.1.2.3/x", "10.1.2.3 (assumed", False, True),
        ("http://192.168.0.1:8080", "192.168.0.1 (assumed", False, True),
        ("http://169.254.169.254/", "169.254.169.254 (assumed", False, True),
        ("http://[::1]/", "::1 (assumed", False, True),
        ("http://printer.local/", ".local (assumed", False, True),
        ("http://app.localhost/", ".localhost (assumed", False, True),
        ("http://a..example.com", "empty", False, False),
        (f"http://{'a' * 64}.example.com", "longer than 63", False, False),
        ("http://a.example.com:0/", "port 0", False, False),
        ("http://a.example.com/a b", "white space", False, False),
        ("http://[::1", "no URL", False, False),
        ("http://1.2.3/", "no host name", False, False),
        ("http://a$b.example.com", "other characters", False, False),
    ],
)
def test_a_refused_url_names_its_fault(url: str, fault: str, reported: bool, local: bool) -> None:
    judged = judge_url(url)
    assert fault in (judged.fault or "")
    assert (judged.reported, judged.local) == (reported, local)


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
    assert judged.fault is not None or judged.reported
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


@pytest.mark.parametrize("resource", load().resources, ids=lambda resource: resource.resource)
def test_a_documented_entry_with_an_error_cites_a_line_that_says_it(resource: object) -> None:
    contract = load()
    assert contract.page is not None
    facts = {fact.line: fact.says for fact in contract.page.facts}
    entries = [
        *resource.magic,  # type: ignore[attr-defined] - parametrised
        *resource.required,  # type: ignore[attr-defined] - as above
        *resource.addresses,  # type: ignore[attr-defined] - as above
        *resource.parameters.values(),  # type: ignore[attr-defined] - as above
    ]
    samples = {595: "33 fails with 21421", 1677: "21602", 842: "MessagingServiceSid"}
    for entry in entries:
        if entry.basis == "documented" and entry.error is not None and entry.line != 842:
            says = facts[entry.line] + samples.get(entry.line, "")
            assert str(entry.error) in says, entry


# -- texts and accounts

NEWEST = load(texts="newest")
TRIAL = load(account="trial")
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
    failed = fail_of(send(SENDER, better(SENDER, **fields), contract=NEWEST))
    assert (failed["code"], failed["message"]) == newest


def test_the_source_reports_the_years_of_a_text() -> None:
    certain = dict(answered(SENDER, To="+15005550001").source.headers())["Ringback-Source"]
    assert "; text=recorded 2014-2020; " in certain
    newest = send(SENDER, better(SENDER, To="+15005550001"), contract=NEWEST).source
    assert "; text=recorded 2023-2026; " in dict(newest.headers())["Ringback-Source"]


@pytest.mark.parametrize("length, segments", [(122, "1"), (123, "2")])
def test_a_trial_account_s_notice_stands_before_the_body_and_counts(length: int, segments: str) -> None:
    """Recorded 2016 to 2018: 38 characters before the body."""
    got = body_of(send(SENDER, better(SENDER, Body="x" * length), contract=TRIAL))
    assert got["body"] == "Sent from your Twilio trial account - " + "x" * length
    assert got["num_segments"] == segments
    assert body_of(answered(SENDER, Body="x"))["body"] == "x"

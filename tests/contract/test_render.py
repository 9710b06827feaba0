"""The bytes of an answer: headers, spacing, order, XML that every parser takes."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import pytest
from msgspec.structs import replace

from ringback.contract import AnswerStamp, Credentials, Names, answer, load
from ringback.contract.render import (
    EPOCH,
    FreshStamps,
    SeededStamps,
    count_segments,
    error_body,
    make_stamps,
    rfc2822,
)
from support.clients import GOOD, MAGIC, REAL, ask, better, body_of, path, post, send

CONTRACT = load()
NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
STAMP = AnswerStamp("a" * 32, "b" * 32, NOW, 0.1314)


def test_an_error_in_json_byte_by_byte() -> None:
    assert error_body(CONTRACT, 400, 21211, "No '\u00e9' \"x\" /", "json") == (
        b'{"code": 21211, "message": "No \'\\u00e9\' \\"x\\" /", '
        b'"more_info": "https://www.twilio.com/docs/errors/21211", "status": 400}'
    )


def test_an_error_in_xml_byte_by_byte() -> None:
    wanted = (
        "<?xml version='1.0' encoding='UTF-8'?>\n"
        "<TwilioResponse><RestException><Code>21211</Code><Message>a&lt;b&gt; &amp; \u00e9\ufffd</Message>"
        "<MoreInfo>https://www.twilio.com/docs/errors/21211</MoreInfo><Status>400</Status>"
        "</RestException></TwilioResponse>"
    )
    assert error_body(CONTRACT, 400, 21211, "a<b> & \u00e9\x01", "xml") == wanted.encode()


def test_every_recorded_header_in_order() -> None:
    got = answer(CONTRACT, post("Messages", GOOD["Messages"]), Names("api.twilio.com"), Credentials(), STAMP)
    assert got.headers == (
        ("Date", "Wed, 02 Jan 2030 03:04:05 GMT"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(got.body))),
        ("Twilio-Concurrent-Requests", "1"),
        ("Twilio-Request-Id", "RQ" + "b" * 32),
        ("Twilio-Request-Duration", "0.131"),
        ("X-Home-Region", "us1"),
        ("X-API-Domain", "api.twilio.com"),
        ("Strict-Transport-Security", "max-age=31536000"),
        ("Access-Control-Allow-Origin", "*"),
        (
            "Access-Control-Allow-Headers",
            (
                "Accept, Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, "
                "If-Unmodified-Since, Idempotency-Key"
            ),
        ),
        ("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS"),
        ("Access-Control-Expose-Headers", "ETag"),
        ("Access-Control-Allow-Credentials", "true"),
        ("X-Powered-By", "AT-5000"),
        ("X-Shenanigans", "none"),
    )


@pytest.mark.parametrize(
    "form, status, reason",
    [
        (GOOD["Messages"], 201, "CREATED"),
        ({**GOOD["Messages"], "From": "+15005550008"}, 429, "TOO MANY REQUESTS"),
        ({**GOOD["Messages"], "To": "33"}, 400, "BAD REQUEST"),
    ],
)
def test_status_and_reason_phrase(form: dict[str, str], status: int, reason: str) -> None:
    got = send("Messages", form)
    assert (got.status, got.reason) == (status, reason)


def test_a_sent_message_field_by_field() -> None:
    request = post("Messages", GOOD["Messages"])
    got = answer(CONTRACT, request, Names("api.twilio.com"), Credentials(), STAMP)
    account, sid = path().split("/")[3], "SM" + "a" * 32
    stem = f"/2010-04-01/Accounts/{account}/Messages/{sid}"
    wanted = {
        "sid": sid,
        "date_created": "Wed, 02 Jan 2030 03:04:05 +0000",
        "date_updated": "Wed, 02 Jan 2030 03:04:05 +0000",
        "date_sent": None,
        "account_sid": account,
        "to": REAL,
        "from": MAGIC,
        "messaging_service_sid": None,
        "body": "hello",
        "status": "queued",
        "num_segments": "1",
        "num_media": "0",
        "direction": "outbound-api",
        "api_version": "2010-04-01",
        "price": None,
        "price_unit": "USD",
        "error_code": None,
        "error_message": None,
        "uri": f"{stem}.json",
        "subresource_uris": {"media": f"{stem}/Media.json"},
    }
    assert got.body == json.dumps(wanted).encode()


def test_a_call_and_a_number_field_by_field() -> None:
    call = body_of(send("Calls", GOOD["Calls"]))
    assert re.fullmatch("CA[0-9a-f]{32}", call["sid"])
    assert call["subresource_uris"] == {
        name: f"{call['uri'].removesuffix('.json')}/{name.title()}.json"
        for name in ("notifications", "recordings")
    }
    assert (call["to_formatted"], call["from_formatted"]) == ("(410) 867-5309", "(500) 555-0006")
    number = body_of(send("IncomingPhoneNumbers", GOOD["IncomingPhoneNumbers"]))
    assert re.fullmatch("PN[0-9a-f]{32}", number["sid"])
    assert set(number["capabilities"].values()) == {False}
    assert [key for key in number if key.endswith("_url") and number[key] != ""] == []
    assert (number["friendly_name"], number["beta"]) == ("(500) 555-0006", False)


@pytest.mark.parametrize("resource", GOOD)
def test_both_formats_say_the_same(resource: str) -> None:
    told = body_of(ask(post(resource, GOOD[resource])))
    root = ET.fromstring(ask(post(resource, GOOD[resource], extension="")).body)[0]

    def spelled(name: str) -> str:
        words = "".join(word.title() for word in name.split("_"))
        return {"SubresourceUris": "SubresourceUris", "Sms": "SMS", "Mms": "MMS"}.get(words, words)

    def compare(values: dict[str, object], element: ET.Element) -> None:
        assert [child.tag for child in element] == [spelled(key) for key in values]
        for child, (key, value) in zip(element, values.items(), strict=True):
            if isinstance(value, dict):
                compare(value, child)
            elif key not in {"sid", "uri", "media", "notifications", "recordings"}:
                wanted = (
                    "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
                )
                assert (child.text or "") == wanted

    compare(told, root)


@pytest.mark.parametrize(
    "text, read",
    [
        ("a<b>&\"'", "a<b>&\"'"),
        ("]]>", "]]>"),
        ("\u00e9\u4e2d\U0001f600", "\u00e9\u4e2d\U0001f600"),
        ("\x01\x08\x0b\x0c\x1f", "\ufffd" * 5),
        ("\ufffe\uffff", "\ufffd\ufffd"),
        ("a\tb\nc", "a\tb\nc"),
        ("  spaced  ", "  spaced  "),
        ("\x7f\x85\u2028", "\x7f\x85\u2028"),
    ],
)
def test_every_text_survives_both_formats(text: str, read: str) -> None:
    form = better("Messages", Body=text)
    assert body_of(send("Messages", form))["body"] == text
    got = ask(post("Messages", form, extension=""))
    found = ET.fromstring(got.body).findtext("./Message/Body")
    assert found == read
    assert got.header("Content-Length") == str(len(got.body))


def test_a_carriage_return_survives_xml() -> None:
    got = ask(post("Messages", better("Messages", Body="a\r\nb\rc"), extension=""))
    assert ET.fromstring(got.body).findtext("./Message/Body") == "a\r\nb\rc"


def test_bytes_of_the_path_that_are_not_utf8_do_not_break_an_answer() -> None:
    for extension in (".json", ""):
        request = replace(post(), target=path(account="ACx\udcff", extension=extension))
        assert ask(request).status == 404


def test_dates_are_twilios() -> None:
    berlin = datetime(2030, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    assert rfc2822(berlin) == "Wed, 02 Jan 2030 03:04:05 +0000"
    for key in ("date_created", "date_updated"):
        assert parsedate_to_datetime(body_of(send("Messages", GOOD["Messages"]))[key]).tzinfo is not None


def test_a_uri_in_xml_has_no_extension() -> None:
    got = ask(post("Calls", GOOD["Calls"], extension=".xml"))
    assert b".json" not in got.body
    assert b".xml" not in got.body.replace(b"voice.xml", b"")


# -- segments


@pytest.mark.parametrize(
    "text, segments",
    [
        ("", 1),
        ("a", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 1600, 11),
        # Two septets for each of the extension table.
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 158 + "€", 1),
        ("a" * 159 + "€", 2),
        # 153 septets do not hold 77 pairs: a pair is not cut, 76 fit.
        ("€" * 152, 2),
        ("€" * 153, 3),
        ("a" * 152 + "€" + "a" * 150, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("@£$¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà\n\r" * 3, 1),
        # One character outside GSM-7 makes everything UCS-2: ç (small), not Ç.
        ("ç" * 70, 1),
        ("ç" * 71, 2),
        ("ç" + "a" * 69, 1),
        ("ç" + "a" * 70, 2),
        ("中" * 134, 2),
        ("中" * 135, 3),
        ("`", 1),
        ("`" + "a" * 70, 2),
        # Two UTF-16 units for an emoji, never cut: 33 fit into 67.
        ("\U0001f600" * 35, 1),
        ("\U0001f600" * 36, 2),
        ("\U0001f600" * 66, 2),
        ("\U0001f600" * 67, 3),
        ("\t", 1),
        ("\t" * 71, 2),
    ],
)
def test_segments(text: str, segments: int) -> None:
    assert count_segments(text) == segments


@pytest.mark.parametrize("text, told", [("a" * 161, "2"), ("ç" * 71, "2"), ("hi", "1")])
def test_the_answer_reports_them(text: str, told: str) -> None:
    assert body_of(send("Messages", better("Messages", Body=text)))["num_segments"] == told


def test_every_ascii_character_counts_as_the_alphabet_says() -> None:
    # Two septets, or none at all, where it is not in GSM-7's basic table (3GPP TS 23.038).
    wide = [chr(code) for code in range(128) if count_segments(chr(code) * 160) > 1]
    assert "".join(char for char in wide if char.isprintable()) == "[\\]^`{|}~"
    assert {chr(code) for code in range(32)} - set(wide) == {"\n", "\r"}


# -- stamps


ONE, OTHER = post("Messages", GOOD["Messages"]), post("Calls", GOOD["Calls"])


def test_fresh_ones_are_all_different_and_of_now() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    fresh = FreshStamps()
    found = [fresh.of(ONE) for _ in range(10)] + [FreshStamps().of(ONE) for _ in range(10)]
    assert len({it.sid for it in found} | {it.request for it in found}) == 40
    assert all(
        re.fullmatch("[0-9a-f]{32}", it.sid) and re.fullmatch("[0-9a-f]{32}", it.request) for it in found
    )
    assert all(before <= it.now <= datetime.now(UTC) for it in found)
    assert all(0 < it.duration < 1 for it in found)


def test_seeded_ones_repeat_from_run_to_run_whatever_the_order_of_different_requests() -> None:
    first, second = SeededStamps(7), SeededStamps(7)
    one = [first.of(ONE), first.of(ONE), first.of(OTHER)]
    two = [second.of(OTHER), second.of(ONE), second.of(ONE)]
    assert one == [two[1], two[2], two[0]]


def test_seeded_ones_differ_by_seed_request_and_occurrence() -> None:
    seeded = SeededStamps(7)
    found = [seeded.of(ONE), seeded.of(ONE), seeded.of(OTHER), SeededStamps(8).of(ONE)]
    assert len({it.sid for it in found}) == 4
    assert found[0].now != found[1].now
    assert found[0].now == EPOCH


def test_a_seed_is_for_ever() -> None:
    # Somebody's snapshot hangs on this value.
    assert SeededStamps(1).of(ONE).sid == "13f759b8a1e99b203860c05e050d46a7"


def test_who_gives_them() -> None:
    assert isinstance(make_stamps(None), FreshStamps)
    assert isinstance(make_stamps(0), SeededStamps)

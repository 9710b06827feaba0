"""What must not reach the disk does not, wherever it stands; what the caller sent comes back to it."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from itertools import product
from operator import itemgetter
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape

import brotli
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from ringback.cassettes import redaction, vcr_format
from ringback.cassettes.bodies import rewrite_body
from ringback.cassettes.files import CodingError
from ringback.cassettes.matching import plain_key
from ringback.cassettes.redaction import (
    ACCOUNT_PLACEHOLDER,
    KEPT_REQUEST_HEADERS,
    Redaction,
    framed,
    secrets_in_headers,
)
from ringback.exchange import Answer, Source
from support.exchanges import (
    FORM,
    JSON,
    OTHER_SID,
    SID,
    TOKEN,
    XML,
    Shelf,
    answer,
    basic,
    found,
    record,
    request,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.exchange import Request

KEY = b"k" * 32
NOTHING = Redaction()
PHONES = Redaction(("To", "From"), KEY)
PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "zstd": zstandard.compress}

# Secrets that can be known by their shape or from the request's own credentials.
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.c2lnbmF0dXJlLW9mLWl0"
ODD = 'pa&ss"w\\o/r<d> é+%'  # one that every escape changes
COOKIE = "c00k1e-jar-0123456789"


def spellings(secret: str) -> set[bytes]:
    """Every way in which `secret` could be readable in a file, or in what its YAML holds."""
    plain = {secret, quote(secret), quote(secret, safe=""), escape(secret), json.dumps(secret)[1:-1]}
    encoded = {base64.b64encode(secret.encode()).decode().rstrip("=")[:-1], secret.encode().hex()}
    return {one.encode() for one in plain | encoded}


def on_disk(shelf: Shelf) -> bytes:
    """All bytes of all files, and the strings that their YAML holds (a long one is folded in the file)."""
    data = b""
    for path in shelf.directory.rglob("*"):
        data += path.read_bytes()
        for one in vcr_format.read_foreign(path)[0]:
            asked, answered = one.request, one.answer
            parts = [asked.target, asked.host, *(f"{k}: {v}" for k, v in (*asked.headers, *answered.headers))]
            data += "\n".join(parts).encode() + asked.body + answered.body
    assert data
    return data


def assert_absent(shelf: Shelf, *secrets: str) -> None:
    data = on_disk(shelf)
    for secret in secrets:
        for spelled in spellings(secret):
            assert spelled not in data, spelled


def escaped(text: str) -> bytes:
    """Every character as a JSON escape."""
    return b"".join(b"\\u%04x" % ord(char) for char in text)


PLACES: dict[str, Callable[[str], tuple[Request, Answer]]] = {
    "authorization": lambda secret: (request(token=secret), answer()),
    "another header": lambda secret: (request(headers=(FORM, ("X-My-Header", secret))), answer()),
    "a kept header": lambda secret: (request(headers=(FORM, ("User-Agent", f"me/{secret}"))), answer()),
    "proxy authorization": lambda secret: (
        request(headers=(FORM, ("Proxy-Authorization", basic("name", secret)[1]))),
        answer(),
    ),
    "bearer": lambda secret: (request(headers=(FORM, ("Authorization", f"Bearer {secret}"))), answer()),
    "cookie": lambda secret: (request(headers=(FORM, ("Cookie", f"a=b; session={secret}"))), answer()),
    "path": lambda secret: (request(resource=f"Messages/{quote(secret, safe='')}.json"), answer()),
    "query": lambda secret: (request(query=urlencode({"q": secret})), answer()),
    "query by name": lambda secret: (request(query=urlencode({"AuthToken": secret})), answer()),
    "form": lambda secret: (request({"Body": f"it is {secret}"}), answer()),
    "form by name": lambda secret: (request({"SipAuthPassword": secret}), answer()),
    "form, name of a field": lambda secret: (request({f"x {secret}": "y"}), answer()),
    "URL user info": lambda secret: (
        request({"MediaUrl": f"https://me:{quote(secret, safe='')}@example.com/a"}),
        answer(),
    ),
    "JSON request": lambda secret: (request(json.dumps({"a": [secret]}).encode(), headers=(JSON,)), answer()),
    "JSON body": lambda secret: (request(), answer({"deep": [{"body": f"<{secret}>"}]})),
    "JSON body, escaped": lambda secret: (
        request(),
        answer(b'{"a": "%s"}' % escaped(secret)),
    ),
    "JSON body by name": lambda secret: (request(), answer({"auth_token": secret})),
    "JSON key": lambda secret: (request(), answer({secret: 1})),
    "XML body": lambda secret: (
        request(),
        answer(f"<R><A>{escape(secret)}</A></R>".encode(), headers=(XML,)),
    ),
    "XML body by name": lambda secret: (
        request(),
        answer(f"<R><AuthToken>{escape(secret)}</AuthToken></R>".encode(), headers=(XML,)),
    ),
    "error text": lambda secret: (
        request(),
        answer({"code": 20003, "message": f"Authenticate: {secret} is wrong"}, status=401),
    ),
    "error page": lambda secret: (request(), answer(f"bad token {secret} given".encode(), status=502)),
    "response cookie": lambda secret: (
        request(),
        answer(headers=(JSON, ("Set-Cookie", f"s={secret}; Path=/"))),
    ),
    "quoted credentials": lambda secret: (
        request(),
        answer({"message": f"you sent Basic {base64.b64encode(secret.encode()).decode()} and no more"}),
    ),
    "quoted bearer": lambda secret: (
        request(),
        answer({"message": f"you sent bearer {quote(secret, safe='')}"}),
    ),
    "response header": lambda secret: (request(), answer(headers=(JSON, ("X-Debug", f"token={secret}")))),
    "response token header": lambda secret: (request(), answer(headers=(JSON, ("X-Csrf-Token", secret)))),
    **{
        f"{name} body": lambda secret, name=name, pack=pack: (
            request(),
            answer(
                pack(json.dumps({"a": f"- {secret} -"}).encode()), headers=(JSON, ("Content-Encoding", name))
            ),
        )
        for name, pack in PACKERS.items()
    },
    "gzip request": lambda secret: (
        request(
            gzip.compress(urlencode({"Body": secret}).encode()), headers=(FORM, ("Content-Encoding", "gzip"))
        ),
        answer(),
    ),
    "binary body": lambda secret: (request(), answer(b"\xff\x00" + secret.encode("latin-1") + b"\x00\xfe")),
}


@pytest.mark.parametrize("secret", [TOKEN, JWT, ODD])
@pytest.mark.parametrize("place", PLACES)
def test_the_callers_own_token_never_reaches_the_disk(shelf: Shelf, place: str, secret: str) -> None:
    asked, answered = PLACES[place](secret)
    if not any(name == "Authorization" for name, _ in asked.headers[1:]):
        asked = replace(asked, headers=(basic(token=secret), *asked.headers[1:]))
    shelf.write((asked, answered))
    assert_absent(shelf, secret, TOKEN)


@pytest.mark.parametrize("place", PLACES)
def test_a_token_of_somebody_else_is_known_by_its_shape(shelf: Shelf, place: str) -> None:
    secret = "0f1e2d3c" * 4
    shelf.write(PLACES[place](secret))
    assert_absent(shelf, secret)


BY_PLACE = [place for place in PLACES if "by name" in place or "cookie" in place or "header" in place]


@pytest.mark.parametrize("place", [place for place in BY_PLACE if place != "a kept header"])
def test_a_secret_without_a_shape_is_known_by_its_name(shelf: Shelf, place: str) -> None:
    shelf.write(PLACES[place](COOKIE))
    assert_absent(shelf, COOKIE)


@pytest.mark.parametrize("place", PLACES)
def test_a_configured_secret_is_searched_for(shelf: Shelf, place: str) -> None:
    asked, answered = PLACES[place](COOKIE)
    shelf.write((asked, answered), secrets=[COOKIE])
    assert_absent(shelf, COOKIE)


@pytest.mark.parametrize("place", PLACES)
def test_account_sids_are_replaced_everywhere(shelf: Shelf, place: str) -> None:
    asked, answered = PLACES[place](OTHER_SID)
    shelf.write((asked, answered))
    assert_absent(shelf, OTHER_SID, SID)


def test_the_callers_sid_comes_back_in_json_xml_and_headers(shelf: Shelf) -> None:
    uri = f"/2010-04-01/Accounts/{SID}/Messages/SM1.json"
    as_json = answer({"account_sid": SID, "uri": uri}, headers=(JSON, ("Location", uri)))
    as_xml = answer(f"<R><AccountSid>{SID}</AccountSid></R>".encode(), headers=(XML,))
    shelf.write((request(), as_json), (request(resource="Messages"), as_xml))
    with shelf.library() as library:
        cassette = library.open()
        for sid in (OTHER_SID, SID):
            got = found(cassette, request(sid=sid))
            assert json.loads(got.body) == {"account_sid": sid, "uri": uri.replace(SID, sid)}
            assert got.header("Location") == uri.replace(SID, sid)
            assert got.header("Content-Length") == str(len(got.body))
        assert found(cassette, request(resource="Messages", sid=OTHER_SID)).body == as_xml.body.replace(
            SID.encode(), OTHER_SID.encode()
        )


def test_without_a_sid_of_its_own_a_caller_gets_the_placeholder(shelf: Shelf) -> None:
    shelf.write((request(), answer({"account_sid": SID})))
    with shelf.library() as library:
        got = found(library.open(), request(sid="me"))
        assert json.loads(got.body) == {"account_sid": ACCOUNT_PLACEHOLDER}


def test_what_was_taken_out_of_a_field_comes_back_to_who_sent_it(shelf: Shelf) -> None:
    token, link = "0123456789abcdef" * 2, "https://me:pass@example.com/x"
    form = {"Body": f"your code: {token}", "MediaUrl": link}
    shelf.write(
        (request(form), answer({"body": form["Body"], "media": link, "again": [f"<{form['Body']}>"]}))
    )
    assert_absent(shelf, token, "me:pass")
    with shelf.library() as library:
        got = json.loads(found(library.open(), request(form)).body)
    assert got == {"body": form["Body"], "media": link, "again": [f"<{form['Body']}>"]}


@pytest.mark.parametrize("name", sorted(PACKERS))
def test_bodies_are_kept_without_their_coding_and_with_their_length(shelf: Shelf, name: str) -> None:
    body = json.dumps({"body": "héllo"}).encode()
    shelf.write((request(), answer(PACKERS[name](body), headers=(JSON, ("Content-Encoding", name)))))
    with shelf.library() as library:
        got = found(library.open(), request())
    assert (got.body, got.header("Content-Encoding")) == (body, None)
    assert got.header("Content-Length") == str(len(body))


def test_a_body_that_cannot_be_opened_is_not_recorded(shelf: Shelf) -> None:
    with shelf.library("auto") as library:
        cassette = library.open()
        done = cassette.record(request(), answer(b"x", headers=(("Content-Encoding", "rot13"),)))
        with pytest.raises(CodingError, match="rot13"):
            done.result(timeout=30)
        assert (cassette.failed, cassette.recorded) == (1, 0)
        record(cassette, (request(), answer()))
    assert shelf.reported == ["the content coding 'rot13' is not known, so it cannot be searched"]


def test_few_request_headers_are_kept(shelf: Shelf) -> None:
    headers = (
        FORM,
        ("X-Anything", "at all"),
        ("User-Agent", "twilio-go"),
        ("Referer", "https://example.com"),
    )
    shelf.write((request(headers=headers), answer()))
    ((one,), _) = vcr_format.read_foreign(shelf.file())
    assert (
        {name.lower() for name, _ in one.request.headers}
        == {"content-type", "user-agent"}
        < KEPT_REQUEST_HEADERS
    )


def test_what_is_harmless_stays() -> None:
    body = {
        "sid": "SM" + "0a" * 16,
        "page_token": "next",
        "to": "+14105550100",
        "message": "secret handshake",
    }
    headers = (
        JSON,
        ("Twilio-Request-Id", "RQ" + "1b" * 16),
        ("WWW-Authenticate", 'Basic realm="Twilio API"'),
    )
    interaction = NOTHING.redact(request({"Body": "pass the token ring", "MaxPrice": "1"}))
    kept = interaction.answer(answer(body, headers=headers))
    assert json.loads(kept.body) == body
    assert set(headers) <= set(kept.headers)
    assert interaction.request.body == b"Body=pass+the+token+ring&MaxPrice=1"


def test_the_clients_spelling_of_a_form_is_kept() -> None:
    body = b"Body=%7e%2a*~+%c3%a9&Empty=&=&To=%2b1"
    assert NOTHING.redact(request(body)).request.body == body


FIELDS = st.lists(
    st.tuples(
        st.sampled_from(["To", "From", "Body", "X"]), st.text(st.characters(exclude_categories=("Cs",)))
    ),
    max_size=5,
)


@given(FIELDS, FIELDS)
def test_redaction_reports_apart_what_was_different(
    one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    redaction = Redaction(("To", "From", "Body"), KEY)
    keys = [redaction.redact(request(fields)).key for fields in (one, other)]
    # Sorting by name keeps the order of equal names, which alone counts.
    assert (keys[0] == keys[1]) == (sorted(one, key=itemgetter(0)) == sorted(other, key=itemgetter(0)))


@given(FIELDS)
def test_redaction_is_done_once(fields: list[tuple[str, str]]) -> None:
    once = NOTHING.redact(request(fields))
    again = NOTHING.redact(once.request)
    assert again.request == once.request
    assert again.key == once.key


@pytest.mark.parametrize("redaction", [NOTHING, PHONES], ids=["nothing", "phones"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Body=%7e+%c3%a9&Empty=&=&To=%2b14105550100&Body=again",
        b"To=%ff%00%zz&AuthToken=abcdefgh",
        urlencode({"Body": f"{JWT} {SID} {TOKEN}"}).encode(),
        gzip.compress(b"To=%2B14105550100"),
    ],
    ids=["none", "odd", "broken", "secrets", "packed"],
)
@pytest.mark.parametrize("media", ["application/x-www-form-urlencoded; charset=UTF-8", "text/plain"])
def test_the_key_is_that_of_the_redacted_request(redaction: Redaction, body: bytes, media: str) -> None:
    coding = (("Content-Encoding", "gzip"),) if body.startswith(b"\x1f\x8b") else ()
    asked = replace(request(body), headers=(("Content-Type", media), *coding))
    asked = replace(asked, target=f"{asked.target}?To=%2B14105550100&Token={TOKEN}")
    interaction = redaction.redact(asked)
    assert interaction.key == plain_key(interaction.request)


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1))
@example("body")
def test_a_redacted_echo_comes_back_as_it_was_sent(text: str) -> None:
    interaction = Redaction(("Body",), KEY).redact(request({"Body": text}))
    echoed = interaction.answer(answer({"body": text, "other": 1}))
    written, _ = json.loads(echoed.body).values()  # a text may be the key's name, and the key is one too then
    assert written != text or text.startswith("+1500555")
    assert json.loads(interaction.restore(echoed).body) == {"body": text, "other": 1}


def test_every_spelling_of_a_number_is_replaced_and_comes_back() -> None:
    said = {
        "to": "+14105550100",
        "to_formatted": "(410) 555-0100",
        "message": "The 'To' number 410-555-0100 is not a valid phone number.",
        "num_segments": "1",
    }
    interaction = PHONES.redact(request({"To": "410-555-0100", "From": "+15005550006"}))
    kept = interaction.answer(answer(said))
    for part in (b"5550100", b"555-0100"):
        assert part not in kept.body
        assert part not in interaction.request.body
    assert b"%2B15005550006" in interaction.request.body  # magic: nobody's
    shown = json.loads(kept.body)
    assert shown["to"].startswith("+1")
    assert shown["to_formatted"][0] == "("
    assert json.loads(interaction.restore(kept).body) == said


def test_a_value_that_begins_another_is_not_put_into_it() -> None:
    form = {"To": "+14105550100", "Body": "+14105550100 is yours"}
    said = {"message": "sent: +14105550100 is yours, to +14105550100"}
    interaction = Redaction(("To", "Body"), KEY).redact(request(form))
    kept = interaction.answer(answer(said))
    assert b"is yours" not in kept.body
    assert b"5550100" not in kept.body
    assert json.loads(interaction.restore(kept).body) == said


def test_a_short_value_is_not_replaced_where_it_stands_by_chance() -> None:
    interaction = Redaction(("Body",), KEY).redact(request({"Body": "m"}))
    kept = json.loads(
        interaction.answer(answer({"body": "m", "n": "m of m", "message": "m is bad", "s": "SM m"})).body
    )
    assert kept["body"].startswith("redacted-")
    assert kept["message"].startswith("redacted-")
    assert (kept["n"], kept["s"]) == ("m of m", "SM m")


@pytest.mark.parametrize("resource", ["Messages.json", "Messages"])
def test_a_redacted_cassette_matches_and_holds_nothing(shelf: Shelf, resource: str) -> None:
    form = {"To": "+14105550100", "Body": "Grüße, Ann & Bob <3", "X": "y"}
    other = {**form, "To": "+14105550101"}
    xml = f"<R><To>+14105550100</To><Body>{escape(form['Body'])}</Body></R>".encode()
    said = (
        answer(xml, headers=(XML,))
        if resource == "Messages"
        else answer({"body": form["Body"], "to": form["To"]})
    )
    shelf.write((request(form, resource=resource), said), redact=["To", "Body"])
    assert_absent(shelf, "4105550100", form["Body"])
    with shelf.library() as library:  # the cassette itself says what was redacted
        cassette = library.open()
        assert found(cassette, request(form, resource=resource)).body == said.body
        assert not hasattr(cassette.lookup(request(other, resource=resource)), "body")


def test_field_names_are_compared_without_case(shelf: Shelf) -> None:
    shelf.write((request({"Body": "private words"}), answer()), redact=["body"])
    assert_absent(shelf, "private words", "private+words")


@pytest.mark.parametrize("password", ["x", "1234567"])
def test_a_very_short_password_is_not_searched_for(password: str) -> None:
    assert password not in secrets_in_headers(request(token=password).headers)[0]
    assert "12345678" in secrets_in_headers(request(token="12345678").headers)[0]


def test_an_answer_is_framed_by_its_length_alone(shelf: Shelf) -> None:
    odd = (
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
        ("content-length", "1"),
        ("CONTENT-LENGTH", "2"),
    )
    shelf.write((request(), answer(b"hello", headers=odd)))
    with shelf.library() as library:
        got = found(library.open(), request())
    assert [pair for pair in got.headers if not pair[0].startswith("Ringback")] == [("Content-Length", "5")]


def test_an_answer_without_a_body_has_no_length_where_none_may_be(shelf: Shelf) -> None:
    shelf.write((request(), answer(b"", status=204, headers=())), (request({}), answer(b"", headers=())))
    with shelf.library() as library:
        cassette = library.open()
        assert found(cassette, request()).header("Content-Length") is None
        assert found(cassette, request({})).header("Content-Length") == "0"


def test_what_people_edit_cannot_break_the_framing(shelf: Shelf) -> None:
    file = shelf.write((request(), answer(b"hello", headers=(("X-A", "b"),))))
    values = '      X-A:\n      - "b\\r\\nX-B: c"\n      - "\u65e5"\n      - fine\n'
    edited = values + '      "X Y":\n      - z\n      Transfer-Encoding:\n      - chunked\n'
    file.write_text(file.read_text().replace("      X-A:\n      - b\n", edited))
    with shelf.library() as library:
        got = found(library.open(), request())
    assert sorted(got.headers) == [("Content-Length", "5"), ("X-A", "fine")]


@pytest.mark.parametrize(
    "reason, kept", [("OK\r\nX-Injected: 1", "OK??X-Injected: 1"), ("\u2713", "?"), ("CREATED", "CREATED")]
)
def test_a_reason_is_one_line_that_http_can_have(reason: str, kept: str) -> None:
    assert framed(Answer(200, reason, (), b"", Source("cassette"))).reason == kept


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_has_none(status: int) -> None:
    got = framed(Answer(status, "", (("Content-Length", "3"),), b"abc", Source("cassette")))
    assert (got.headers, got.body) == ((), b"")


@pytest.mark.parametrize("digits", ["1" * 32, "0" * 32, "0a1b2c3d" * 4])
def test_a_token_of_the_digits_of_its_account_leaves_a_placeholder(digits: str) -> None:
    asked = request({"Body": f"AC{digits} and {digits}"}, sid=f"AC{digits}", token=digits)
    clean = Redaction(secrets=frozenset((digits,))).redact(asked)
    assert clean.request.path == f"/2010-04-01/Accounts/{ACCOUNT_PLACEHOLDER}/Messages.json"
    assert clean.request.body == b"Body=" + ACCOUNT_PLACEHOLDER.encode() + b"+and+REDACTED"
    other = "8d7c6b5a" * 4
    assert clean.text(f"AC{other}{digits}").startswith(ACCOUNT_PLACEHOLDER)
    assert digits not in clean.text(f"x{digits} {digits}x")


# Names and values of members: harmless, secret, and secret only beside others.
NAMES = (
    *(
        "sid",
        "body",
        "page_token",
        "to-ken",
        "authToken",
        "PASSWORD",
        "passwd",
        "api_key",
        "accessKey",
        "pwd",
    ),
    *(
        "private_key",
        "cookie",
        "Session-Id",
        "Authorization",
        "credentials",
        "client_secret",
        f"x {TOKEN}",
        SID,
    ),
)
VALUES = (
    *(
        "",
        "Hello",
        "SM" + "1a" * 16,
        "ab" * 16,
        "AB" * 16,
        "1" * 33,
        SID,
        f"AC{'0' * 32}",
        f"{SID}{'ab' * 16}",
    ),
    *("Basic QUMxMjM0NTY3OA==", "BEARER abcdefgh1", "https://user:pw@example.com", "https://example.com/a"),
    *(
        JWT,
        "-----BEGIN" + " PRIVATE KEY-----",
        TOKEN,
        f"a{TOKEN}b",
        "token=abcdef",
        "\\u0074oken=abcdef",
        "REDACTED",
    ),
    *("https:\\/\\/user:pw@example.com", "pa\u017f\u017fword: abcdef", "\xe9", "token", "key", "@", "://"),
)


def test_the_quick_look_at_an_answer_finds_what_the_search_of_each_string_finds() -> None:
    clean = NOTHING.redact(request())
    quick = 0
    for name, value in product(NAMES, VALUES):
        for body in (
            f'{{"{name}": "{value}", "to": null}}',
            f'{{"a": {{"{value}": ["{name}"]}}}}',
            f'{{{value}: {name}, "b": "{value} {value}"',
        ):
            data = body.encode()
            assert clean.answer(answer(data)).body == rewrite_body(data, clean.text)
            quick += redaction._has_account_sids_at_most(data)
    assert quick > 100


def test_the_quick_look_is_enough_for_an_answer_as_twilio_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "rewrite_body", None)
    body = {"sid": "SM" + "1a" * 16, "account_sid": SID, "uri": f"/2010-04-01/Accounts/{SID}/Messages.json"}
    got = NOTHING.redact(request()).answer(answer(body))
    assert json.loads(got.body) == json.loads(json.dumps(body).replace(SID, ACCOUNT_PLACEHOLDER))

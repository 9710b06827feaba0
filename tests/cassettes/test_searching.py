"""What `cassettes verify` finds in a recording, and `cassettes show` masks."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from ringback.cassettes.matching import ACCOUNT_PLACEHOLDER
from ringback.cassettes.vcr_format import Interaction
from ringback.cassettes.verify import redacted_view, secrets_in
from support.exchanges import FORM, JSON, SID, TOKEN, answer, request

if TYPE_CHECKING:
    from ringback.exchange import Answer, Request

CLEAN = replace(request({"Body": "hi"}, sid=ACCOUNT_PLACEHOLDER), headers=(FORM,))
GOOD = answer({"sid": "SM" + "1" * 32, "account_sid": ACCOUNT_PLACEHOLDER})


def found(asked: Request = CLEAN, got: Answer = GOOD, known: tuple[str, ...] = ()) -> dict[str, str]:
    return secrets_in(Interaction(asked, got), known)


def test_nothing_is_found_in_a_clean_recording() -> None:
    assert found() == {}
    redacted = answer({"auth_token": "REDACTED", "message": "Basic REDACTED"})
    assert found(got=redacted) == {}


@pytest.mark.parametrize(
    "asked, where, value",
    [
        (replace(CLEAN, target=f"/x/{SID}"), "account SID in the request's path", SID),
        (replace(CLEAN, target=f"/x/{quote(SID)}?a={TOKEN}"), "auth token in the request's query", TOKEN),
        (replace(CLEAN, body=f"Body={TOKEN}".encode()), "auth token in the request's form", TOKEN),
        (
            replace(CLEAN, body=b"Password=hunter22"),
            "a secret by its name in the request's form (Password)",
            "hunter22",
        ),
        (
            replace(CLEAN, headers=(JSON,), body=json.dumps({"k": TOKEN}).encode()),
            "auth token in the request's body",
            TOKEN,
        ),
        (replace(CLEAN, headers=(FORM, ("Cookie", "a=b"))), "the request's header Cookie", "a=b"),
        (
            replace(CLEAN, headers=(FORM, ("Proxy-Authorization", "Odd 1=2"))),
            "the request's header Proxy-Authorization",
            "Odd 1=2",
        ),
        (
            replace(CLEAN, headers=(FORM, ("X-Note", TOKEN))),
            "auth token in the request's header X-Note",
            TOKEN,
        ),
    ],
)
def test_where_a_secret_can_stand_in_a_request(asked: Request, where: str, value: str) -> None:
    assert found(asked)[where] == value
    assert value not in str(redacted_view(Interaction(asked, GOOD)).request)


@pytest.mark.parametrize(
    "got, where",
    [
        (answer({"account_sid": SID}), "account SID in the answer's body"),
        (
            answer(b"<a><AuthToken>hunter22</AuthToken></a>"),
            "a secret by its name in the answer's body (AuthToken)",
        ),
        (answer(b"plain " + TOKEN.encode()), "auth token in the answer's body"),
        (answer(headers=(JSON, ("Set-Cookie", "x"))), "the answer's header Set-Cookie"),
        (
            answer(gzip.compress(TOKEN.encode()), headers=(("Content-Encoding", "gzip"),)),
            "auth token in the answer's body",
        ),
        # stubs of others keep the field of a coding that is gone
        (answer(TOKEN.encode(), headers=(("Content-Encoding", "gzip"),)), "auth token in the answer's body"),
    ],
)
def test_where_a_secret_can_stand_in_an_answer(got: Answer, where: str) -> None:
    value = found(got=got)[where]
    shown = redacted_view(Interaction(CLEAN, got)).answer
    assert where not in found(got=shown) or "Set-Cookie" in where
    assert value.encode() not in shown.body
    assert value not in dict(shown.headers).values()


def test_a_secret_that_the_user_knows_of_is_found_whatever_it_looks_like() -> None:
    asked = replace(CLEAN, body=b"Body=the+blue+horse")
    assert found(asked, known=("blue horse",)) == {"a configured secret in the request's form": "blue horse"}
    assert b"horse" not in redacted_view(Interaction(asked, GOOD), ["blue horse"]).request.body
    assert found(asked, known=("horse",)) == {}  # too short: it stands anywhere by chance


def test_what_is_said_of_a_hostile_name_can_be_shown() -> None:
    (said,) = found(replace(CLEAN, body=b"%1B%5B31m" + b"x" * 60 + b"Password=hunter22"))
    assert said.isprintable()
    assert len(said) < 120

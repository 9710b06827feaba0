"""A user's own contract file: what it can do, and what is said about its mistakes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ringback.contract import ContractError, load
from ringback.contract.listing import rows
from support.clients import MAGIC, REAL, ask, better, body_of, fail_of, post, send

if TYPE_CHECKING:
    from pathlib import Path


def written(directory: Path, text: str | bytes, name: str = "own.yaml") -> Path:
    file = directory / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}\n", "magic: []\nerrors: []\n"])
def test_an_empty_file_changes_nothing(tmp_path: Path, text: str) -> None:
    assert load([written(tmp_path, text)]) == load()


def test_a_row_is_added_with_a_text_of_its_own(tmp_path: Path) -> None:
    own = load(
        [
            written(
                tmp_path,
                """
magic:
  - {resource: Messages, parameter: To, value: "+14105550100", error: 30007, reason: our carrier filters it}
errors:
  - {code: 30007, message: "Filtered: {To}", status: 409}
""",
            )
        ]
    )
    got = send("Messages", better("Messages", To="(410) 555-0100"), contract=own)
    failed = fail_of(got)
    assert (failed["code"], failed["message"], failed["status"]) == (30007, "Filtered: (410) 555-0100", 409)
    assert got.reason == "CONFLICT"
    assert got.source.rule == "Messages.user.to-14105550100"
    assert (got.source.basis, got.source.reason) == ("user", "our carrier filters it")
    assert send("Messages", better("Messages", To=REAL), contract=own).status == 201
    assert len(rows(own)) == len(rows(load())) + 1


@pytest.mark.parametrize("value", ["+15005550006", "15005550006", "500-555-0006"])
def test_a_row_takes_a_documented_rows_place_however_the_number_is_written(
    tmp_path: Path, value: str
) -> None:
    text = f'magic: [{{resource: Messages, parameter: From, value: "{value}", error: 21606, id: broken}}]'
    own = load([written(tmp_path, text)])
    got = send("Messages", better("Messages", From=MAGIC), contract=own)
    assert fail_of(got)["code"] == 21606
    assert got.source.rule == "Messages.broken"
    assert len(rows(own)) == len(rows(load()))
    assert send("Messages", better("Messages", From=MAGIC)).status == 201, "the documented one is untouched"


def test_a_row_for_every_other_value(tmp_path: Path) -> None:
    own = load(
        [written(tmp_path, "magic: [{resource: Messages, parameter: From, value: other, error: null}]")]
    )
    got = send("Messages", better("Messages", From=REAL), contract=own)
    assert got.status == 201
    assert body_of(got)["from"] == REAL
    assert fail_of(send("Messages", better("Messages", From="+15005550001"), contract=own))["code"] == 21212


def test_a_row_for_a_parameter_without_documented_rows(tmp_path: Path) -> None:
    own = load(
        [written(tmp_path, 'magic: [{resource: Messages, parameter: Body, value: "STOP", error: 21610}]')]
    )
    assert fail_of(send("Messages", better("Messages", Body="STOP"), contract=own))["code"] == 21610
    assert send("Messages", better("Messages", Body="stop it"), contract=own).status == 201


SENDERS = """
magic:
  - {resource: Messages, parameter: From, value: "+14105550100", error: null, reason: our number}
  - {resource: Messages, parameter: MessagingServiceSid, value: MG0a, error: null}
  - {resource: Calls, parameter: From, value: "+14105550100", error: null}
"""


@pytest.mark.parametrize("resource", ["Messages", "Calls"])
def test_a_users_own_sender_passes(tmp_path: Path, resource: str) -> None:
    own = load([written(tmp_path, SENDERS)])
    got = send(resource, better(resource, From="(410) 555-0100"), contract=own)
    assert (got.status, body_of(got)["from"], body_of(got)["status"]) == (201, "(410) 555-0100", "queued")
    assert (got.source.rule, got.source.basis) == (f"{resource}.user.from-14105550100", "user")
    assert got.source.reason == ("our number" if resource == "Messages" else None)
    other = send(resource, better(resource, From="+14105550101"), contract=own)
    assert (other.status, other.source.basis) == (400, "documented")
    failed = send(resource, better(resource, From="+14105550100", To="+15005550001"), contract=own)
    assert (failed.status, failed.source.basis) == (400, "documented")


def test_a_users_own_messaging_service_is_the_sender(tmp_path: Path) -> None:
    own = load([written(tmp_path, SENDERS)])
    form = better("Messages", From=None, MessagingServiceSid="MG0a")
    got = send("Messages", form, contract=own)
    body = body_of(got)
    assert (got.status, got.source.basis) == (201, "user")
    assert (body["from"], body["messaging_service_sid"], body["status"]) == (None, "MG0a", "accepted")
    xml = ask(post("Messages", form, extension=""), contract=own).body
    assert b"<From/><MessagingServiceSid>MG0a</MessagingServiceSid>" in xml
    assert b"<Status>accepted</Status>" in xml
    # Its letters are no digits of a keypad, and others are refused as documented.
    other = send("Messages", {**form, "MessagingServiceSid": "MG0b"}, contract=own)
    assert (fail_of(other)["code"], other.source.basis) == (21701, "assumed")
    # A From beside it is looked at as ever.
    both = send("Messages", {**form, "From": REAL}, contract=own)
    assert fail_of(both)["code"] == 21606
    assert body_of(send("Messages", {**form, "From": MAGIC}, contract=own))["from"] == MAGIC
    assert fail_of(send("Messages", better("Messages", From=None), contract=own))["code"] == 21603


@pytest.mark.parametrize("error, code", [("null", None), ("21610", 21610)])
def test_a_row_for_every_messaging_service(tmp_path: Path, error: str, code: int | None) -> None:
    row = f"{{resource: Messages, parameter: MessagingServiceSid, value: other, error: {error}}}"
    own = load([written(tmp_path, f"magic: [{row}]")])
    got = send("Messages", better("Messages", From=None, MessagingServiceSid="MG1"), contract=own)
    assert got.source.basis == "user"
    assert (None if got.status == 201 else fail_of(got)["code"]) == code


def test_texts_are_compared_as_they_are(tmp_path: Path) -> None:
    own = load([written(tmp_path, "magic: [{resource: Messages, parameter: Body, value: a, error: 21610}]")])
    assert fail_of(send("Messages", better("Messages", Body="a"), contract=own))["code"] == 21610
    assert send("Messages", better("Messages", Body="b"), contract=own).status == 201


def test_a_text_takes_the_documented_ones_place(tmp_path: Path) -> None:
    text = 'errors: [{code: 21610, message: "Attempt to send to unsubscribed recipient", status: 403}]'
    own = load([written(tmp_path, text)])
    got = send("Messages", better("Messages", To="+15005550004"), contract=own)
    failed = fail_of(got)
    assert (failed["message"], failed["status"]) == ("Attempt to send to unsubscribed recipient", 403)
    assert (got.source.basis, got.source.text) == ("documented", "user")


def test_a_status_without_a_name_still_has_an_answer(tmp_path: Path) -> None:
    own = load([written(tmp_path, 'errors: [{code: 21610, message: "x", status: 499}]')])
    got = send("Messages", better("Messages", To="+15005550004"), contract=own)
    assert (got.status, got.reason) == (499, "ERROR")


def test_the_later_of_several_files_wins(tmp_path: Path) -> None:
    text = 'magic: [{{resource: Messages, parameter: Body, value: "x", error: {}}}]'
    files = [written(tmp_path, text.format(code), f"{code}.yaml") for code in (21610, 21617)]
    for order, wanted in ((files, 21617), (files[::-1], 21610)):
        assert fail_of(send("Messages", better("Messages", Body="x"), contract=load(order)))["code"] == wanted


@pytest.mark.parametrize("value", ["{", "}", "{}", "{0}", "{To", "%s", "\U0001f600 \u2028 \x85"])
def test_no_text_of_a_user_breaks_an_answer(tmp_path: Path, value: str) -> None:
    own = load(
        [written(tmp_path, f"errors: [{{code: 21610, message: {json.dumps(value, ensure_ascii=False)}}}]")]
    )
    for extension in (".json", ""):
        form = better("Messages", To="+15005550004")
        assert fail_of(ask(post("Messages", form, extension=extension), contract=own))["code"] == 21610


ROW = '{resource: Messages, parameter: To, value: "+14105550100", error: 21211'

MISTAKES = {
    "neither error nor null": (
        f"magic:\n- {ROW.rpartition(',')[0]}}}\n",
        2,
        "$.magic[0]: Object missing required field `error`; error: null lets the value pass",
    ),
    "passes and fails": (
        f"magic:\n- {ROW}}}\n- {ROW[:-5]}null}}\n",
        3,
        "$.magic[1]: Messages To +14105550100 has a row on line 2 already",
    ),
    "tab": ("magic:\n\t- a", 2, "is not YAML"),
    "unclosed": ("magic: [\n\n", 3, "is not YAML"),
    "control character": ("magic: []\n\x01", 2, "is not YAML: control characters are not allowed"),
    "list": ("- a\n- b\n", 1, "Expected `object`, got `array`"),
    "text": ("hello", 1, "Expected `object`, got `str`"),
    "unknown section": ("magic: []\nmagics: []\n", 2, "$: Object contains unknown field `magics`"),
    "unknown key": (
        f"magic:\n- {ROW},\n   note: x}}\n",
        3,
        "$.magic[0]: Object contains unknown field `note`",
    ),
    "missing key": (
        f"magic:\n- {ROW}}}\n- resource: Calls\n",
        3,
        "$.magic[1]: Object missing required field",
    ),
    "unknown resource": (
        "magic:\n- resource: Faxes\n",
        2,
        "$.magic[0].resource: Invalid enum value 'Faxes'; there are Messages, Calls, IncomingPhoneNumbers",
    ),
    "number for text": (
        "magic:\n- resource: Messages\n  parameter: To\n  value: 533\n  error: 21211\n",
        4,
        "$.magic[0].value: Expected `str`, got `int`; put it in quotes",
    ),
    "no code": (f"magic:\n- {ROW[:-5]}many}}\n", 2, "$.magic[0].error: Expected `int | null`, got `str`"),
    "small code": (f"magic:\n- {ROW[:-5]}42}}\n", 2, "$.magic[0].error: Expected `int` >= 10000"),
    "unknown basis": (
        f"magic:\n- {ROW}, basis: guess}}\n",
        2,
        "$.magic[0].basis: Invalid enum value 'guess'",
    ),
    "bad id": (f"magic:\n- {ROW}, id: A b}}\n", 2, "$.magic[0].id: Expected `str` matching regex"),
    "bad line": (f"magic:\n- {ROW}, line: 0}}\n", 2, "$.magic[0].line: Expected `int` >= 1"),
    "empty row": ("magic:\n-\n", 2, "$.magic[0]: Expected `object`, got `null`"),
    "unknown parameter": (
        f"magic:\n\n- {ROW.replace('To', 'Too')}}}\n",
        3,
        "$.magic[0]: Messages has no parameter 'Too'; it has To, From, Body",
    ),
    "parameter in lower case": (
        f"magic:\n- {ROW.replace('To', 'to')}}}\n",
        2,
        "$.magic[0]: Messages has no parameter 'to'; did you mean To?",
    ),
    "years that run backwards": (
        "errors:\n- {code: 30003, message: x, evidence: quote 2020-2014}\n",
        2,
        "$.errors[0]: the years 2020-2014 run backwards",
    ),
    "code without a text": (
        f"magic:\n- {ROW}}}\n- {ROW.replace('0100', '0101')[:-5]}39999}}\n",
        3,
        "$.magic[1]: error 39999 has no text; add {code: 39999, message: ...} under errors",
    ),
    "text of another resource": (
        f"magic:\n- {ROW[:-5]}39999}}\nerrors:\n- {{code: 39999, message: x, resource: Calls}}\n",
        2,
        "$.magic[0]: error 39999 has no text",
    ),
    "one input twice": (
        f"magic:\n- {ROW}}}\n- {ROW.replace('+1410555', '410-555-')}}}\n",
        3,
        "$.magic[1]: Messages To 410-555-0100 has a row on line 2 already",
    ),
    "key twice": ("magic: []\nerrors: []\nmagic: []\n", 3, "magic is there twice"),
    "key of a row twice": (f"magic:\n- {ROW},\n   error: 21610}}\n", 3, "error is there twice"),
    "success as an error": (
        "errors:\n- {code: 21211, message: x, status: 201}\n",
        2,
        "Expected `int` >= 400",
    ),
    "server's error": ("errors:\n- {code: 21211, message: x, status: 600}\n", 2, "Expected `int` <= 599"),
    "message missing": (
        "errors:\n- code: 21211\n",
        2,
        "$.errors[0]: Object missing required field `message`",
    ),
    "number for a key": ("1: 2\n", 1, "$: Expected `str`"),
    "alias": ("magic: *there\n", 1, "found undefined alias"),
    "tag": ("magic: !!python/object/apply:os.getcwd []\n", 1, "could not determine a constructor"),
    "two documents": ("magic: []\n---\nmagic: []\n", 2, "is not YAML"),
    "key that is a list": ("? [a]\n: b\n", 1, "is not YAML: found unhashable key"),
    "deep": ("magic: " + "[" * 3000 + "]" * 3000, 1, ""),
    "not UTF-8": (b"magic:\n\n- \xff", 3, "is not UTF-8 text"),
    "merge of an unknown key": ("magic:\n- &a {x: 1}\n", 2, "$.magic[0]: Object"),
}


@pytest.mark.parametrize("text, line, said", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_reported_on_one_line_with_file_line_and_entry(
    tmp_path: Path, text: str | bytes, line: int, said: str
) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ContractError) as caught:
        load([file])
    message = str(caught.value)
    assert message.startswith(f"{file}:{line}: ")
    assert said in message
    assert "\n" not in message
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "kind, said", [("missing", "No such file or directory"), ("directory", "Is a directory")]
)
def test_a_file_that_cannot_be_read(tmp_path: Path, kind: str, said: str) -> None:
    file = tmp_path if kind == "directory" else tmp_path / "nowhere.yaml"
    with pytest.raises(ContractError) as caught:
        load([file])
    assert str(caught.value) == f"{file}: cannot be read ({said}); check the path given to --contract"

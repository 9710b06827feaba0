"""`ringback contract` and `explain`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from ringback.cli import ringback
from ringback.contract import load
from ringback.contract.listing import Outcome, markdown, outcomes, own_refusals, rows
from support.clients import better, send

if TYPE_CHECKING:
    from pathlib import Path


def call(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(ringback, ["contract", *arguments], env=environment)


def explain(*arguments: str) -> dict[str, object]:
    got = call("explain", *arguments, "--json")
    assert got.exit_code == 0, got.output
    found = json.loads(got.stdout)
    assert isinstance(found, dict)
    return found


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "own.yaml"
    file.write_text(
        'magic: [{resource: Messages, parameter: To, value: "+14105550100", error: 30007}]\n'
        'errors: [{code: 30007, message: "Filtered: {To}"}]\n'
    )
    return file


def test_the_table_piped_is_tab_separated() -> None:
    got = call()
    head, *lines = got.stdout.splitlines()
    assert got.exit_code == 0
    assert head.split("\t") == ["resource", "parameter", "value", "answer", "page", "basis"]
    assert len(lines) == 26
    assert all(line.count("\t") == 5 for line in lines)
    cells = ("Messages", "From", "+15005550008", "21611 (HTTP 429) SMS queue is full.")
    assert "\t".join((*cells, "test-sms-messages-parameters-From", "documented")) in lines
    assert "\x1b" not in got.stdout


def test_other_forms() -> None:
    assert call("--markdown").stdout == markdown(load())
    found = json.loads(call("--json").stdout)
    assert len(found["magic"]) == 26
    errata = call("--errata").stdout.splitlines()
    assert len(errata) == len(load().errata) + 1
    assert any(line.startswith("sms-uri\t1137\t") for line in errata)


def test_explaining_a_magic_input() -> None:
    got = call("explain", "POST", "Messages", "From=+15005550006", "To=+15005550009", "Body=hi")
    assert got.exit_code == 0
    told = dict(line.strip().split("  ", 1) for line in got.stdout.splitlines()[:8] if "  " in line.strip())
    assert told["answer"] == "400 BAD REQUEST"
    assert told["from"] == "contract, rule Messages.to.no-sms"
    assert told["page"] == "Test Sending an SMS, To: To +15005550009: cannot receive SMS, 21614"
    assert "https://www.twilio.com/docs/iam/test-credentials#test-sms-messages-parameters-To\n" in got.stdout
    assert "edition of about 2017, with code samples of 2012, line 860\n" in got.stdout
    assert told["basis"] == "documented"
    body = json.loads(got.stdout.splitlines()[-1])
    assert (body["code"], body["message"]) == (21614, "To number: +15005550009, is not a mobile number")


def test_explaining_a_refusal() -> None:
    got = call("explain", "get", "Recordings")
    assert "403 FORBIDDEN" in got.stdout
    assert "test-credentials#supported-resources" in got.stdout
    assert "every other resource answers 403" in got.stdout
    assert "why  test credentials reach POST Messages, Calls and IncomingPhoneNumbers only" in got.stdout
    assert json.loads(got.stdout.splitlines()[-1])["code"] == 20008


def test_explaining_what_the_page_does_not_say() -> None:
    found = explain("POST", "IncomingPhoneNumbers")
    assert (found["status"], found["line"], found["basis"]) == (400, None, "assumed")
    assert "buy PhoneNumber=+15005550006" in str(found["why"])
    assert "says nothing about this" in call("explain", "POST", "IncomingPhoneNumbers").stdout


def test_the_wire_text_has_a_basis_of_its_own() -> None:
    found = explain("POST", "Messages", "From=+15005550006", "To=+15005550002", "Body=x")
    assert (found["basis"], found["text_basis"]) == ("documented", "recorded")


@pytest.mark.parametrize(
    "resource, kind",
    [
        ("Messages", "application/json"),
        ("Messages.xml", "application/xml"),
        ("Messages.json", "application/json"),
        ("/2010-04-01/Accounts/AC" + "0" * 32 + "/Messages", "application/xml"),
        (f"/2010-04-01/Accounts/AC{'0a' * 16}/Messages.json?a=/Accounts/ACb/", "application/json"),
    ],
)
def test_a_resource_by_name_or_path(resource: str, kind: str) -> None:
    found = explain("POST", resource, "From=+15005550006", "To=+14108675309", "Body=hi")
    assert found["content_type"] == kind
    assert found["status"] == 201


def test_a_pasted_path_is_its_own_accounts() -> None:
    account = "AC" + "01" * 16
    found = explain("POST", f"/2010-04-01/Accounts/{account}/Messages.json", "From=+15005550001")
    assert json.loads(str(found["body"]))["code"] == 21212
    assert "is the old path" in str(
        explain("POST", f"/2010-04-01/Accounts/{account}/SMS/Messages.json")["why"]
    )
    assert "not GET /Accounts" in str(explain("GET", f"/2010-04-01/Accounts/{account}.json")["why"])
    assert explain("POST", "/2010-04-01/Accounts/XY/Messages.json")["status"] == 404


def test_a_name_that_is_nearly_right() -> None:
    assert "did you mean Messages?" in str(explain("POST", "messages")["why"])


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--json", "--markdown"], "--json and --markdown are different forms of the same: give one of them"),
        (["--errata", "--json"], "--errata and --json are different forms"),
        (["--json", "explain", "POST", "Messages"], "--json is for the table, not for explain; --json goes"),
        (["--markdown", "explain", "POST", "Messages"], "--markdown is for the table, not for explain\n"),
    ],
)
def test_one_form_at_a_time(arguments: list[str], said: str) -> None:
    got = call(*arguments)
    assert got.exit_code == 2
    assert said in got.stderr


@pytest.mark.parametrize("xml", [[], ["--xml"]])
def test_utf_8_in_a_locale_of_another_kind(xml: list[str]) -> None:
    command = [sys.executable, "-m", "ringback", "contract", "explain", "POST", "Messages", *xml]
    fields = ["From=+15005550006", "To=+14108675309", "Body=\u00e9"]
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [*command, *(field.encode() for field in fields)],
        env={**os.environ, **locale},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert ("<Body>\u00e9</Body>".encode() if xml else b'"body": "\\u00e9"') in done.stdout


def test_xml_by_option() -> None:
    found = explain("POST", "Messages", "From=+15005550001", "--xml")
    assert str(found["body"]).startswith("<?xml version='1.0' encoding='UTF-8'?>\n<TwilioResponse>")


def test_values_may_hold_anything() -> None:
    body = "a=b&c=%20 + \u00e9\U0001f600"
    found = explain("POST", "Messages", "From=+15005550006", "To=+14108675309", f"Body={body}")
    assert json.loads(str(found["body"]))["body"] == body


def test_a_seed_repeats_and_without_one_nothing_does() -> None:
    form = ("POST", "Messages", "From=+15005550006", "To=+14108675309", "Body=hi")
    assert explain(*form, "--seed", "3") == explain(*form, "--seed", "3")
    assert explain(*form, "--seed", "3") != explain(*form, "--seed", "4")
    assert explain(*form) != explain(*form)


@pytest.mark.parametrize("field", ["To", "=x", "nonsense"])
def test_a_field_that_is_none_says_how(field: str) -> None:
    got = call("explain", "POST", "Messages", field)
    assert got.exit_code == 2
    assert f"{field!r} is not KEY=VALUE, e.g. To=+15005550006" in got.output


@pytest.mark.parametrize(
    "method, resource, said",
    [
        ("", "Messages", "'' is no method, e.g. POST"),
        ("P O", "Messages", "'P O' is no method, e.g. POST"),
        ("POST", "", "'' is no resource: give its name"),
        ("POST", "https://example.com/x", "'https://example.com/x' is no resource: give its name"),
        ("POST", "ftp://api.twilio.com/x", "or a URL on twilio.com"),
    ],
)
def test_a_request_that_is_none_says_how(method: str, resource: str, said: str) -> None:
    got = call("explain", method, resource)
    assert got.exit_code == 2
    assert said in got.output


@pytest.mark.parametrize("arguments", [[], ["POST"]])
def test_too_few_arguments(arguments: list[str]) -> None:
    assert call("explain", *arguments).exit_code == 2


def test_a_users_own_rows_count(own: Path) -> None:
    form = ("POST", "Messages", "From=+15005550006", "To=+14105550100", "Body=hi")
    for arguments in ((("--contract", str(own)), ()), ((), ("--contract", str(own)))):
        before, after = arguments
        got = call(*before, "explain", *form, *after, "--json")
        found = json.loads(got.stdout)
        assert (found["rule"], found["basis"]) == ("Messages.user.to-14105550100", "user")
        assert json.loads(found["body"])["message"] == "Filtered: +14105550100"
    assert "Messages\tTo\t+14105550100\t30007 Filtered: {To}\t-\tuser" in call("--contract", str(own)).stdout
    assert "30007" in call(RINGBACK_CONTRACT=str(own)).stdout


@pytest.mark.parametrize("arguments", [[], ["explain", "POST", "Messages"]])
def test_a_mistake_in_a_users_file_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("magic:\n- {resource: Faxes}\n")
    got = call("--contract", str(file), *arguments)
    assert got.exit_code == 2
    assert f"Error: {file}:2: $.magic[0].resource: Invalid enum value 'Faxes'" in got.stderr
    assert "Traceback" not in got.stderr


def test_a_field_that_is_no_text_is_a_usage_error() -> None:
    got = call("explain", "POST", "Messages", "To=\udcff")
    assert got.exit_code == 2
    assert "is not UTF-8 text" in got.output


@pytest.mark.parametrize(
    "options, fields, said",
    [
        (["--texts", "newest"], ["To=+15005550001"], "Invalid 'To' Phone Number: +1500555XXXX"),
        (["--account", "trial"], [], "Sent from your Twilio trial account - x"),
        (["--allow-local-urls"], ["StatusCallback=http://localhost/s"], "local URLs are allowed"),
    ],
)
def test_explain_takes_the_options_of_the_proxy(options: list[str], fields: list[str], said: str) -> None:
    form = ["POST", "Messages", "From=+15005550006", "To=+14105550100", "Body=x", *fields]
    assert said not in call("explain", *form).stdout
    assert said in call("explain", *options, *form).stdout


def test_the_basis_of_every_outcome_is_counted_and_the_assumed_ones_are_listed() -> None:
    lines = call("--basis").stdout.splitlines()
    *bases, own = lines[: lines.index("")]
    counted = {name: int(count) for count, name in (line.split() for line in bases)}
    assert own.endswith(" refusals of Ringback's own, which say nothing about Twilio")
    told = {outcome.id for outcome in outcomes(load())} | {refusal.id for refusal in own_refusals(load())}
    assert {refusal.id for refusal in load().gate.refusals} <= told
    assert int(own.split()[0]) == len(own_refusals(load())) > 15
    found = outcomes(load())
    assert counted == Counter(outcome.basis for outcome in found)
    assert list(counted) == ["documented", "recorded", "assumed"]
    assumed = [line.split("\t") for line in lines[lines.index("") + 2 :]]
    assert len(assumed) == counted["assumed"]
    assert all(len(cells) == 3 and all(cells) for cells in assumed)
    assert ["Messages.sendat", "passes", "POST Messages with a well-formed SendAt"] in assumed
    assert ["Messages.from.no-number", "21606", "POST Messages with a From that is no number"] in assumed
    assert ["Messages.mediaurl.too-many", "21623", "POST Messages with 11 MediaUrl"] in assumed


def sent(settled_by: str) -> dict[str, str]:
    found = re.fullmatch(r"POST Messages with (StatusCallback|MediaUrl)=(.*)", settled_by)
    assert found
    return {found[1]: found[2]}


@pytest.mark.parametrize(
    "outcome", [it for it in outcomes(load()) if it.id.startswith("url.")], ids=lambda it: it.id
)
def test_what_is_assumed_of_urls_is_what_is_answered(outcome: Outcome) -> None:
    got = send("Messages", better("Messages", **sent(outcome.settled_by)))
    assert ("passes" if got.status == 201 else "refused", got.source.basis) == (outcome.answer, "assumed")


def test_an_outcome_has_one_line_and_the_documented_rows_are_among_them() -> None:
    found = outcomes(load())
    assert len({(outcome.id, outcome.settled_by) for outcome in found}) == len(found)
    documented = {outcome.id for outcome in found if outcome.basis == "documented"}
    assert documented >= {row.id for row in rows(load()) if row.basis == "documented"}


def test_a_users_outcomes_are_counted_apart(own: Path) -> None:
    assert "   1 user\n" in call("--basis", "--contract", str(own)).stdout


@pytest.mark.parametrize(
    "url",
    [
        "https://lookups.twilio.com/v2/PhoneNumbers/+15005550006",
        "https://LOOKUPS.twilio.com:443/v2/PhoneNumbers/+15005550006",
        "https://verify.twilio.com",
    ],
)
def test_the_refusal_of_another_host_is_explained(url: str) -> None:
    found = explain("GET", url)
    host = url.partition("://")[2].partition("/")[0].partition(":")[0].lower()
    assert found["source"] == "gate"
    assert found["status"] == 403
    assert host in str(found["why"])


def test_a_url_of_the_api_is_explained_like_its_path() -> None:
    account = "AC" + "01" * 16
    url = f"https://api.twilio.com/2010-04-01/Accounts/{account}/Messages.json"
    found = explain("POST", url, "From=+15005550001", "To=+14105550100", "Body=x")
    assert json.loads(str(found["body"]))["code"] == 21212


def test_a_field_that_is_no_parameter_is_warned_of() -> None:
    got = call("explain", "POST", "Messages", "From=+15005550006", "to=+14105550100", "Bdy=x", "Body=x")
    assert got.exit_code == 0
    assert got.stderr.splitlines() == [
        "warning: to is no parameter of Messages; case and punctuation count, did you mean To?",
        "warning: Bdy is no parameter of Messages",
    ]
    assert call("explain", "GET", "Recordings", "to=x").stderr == ""


def test_an_anchor_that_nobody_saw_is_called_so() -> None:
    call_of, message = ("POST", "Calls", "To=+15005550001"), ("POST", "Messages", "From=+15005550001")
    assert "#test-calls-parameters-To (anchor not confirmed)\n" in call("explain", *call_of).stdout
    assert "#test-sms-messages-parameters-From\n" in call("explain", *message).stdout


def test_code_and_text_of_403_are_less_well_known_than_the_status() -> None:
    """The page says 403; 20008 and its text are quotes."""
    found = explain("GET", "Recordings")
    assert (found["status"], found["basis"], found["text_basis"]) == (403, "documented", "recorded")


def test_the_years_of_a_text_are_reported() -> None:
    form = ("POST", "Messages", "From=+15005550006", "To=+15005550001", "Body=x")
    found = explain(*form)
    assert found["text_years"] == "2014-2020, 2023"  # recordings, and a live test of 2023
    assert f"    text  {found['text_basis']} {found['text_years']}\n" in call("explain", *form).stdout

"""`verify`: what it finds, where, and what it lets pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from ringback import contract
from ringback.cassettes import verify
from ringback.cassettes.verify import CassetteFinding, check, files_of, load
from ringback.exchange import Answer, Request, Source
from support.exchanges import FORM, JSON, OTHER_SID, SID, TOKEN, Shelf, answer, basic, request, written

KEY = "PRIVATE " + "KEY"  # in two parts, so that no search for keys finds one here
LOADED = contract.load()
MAGIC = "+15005550006"
SENT = {"From": MAGIC, "To": "+14105550100", "Body": "hello"}


def rules(findings: list[CassetteFinding]) -> list[str]:
    return [finding.rule for finding in findings]


def refused(code: int) -> Answer:
    body = {
        "code": code,
        "message": "m",
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": 400,
    }
    return answer(body, status=400)


def test_a_recording_of_ours_is_clean(shelf: Shelf) -> None:
    shelf.write((request(SENT), answer()), (request({**SENT, "To": "+15005550009"}), refused(21614)))
    assert check(shelf.file(), LOADED) == []


PLANTED = {
    "auth token in the request's path": (request(resource=f"Messages/{TOKEN}.json"), answer()),
    "auth token in the request's query": (request(query=f"q={TOKEN}"), answer()),
    "a secret by its name in the request's query (AuthToken)": (request(query="AuthToken=x"), answer()),
    "auth token in the request's form": (request({"Body": f"a {TOKEN}"}), answer()),
    "credentials in a URL in the request's form": (request({"Url": "https://a:b@example.com"}), answer()),
    "the request's header Authorization": (request(), answer()),
    "the request's header Cookie": (request(headers=(FORM, ("Cookie", "a=b"))), answer()),
    "auth token in the request's header X-A": (request(headers=(FORM, ("X-A", TOKEN))), answer()),
    "credentials in the request's header X-B": (request(headers=(FORM, ("X-B", basic()[1]))), answer()),
    "the answer's header Set-Cookie": (request(), answer(headers=(JSON, ("Set-Cookie", "a=b")))),
    "auth token in the answer's body": (request(), answer({"message": f"no {TOKEN}"})),
    "a secret by its name in the answer's body (auth_token)": (request(), answer({"auth_token": "x"})),
    "account SID in the answer's body": (request(), answer({"a": OTHER_SID})),
    "JSON web token in the answer's body": (
        request(),
        answer({"a": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcd"}),
    ),
    "private key in the answer's body": (request(), answer({"a": f"-----BEGIN {KEY}-----\nMII"})),
    "a configured secret in the answer's body": (request(), answer({"a": "hunter2-hunter2"})),
    "auth token in the request's body": (request(b'{"a": "%s"}' % TOKEN.encode(), headers=(JSON,)), answer()),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_secret_is_found_and_not_shown(shelf: Shelf, what: str) -> None:
    file = written(shelf, PLANTED[what])
    found = [one for one in check(file, LOADED, ["hunter2-hunter2"]) if one.rule == "secret"]
    assert what in [one.detail for one in found]
    shown = "\n".join(map(str, found))
    for secret in (TOKEN, SID, OTHER_SID, "hunter2", basic()[1], "MII"):
        assert secret not in shown


def test_a_finding_names_the_line_of_the_secret(shelf: Shelf) -> None:
    file = written(shelf, (request(SENT), answer()), (request(SENT), answer({"x": f"no {TOKEN}"})))
    lines = file.read_text().split("\n")
    (one,) = [one for one in check(file, LOADED) if one.detail == "auth token in the answer's body"]
    assert TOKEN in lines[one.line - 1]
    assert str(one).startswith(f"{file}:{one.line}: secret: ")


def test_what_redaction_leaves_verify_lets_pass(shelf: Shelf) -> None:
    """Redaction and verify look for the same things."""
    for number, interaction in enumerate(PLANTED.values()):
        shelf.write(interaction, name=f"case-{number}", secrets=["hunter2-hunter2"])
        for placed in load(shelf.file(f"case-{number}")).placed:
            assert verify.secrets_in(placed.interaction, ["hunter2-hunter2"]) == {}


def test_an_answer_that_the_contract_would_not_give_is_found(shelf: Shelf) -> None:
    right, wrong = (request({**SENT, "To": to}) for to in ("+15005550009", "+15005550001"))
    file = shelf.write((right, refused(21614)), (wrong, refused(21614)), (wrong, answer()))
    first, second = check(file, LOADED)
    assert (first.rule, second.rule) == ("contract", "contract")
    assert first.detail.startswith("recorded is 400 21614, the contract says 400 21211 (rule ")
    assert second.detail.startswith("recorded is 201, the contract says 400 21211 (rule ")
    assert "code: 400" in file.read_text().split("\n")[first.line - 1]


def test_xml_is_judged_too(shelf: Shelf) -> None:
    body = b"<TwilioResponse><RestException><Code>21611</Code></RestException></TwilioResponse>"
    asked = request({**SENT, "From": "+15005550001"}, resource="Messages")
    (found,) = check(shelf.write((asked, answer(body, status=400))), LOADED)
    assert "400 21611" in found.detail
    assert "21212" in found.detail


def test_what_the_contract_cannot_judge_is_not_judged(shelf: Shelf) -> None:
    other_host = Request("POST", "example.com", f"/2010-04-01/Accounts/{SID}/Messages.json", (FORM,), b"a=b")
    shelf.write((other_host, answer()), name="other")
    shelf.write((request({**SENT, "To": "+15005550001"}), answer()), name="pseudonyms", redact=["Body"])
    for name in ("other", "pseudonyms"):
        assert check(shelf.file(name), LOADED) == []


def test_what_live_credentials_may_have_asked_is_not_judged_and_that_is_reported(shelf: Shelf) -> None:
    owned = request({**SENT, "From": "+14105550101"})
    listed = request(b"", method="GET", resource="Messages.json")
    wrong = request({**SENT, "To": "+15005550001"})  # its From is a magic one, so test credentials asked
    file = written(shelf, (owned, answer()), (listed, answer(status=200)), (wrong, answer()))
    reported: list[str] = []
    found = [one for one in check(file, LOADED, (), reported.append) if one.rule == "contract"]
    assert len(found) == 1
    assert found[0].detail.startswith("recorded is 201, the contract says 400 21211")
    assert reported == ["2 interactions that another tool recorded, because live credentials may have asked"]


def test_a_torn_tail_is_found_in_its_line(shelf: Shelf) -> None:
    file = shelf.write((request(SENT), answer()))
    line = file.read_text().count("\n") + 1
    with file.open("a") as torn:
        torn.write("# ringback key=0")
    assert check(file, LOADED) == [
        CassetteFinding(
            file, line, "torn", "it ends in 16 bytes of an interaction that is not whole; --repair cuts them"
        )
    ]


@pytest.mark.parametrize("text", ["a: b\n", "- x\n", "version: 1\ninteractions:\n- request: {}\n- x\n"])
def test_what_is_no_cassette_is_found(shelf: Shelf, text: str) -> None:
    shelf.directory.mkdir()
    shelf.file().write_text(text)
    (found,) = check(shelf.file(), LOADED)
    assert found.rule == "format"
    assert found.line >= 1


def test_what_interruptions_leave_is_found(shelf: Shelf) -> None:
    shelf.directory.mkdir()
    left = [shelf.directory / name for name in (".a.yaml.1.x.tmp", "b.yaml.new")]
    for path in left:
        path.touch()
    (shelf.directory / "notes.txt").touch()
    assert list(files_of([shelf.directory])) == left
    assert [rules(check(path, LOADED)) for path in left] == [["draft"], ["interrupted"]]


def test_files_of_takes_files_as_they_are(tmp_path: Path) -> None:
    assert list(files_of([tmp_path / "x.yaml"])) == [tmp_path / "x.yaml"]


def test_every_shipped_cassette_is_clean() -> None:
    directory = Path(__file__).parents[2] / "cassettes"
    assert [str(one) for path in files_of([directory]) for one in check(path, LOADED)] == []


def test_a_body_whose_coding_is_broken_is_searched_as_it_is(shelf: Shelf) -> None:
    said = Answer(201, "CREATED", (("Content-Encoding", "gzip"),), f"a {TOKEN}".encode(), Source("live"))
    assert "auth token in the answer's body" in [
        one.detail for one in check(written(shelf, (request(), said)), LOADED)
    ]

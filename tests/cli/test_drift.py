from __future__ import annotations

import json
import re
import shlex
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner, Result
from msgspec.structs import replace

from ringback.cli import ringback
from ringback.contract import Request
from support.drifting import ACCOUNT, CLAIM_SET, TOKEN, cassette, documented, edit
from support.egress import egress
from support.upstream import (
    LoopbackUpstream,
    Seen,
    ThrowAway,
    loopback_upstream,
    response,
    throw_away,
    twilio,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ringback.contract import Answer

WILD = ("api.twilio.com", "*.twilio.com")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> ThrowAway:
    return throw_away(tmp_path_factory.mktemp("drift-ca"))


@pytest.fixture
def upstream(authority: ThrowAway) -> Iterator[LoopbackUpstream]:
    """A mock upstream that behaves as documented, for every host of Twilio's."""
    with loopback_upstream(authority, names=WILD) as server:
        server.rule = server.probe = behaving()
        yield server


@pytest.fixture
def drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`ringback drift`, in an empty directory and with test credentials."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RINGBACK_TEST_ACCOUNT_SID", ACCOUNT)
    monkeypatch.setenv("RINGBACK_TEST_AUTH_TOKEN", TOKEN)

    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(ringback, ["drift", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def behaving(change: Callable[[Request, Answer], Answer] = lambda _, answer: answer) -> Any:
    """Answer as documented, changed."""

    def rule(seen: Seen) -> bytes:
        host = seen.server_name or "api.twilio.com"
        request = Request(seen.method, host, seen.target, tuple(seen.fields), seen.body)
        answer = change(request, documented(request))
        fields = [field for field in answer.headers if field[0] != "Content-Length"]
        return response(answer.status, answer.body, *fields, reason=answer.reason)

    return rule


def at(server: LoopbackUpstream) -> list[str]:
    return ["--upstream", server.url, "--upstream-ca", str(server.ca)]


def report(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_an_upstream_that_behaves_as_documented_has_no_drift(drift: Any, upstream: LoopbackUpstream) -> None:
    result = drift(*at(upstream), "--format", "json", "--fail-on", "info")
    found = report(result)
    told = [(item["rule"], item["kind"], item["observed"]) for item in found["findings"]]
    assert (told, found["not_compared"], result.exit_code) == ([], [], 0)
    assert found["compared"] == len(CLAIM_SET.probes)
    assert {seen.pair for seen in upstream.seen} == {(ACCOUNT, TOKEN)}


def test_what_was_seen_is_recorded_without_credentials_and_findings_point_to_its_lines(
    drift: Any, upstream: LoopbackUpstream
) -> None:
    def change(request: Request, answer: Answer) -> Answer:
        sent = b"5550004" in request.body and request.target.endswith("Messages.json")
        return edit(code=30003)(answer) if sent else answer

    upstream.rule = behaving(change)
    result = drift(*at(upstream), "--format", "json")
    assert result.exit_code == 1
    (finding,) = report(result)["findings"]
    assert (finding["rule"], finding["kind"]) == ("Messages.to.blocked", "code")
    file, _, line = finding["sightings"][0]["where"].rpartition(":")
    recorded = Path(file).read_text()
    assert recorded.splitlines()[int(line) - 1].startswith("- request:")
    assert ACCOUNT not in recorded
    assert TOKEN not in recorded
    assert drift(file).exit_code == 1  # the recording shows the same
    again = drift("--format", "json", "--only", finding["rule"], *at(upstream))
    assert [item["fingerprint"] for item in report(again)["findings"]] == [finding["fingerprint"]]
    assert again.exit_code == 1


def test_the_command_that_shows_a_finding_again_asks_the_same_thing(
    drift: Any, upstream: LoopbackUpstream, tmp_path: Path
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("errors:\n- {code: 21610, message: Ours}\n")
    wanted = ["--contract", str(own), "--accepted", "a b.yaml", "--fail-on", "warning"]
    result = drift(*wanted, *at(upstream), "--wire", "json", "--only", "text.*", "--format", "json")
    (finding,) = report(result)["findings"]
    assert result.exit_code == 1
    words = shlex.split(finding["reproduce"])
    assert words[:2] == ["ringback", "drift"]
    again = drift(*words[2:], "--format", "json")
    assert [item["fingerprint"] for item in report(again)["findings"]] == [finding["fingerprint"]]
    assert again.exit_code == 1
    assert words[2:] == [*wanted, *at(upstream), "--wire", "json", "--only", finding["rule"]]

    looked = drift("drift-answers.yaml", *wanted, "--assume-test", "--format", "json")
    (finding,) = report(looked)["findings"]
    words = shlex.split(finding["reproduce"])
    assert words[2:] == ["drift-answers.yaml", *wanted, "--assume-test", "--only", finding["rule"]]
    assert len(report(drift(*words[2:], "--format", "json"))["findings"]) == 1


def test_the_command_says_what_came_by_the_environment(
    drift: Any, upstream: LoopbackUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RINGBACK_UPSTREAM", upstream.url)
    monkeypatch.setenv("RINGBACK_UPSTREAM_CA", str(upstream.ca))
    upstream.rule = behaving(
        lambda _, answer: edit(status="accepted")(answer) if answer.status == 201 else answer
    )
    (finding,) = report(drift("--wire", "json", "--only", "Messages.*", "--format", "json"))["findings"]
    assert shlex.split(finding["reproduce"])[2:] == [
        *at(upstream),
        "--wire",
        "json",
        "--only",
        finding["rule"],
    ]


def test_options_that_this_run_has_no_use_for_are_reported(
    drift: Any, upstream: LoopbackUpstream, tmp_path: Path
) -> None:
    request = next(item for item in CLAIM_SET.probes if item.id == "Messages.to.missing.json").request(
        ACCOUNT
    )
    file = str(recording(tmp_path / "c.yaml", documented(request)))
    told = drift(file, "--max-live", "3", "--wire", "json", "--rate", "1", "--timeout", "9").stderr
    why = "without effect, because recordings are looked at, nothing is sent"
    assert told == f"ringback: --wire, --timeout, --max-live, --rate: {why}\n"
    told = drift(*at(upstream), "--assume-test", "--only", "Calls.to.blocked").stderr
    assert told == "ringback: --assume-test: without effect, because the live API is asked\n"
    assert drift(file).stderr == ""


def test_the_proof_comes_first_and_live_credentials_are_never_used(
    drift: Any, upstream: LoopbackUpstream
) -> None:
    upstream.probe = lambda _: twilio(200, None, sid=ACCOUNT)
    result = drift(*at(upstream), "--only", "Messages.*")
    assert result.exit_code == 2
    assert "live account" in result.output
    assert upstream.forwarded == []


def test_product_hosts_are_asked_once_the_api_has_proven_the_credentials(
    drift: Any, upstream: LoopbackUpstream
) -> None:
    def probe(seen: Seen) -> bytes:
        return twilio(403, 20008) if seen.server_name == "api.twilio.com" else twilio(404, 20404)

    upstream.probe = probe
    result = drift(*at(upstream), "--format", "json", "--only", "outside.*")
    assert result.exit_code == 0
    assert report(result)["not_compared"] == []
    asked = {seen.server_name for seen in upstream.forwarded}
    assert {"api.twilio.com", "lookups.twilio.com"} < asked


@pytest.mark.parametrize("rule", [lambda _: None, lambda _: twilio(503), lambda _: twilio(429, 20429)])
def test_an_upstream_without_answers_is_not_agreement(
    drift: Any, upstream: LoopbackUpstream, rule: Any
) -> None:
    upstream.rule = rule
    result = drift(*at(upstream), "--only", "Messages.to.*", "--format", "json")
    assert result.exit_code == 2
    assert report(result)["compared"] == 0


def test_one_answer_that_does_not_come_makes_the_run_blind(drift: Any, upstream: LoopbackUpstream) -> None:
    good = behaving()
    upstream.rule = lambda seen: None if b"5550004" in seen.body else good(seen)
    assert drift(*at(upstream), "--only", "Messages.to.*").exit_code == 2


def test_no_upstream_at_all(drift: Any) -> None:
    with socket.socket() as taken:  # bound and not listening: refused, and nobody else takes it
        taken.bind(("127.0.0.1", 0))
        result = drift("--upstream", f"http://127.0.0.1:{taken.getsockname()[1]}", "--rate", "0.1")
    assert result.exit_code == 2
    said = " ".join(result.stdout.split())
    assert said.startswith("drift: nothing was compared")
    assert said.count("the credentials cannot be proven") == 1
    assert f"and {len(CLAIM_SET.probes) - 1} more: the credentials cannot be proven" in said


def test_cassette_and_reports_live_in_one_directory(
    drift: Any, upstream: LoopbackUpstream, tmp_path: Path
) -> None:
    reports = ["json", "html", "junit", "sarif"]
    words = [word for form in reports for word in ("--format", form, "--output", f"drift.{form}")]
    for _ in range(2):  # the second run finds what the first one left
        result = drift(*at(upstream), "--only", "Messages.to.*", *words)
        assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} >= {
        "drift-answers.yaml",
        *(f"drift.{form}" for form in reports),
    }
    result = drift(".", "--format", "json")
    found = report(result)
    assert found["compared"] > 5
    left = {item["what"]: item["harmless"] for item in found["not_compared"]}
    assert left["drift.json"]
    assert left["drift.html"]
    assert result.exit_code == 0


def test_the_documentation_as_a_cassette_agrees_with_nothing(drift: Callable[..., Result]) -> None:
    result = drift(str(ROOT / "cassettes"))
    assert (result.exit_code, result.stdout.splitlines()[0]) == (2, "drift: nothing was compared")
    assert "and 15 more: written down from the documentation, not recorded" in " ".join(result.stdout.split())


def test_max_live_sends_no_more(drift: Any, upstream: LoopbackUpstream) -> None:
    assert drift(*at(upstream), "--max-live", "3").exit_code == 0
    assert len(upstream.forwarded) == 3


@pytest.mark.parametrize("by", ["--egress-proxy", "RINGBACK_EGRESS_PROXY", "https_proxy"])
def test_it_asks_through_the_egress_proxy_that_serve_would_take(
    drift: Any, upstream: LoopbackUpstream, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with egress({"api.twilio.com:443": upstream.port}) as proxy:
        option = [by, proxy.url] if by.startswith("--") else []
        if not option:
            monkeypatch.setenv(by, proxy.url)
        told = drift(
            "--upstream-ca", str(upstream.ca), "--rate", "1000", "--only", "Calls.to.blocked", *option
        )
        assert told.exit_code == 0, told.output
        assert set(proxy.seen) == {"api.twilio.com:443"}


def test_one_format_on_the_wire(drift: Any, upstream: LoopbackUpstream) -> None:
    assert drift(*at(upstream), "--wire", "xml", "--only", "Calls.*").exit_code == 0
    assert upstream.forwarded
    assert not [seen for seen in upstream.forwarded if seen.target.endswith(".json")]


def test_accepting_a_finding_takes_it_out_until_it_is_gone(drift: Any, upstream: LoopbackUpstream) -> None:
    upstream.rule = behaving(
        lambda request, answer: (
            edit(status="accepted")(answer)
            if answer.status == 201 and request.target.endswith("Messages.json")
            else answer
        )
    )
    arguments = [*at(upstream), "--only", "Messages.*", "--fail-on", "warning", "--format", "json"]
    (finding,) = report(drift(*arguments))["findings"]
    accepted = drift(
        "accept",
        finding["fingerprint"],
        "--reason",
        "nobody reads it",
        "--expires",
        "2999-01-01",
        "--rule",
        finding["rule"],
    )
    assert accepted.exit_code == 0
    result = drift(*arguments)
    assert result.exit_code == 0
    assert report(result)["accepted"][0]["fingerprint"] == finding["fingerprint"]
    upstream.rule = behaving()
    stale = drift(*arguments)
    assert stale.exit_code == 1
    assert [item["rule"] for item in report(stale)["findings"]] == ["accepted.stale"]


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["accept", "xyz", "--reason", "r", "--expires", "2999-01-01"], "12 hex digits"),
        (["accept", "0123456789ab", "--reason", " ", "--expires", "2999-01-01"], "say why"),
        (["accept", "0123456789ab", "--reason", "r", "--expires", "2001-01-01"], "passed already"),
        (["accept", "0123456789ab", "--expires", "2999-01-01"], "--reason"),
        (["nowhere.yaml"], "no such file"),
        (["--output", "a", "--output", "b"], "the first belongs to the first"),
        (["--format", "json", "--format", "html"], "more than one report for stdout"),
        (["--only", "nothing.like.this"], "no claim is like 'nothing.like.this'"),
        (["--only", "Messages.to.*", "--only", ""], "no claim is like ''"),
        (["drift.yaml", "--only", "Mesages.to.*"], "no claim is like 'Mesages.to.*'"),
        (["--rate", "nan"], "nan is no number of requests"),
        (["--upstream", "ftp://x"], "neither https nor http"),
        (["--upstream", "http://api.example"], "write https"),
        (["--format", "json", "--output", "drift-answers.json"], "one cassette's two files"),
        (["--upstream", "https://user:secret@x"], "a user name, which is never sent"),
        (["--upstream-ca", "missing.pem"], "--upstream-ca"),
    ],
)
def test_mistakes_are_reported_in_a_line(drift: Any, arguments: list[str], said: str) -> None:
    result = drift(*arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


def test_how_claims_are_called_is_reported_by_some_that_exist(drift: Any) -> None:
    told = re.search(r"called like (.*), and \* stands", " ".join(drift("--only", "x").output.split()))
    assert told is not None
    assert set(re.split(r", | and ", told[1])) <= set(CLAIM_SET.claims)


def test_without_credentials_it_says_which(drift: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RINGBACK_TEST_AUTH_TOKEN")
    result = drift()
    assert result.exit_code == 2
    assert "RINGBACK_TEST_AUTH_TOKEN" in result.output


def recording(file: Path, answer: Answer) -> Path:
    request = next(item for item in CLAIM_SET.probes if item.id == "Messages.from.valid.json").request(
        ACCOUNT
    )
    exchange = {
        "request": {"method": "POST", "path": request.target, "form": [["From", "+15005550006"]]},
        "response": {
            "status": answer.status,
            "reason": answer.reason,
            "headers": dict(answer.headers),
            "body": answer.body.decode(),
        },
    }
    return cassette([exchange], file)


def test_several_reports_at_once_pair_up_in_order(drift: Any, tmp_path: Path) -> None:
    request = next(item for item in CLAIM_SET.probes if item.id == "Messages.to.missing.json").request(
        ACCOUNT
    )
    file = recording(tmp_path / "c.yaml", documented(request))
    files = ["--format", "json", "--output", "a", "--format", "html", "--output", "b"]
    result = drift(str(file), *files, "--format", "terminal")
    assert result.exit_code == 0, result.output
    assert json.loads(Path("a").read_text())["compared"] == 1
    assert Path("b").read_text().startswith("<!doctype html>")
    assert result.stdout.startswith("drift: no drift in 1 exchange")


def test_recordings_that_say_nothing_about_a_claim_do_not_agree_with_it(drift: Any, tmp_path: Path) -> None:
    request = next(item for item in CLAIM_SET.probes if item.id == "Messages.to.missing.json").request(
        ACCOUNT
    )
    file = str(recording(tmp_path / "c.yaml", documented(request)))
    result = drift(file, "--only", "Calls.*")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (2, "drift: nothing was compared")
    result = drift(file, "--only", "status.400")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        0,
        f"drift: no drift in 1 exchange, 1 of {len(CLAIM_SET.claims)} claims",
    )
    assert drift(file, "--only", "header.x-new").exit_code == 0  # nobody can say where something new would be


def test_recordings_that_say_nothing_are_not_agreement(drift: Any, tmp_path: Path) -> None:
    request = next(item for item in CLAIM_SET.probes if item.id == "Messages.to.missing.json").request(
        ACCOUNT
    )
    unavailable = replace(documented(request), status=503)
    assert drift(str(recording(tmp_path / "c.yaml", unavailable))).exit_code == 2


def test_the_schema_is_printed(drift: Any) -> None:
    assert json.loads(drift("schema").stdout)["title"] == "A drift report of Ringback"


def test_the_workflow_is_yaml_and_names_options_that_exist(drift: Any) -> None:
    text = (ROOT / "docs" / "examples" / "drift-workflow.yml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["permissions"] == {"contents": "read", "issues": "write"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"pip install (\S+)", text) == ["'.[fleet]'"]  # its history is in an object store
    assert re.findall(r"pipx install (\S+)", readme) == ["."]
    help_text = drift("--help").output
    used = set(re.findall(r"(?<=\s)(--[a-z-]+)", text[text.index("ringback drift") : text.index("|| code")]))
    assert used
    assert [option for option in used if option not in help_text] == []


@pytest.mark.parametrize(
    "name, said", [("a b.yaml", "a b"), ("file/below.yaml", "file"), ("x.txt", "NAME.yaml")]
)
def test_a_cassette_that_cannot_be_written_is_reported_in_a_line(
    drift: Any, upstream: LoopbackUpstream, name: str, said: str
) -> None:
    Path("file").write_text("not a directory")
    result = drift(*at(upstream), "--only", "Calls.to.blocked", "--cassette", name)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


def test_stopping_is_not_drift(drift: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("ringback.cli.drift.send_all", interrupted)
    assert drift("--only", "Calls.to.blocked").exit_code == 130

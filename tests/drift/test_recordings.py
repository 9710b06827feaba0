from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from ringback.cassettes.vcr_format import load_foreign
from ringback.cassettes.verify import load
from ringback.cli import ringback
from ringback.drift.compare import compare
from ringback.drift.findings import collect_findings
from ringback.drift.sources import UnreadableCassetteError, read_recordings
from support.drifting import CLAIM_SET, cassette, recorded

# What the real recordings of 2014 to 2017 show; docs/drift-recorded.md explains each.
KNOWN = {
    ("error", "format.date"),
    ("warning", "Messages.answer"),
    ("warning", "Messages.answer.messaging_service_sid"),
    ("warning", "text.21212.Messages"),
}
DOCS = Path(__file__).parents[2] / "docs" / "drift-recorded.md"


def exchange(**provenance: str) -> dict[str, object]:
    return {
        "request": {
            "method": "POST",
            "path": f"/2010-04-01/Accounts/AC{'f' * 32}/Messages.json",
            "form": [["From", "+15005550006"], ["To", "+14105550100"]],
        },
        "response": {
            "status": 400,
            "reason": "BAD REQUEST",
            "headers": {"Date": "Mon, 02 Nov 2015 18:51:47 GMT", **provenance},
            "body": '{"code": 21602, "message": "Message body is required.", "status": 400}',
        },
    }


def test_the_real_recordings_show_known_drift_and_the_documentation_explains_each(tmp_path: Path) -> None:
    file = cassette(recorded(), tmp_path / "recorded.yaml")
    found = [item.observation for item in read_recordings([file], CLAIM_SET.contract, load)]
    findings = collect_findings(CLAIM_SET, [compare(CLAIM_SET, item) for item in found if item is not None])
    assert {(item.severity, item.rule) for item in findings} == KNOWN
    text = DOCS.read_text(encoding="utf-8")
    assert [item.rule for item in findings if item.fingerprint not in text] == []


def test_the_figures_of_the_documentation_are_those_of_the_command(tmp_path: Path) -> None:
    file = cassette(recorded(), tmp_path / "recorded.yaml")
    text = DOCS.read_text(encoding="utf-8")
    told = CliRunner().invoke(ringback, ["drift", str(file)]).stdout.splitlines()[0]
    assert f"\n{told}\n" in text
    plain, judged = (
        json.loads(CliRunner().invoke(ringback, ["drift", str(file), "--format", "json", *more]).stdout)
        for more in ([], ["--assume-test"])
    )
    outcomes = [found for found in judged["findings"] if found["rule"] == "Messages.from.other"]
    for found in (*plain["findings"], *outcomes):
        row = re.search(rf"^\| `{found['fingerprint']}` .*$", text, re.MULTILINE)
        assert row
        assert ("once" if found["seen"] == 1 else f"{found['seen']} times") in row[0]


def test_credentials_are_reported_as_whoever_collected_the_recordings_did(tmp_path: Path) -> None:
    exchanges = recorded()
    file = cassette(exchanges, tmp_path / "recorded.yaml")
    who = [
        item.observation.who for item in read_recordings([file], CLAIM_SET.contract, load) if item.observation
    ]
    assert who == [item["credentials"] for item in exchanges]


def test_each_observation_points_to_its_line(tmp_path: Path) -> None:
    file = cassette([exchange(), exchange(), exchange()], tmp_path / "c.yaml")
    lines = file.read_text().splitlines()
    for found in read_recordings([file], CLAIM_SET.contract, load):
        path, _, line = found.where.rpartition(":")
        assert path == str(file)
        assert lines[int(line) - 1].startswith("- request:")


def test_a_json_cassette_has_lines_too(tmp_path: Path) -> None:
    yaml_text = cassette([exchange(), exchange()], tmp_path / "c.yaml").read_text()
    requests, _ = load_foreign(yaml_text)
    data = {
        "version": 1,
        "interactions": [
            {
                "request": {
                    "method": "POST",
                    "uri": f"https://api.twilio.com{item.request.target}",
                    "body": item.request.body.decode(),
                    "headers": {},
                },
                "response": {
                    "status": {"code": 400, "message": "BAD REQUEST"},
                    "headers": {},
                    "body": {"string": item.answer.body.decode()},
                },
            }
            for item in requests
        ],
    }
    file = tmp_path / "c.json"
    file.write_text(json.dumps(data, indent=1))
    places = [item.where for item in read_recordings([tmp_path / "c.json"], CLAIM_SET.contract, load)]
    assert len(set(places)) == 2
    assert all(place.startswith(f"{file}:") for place in places)


def test_who_asked_is_what_ringback_noted(tmp_path: Path) -> None:
    live = exchange(**{"Ringback-Source": "live", "Ringback-Recorded": "2026-01-02T03:04:05+00:00"})
    own = exchange(**{"Ringback-Source": "contract; rule=Messages.body.missing"})
    found = list(read_recordings([cassette([live, own], tmp_path / "c.yaml")], CLAIM_SET.contract, load))
    assert found[0].observation is not None
    assert found[0].observation.who == "proven"
    assert str(found[0].observation.when) == "2026-01-02 03:04:05+00:00"
    assert found[1].observation is None  # comparing the contract with itself would say nothing


@pytest.mark.parametrize("assume_test", [True, False])
def test_the_documentation_written_down_is_no_evidence(assume_test: bool) -> None:
    file = DOCS.parents[1] / "cassettes" / "documentation.yaml"
    found = list(read_recordings([file], CLAIM_SET.contract, load, assume_test=assume_test))
    assert len(found) == 16
    assert {(item.observation, item.why) for item in found} == {
        (None, "written down from the documentation, not recorded")
    }


def test_a_directory_is_searched_and_an_empty_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableCassetteError, match="no cassette"):
        list(read_recordings([tmp_path], CLAIM_SET.contract, load))
    (tmp_path / "below").mkdir()
    cassette([exchange()], tmp_path / "below" / "c.yaml")
    assert len(list(read_recordings([tmp_path], CLAIM_SET.contract, load))) == 1


@pytest.mark.parametrize("text", ["", "just text", "interactions: 1", "\0"])
def test_what_is_no_cassette_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(UnreadableCassetteError, match=r"c\.yaml"):
        list(read_recordings([file], CLAIM_SET.contract, load))


@pytest.mark.parametrize("text", ["just text", '{"schema": 1}', "- a\n- [", "\0"])
def test_one_among_many_that_is_no_cassette_is_listed_and_the_rest_is_read(tmp_path: Path, text: str) -> None:
    good = cassette([exchange()], tmp_path / "b.yaml")
    other = tmp_path / "a.json"
    other.write_text(text)
    for paths, harmless in (([tmp_path], True), ([other, good], False)):
        odd, fine = read_recordings(paths, CLAIM_SET.contract, load)
        assert (odd.observation, odd.where.startswith(str(other)), odd.harmless) == (None, True, harmless)
        assert odd.why
        assert fine.observation is not None


def test_recordings_since_2015_show_nothing_at_error(tmp_path: Path) -> None:
    late = [item for item in recorded() if "2014" not in item["recorded"]]
    file = cassette(late, tmp_path / "recorded.yaml")
    found = [item.observation for item in read_recordings([file], CLAIM_SET.contract, load)]
    findings = collect_findings(CLAIM_SET, [compare(CLAIM_SET, item) for item in found if item is not None])
    assert len(found) > 50
    assert {item.severity for item in findings} == {"warning"}


@pytest.mark.parametrize(
    "fields, judged", [(["To", "Body"], False), (["to"], False), (["Body"], True), ([], True), ("To", True)]
)
def test_what_a_pseudonym_got_is_not_held_against_the_documentation(
    tmp_path: Path, fields: list[str], judged: bool
) -> None:
    file = cassette([exchange()], tmp_path / "one.yaml")
    redaction = json.dumps({"ringback": {"redaction": {"fields": fields}}})
    file.write_text(f"{file.read_text()}metadata: {redaction}\n")
    (found,) = read_recordings([file], CLAIM_SET.contract, load)
    assert (found.observation is not None) is judged
    assert found.why == ("" if judged else "To recorded as pseudonyms (--redact), which get other answers")


def test_a_recording_of_a_mock_upstream_is_that_origin_s_and_never_mixed_with_the_live_api_s(
    tmp_path: Path,
) -> None:
    file = cassette([exchange() for _ in range(3)], tmp_path / "c.yaml")
    kept = yaml.safe_load(file.read_text())
    for item, said in zip(
        kept["interactions"], ("live", "mock; origin=http://127.0.0.1:1", "mock"), strict=True
    ):
        item["response"]["headers"]["Ringback-Source"] = [said]
        item["response"]["body"]["string"] = '{"code": 21999, "message": "m", "status": 400}'
    file.write_text(yaml.safe_dump(kept))
    seen = [one.observation for one in read_recordings([file], CLAIM_SET.contract, load)]
    assert [(one.origin, one.who) for one in seen if one] == [
        ("", "proven"),
        ("http://127.0.0.1:1", "proven"),
        ("a mock upstream", "proven"),
    ]
    findings = collect_findings(CLAIM_SET, [compare(CLAIM_SET, one) for one in seen if one])
    codes = [one for one in findings if one.kind == "code"]
    assert [one.origin for one in codes] == ["", "http://127.0.0.1:1", "a mock upstream"]
    assert len({one.fingerprint for one in codes}) == 3

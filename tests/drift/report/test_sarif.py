from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ringback.drift.report.sarif import text
from support.reports import BLOCKED, empty, full

# The Go module that carries the OASIS schema of SARIF 2.1.0, whole.
MODULE = "github.com/owenrumney/go-sarif/v3@v3.3.1"
FILE = "pkg/report/v210/sarif/schema.go"


@pytest.fixture(scope="module")
def schema() -> Any:
    """The schema of SARIF 2.1.0."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("no go command, by which the schema of SARIF 2.1.0 is fetched")
    got = subprocess.run(
        [go, "mod", "download", "-json", MODULE], capture_output=True, text=True, timeout=120, check=False
    )
    if got.returncode:
        pytest.skip(f"the schema of SARIF 2.1.0 cannot be fetched: {got.stdout or got.stderr}")
    source = (Path(json.loads(got.stdout)["Dir"]) / FILE).read_text(encoding="utf-8")
    found = re.search("const schema = `(.*)`", source, re.DOTALL)
    assert found
    return json.loads(found[1].replace('` + "`" + `', "`"))


@pytest.mark.parametrize("report", [full(), empty(), empty(0)], ids=["full", "none", "nothing"])
def test_the_report_is_sarif_2_1_0(schema: Any, report: Any) -> None:
    jsonschema.Draft4Validator(schema).validate(json.loads(text(report)))


def test_the_schema_would_refuse_what_is_no_sarif(schema: Any) -> None:
    log = json.loads(text(full()))
    log["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(schema).validate(log)


def test_results_name_their_rule_their_place_and_their_fingerprint() -> None:
    run = json.loads(text(full()))["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    (blocked,) = (rule for rule in run["tool"]["driver"]["rules"] if rule["id"] == "Messages.to.blocked")
    assert blocked["helpUri"] == BLOCKED.url
    assert any(f"(page: {BLOCKED})" in result["message"]["text"] for result in run["results"])
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert re.fullmatch("[0-9a-f]{12}", result["partialFingerprints"]["ringbackDrift/v1"])
    places = [
        location["physicalLocation"]
        for result in run["results"]
        for location in result["locations"]
        if "physicalLocation" in location
    ]
    assert places[0]["artifactLocation"]["uri"] == "cassettes/a%20b.yaml"
    assert places[0]["region"] == {"startLine": 12}
    assert [item for item in run["results"] if "suppressions" in item]

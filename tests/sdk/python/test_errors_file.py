"""`docs/examples/errors.yaml` under `ringback run`, driven by twilio-python 9, unchanged."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from support.sdks import python_sdk

if TYPE_CHECKING:
    from support.product import Product

pytestmark = pytest.mark.xdist_group("sdk-python")

ROOT = Path(__file__).parents[3]
FILE = ROOT / "docs" / "examples" / "errors.yaml"
CONTENT = yaml.safe_load(FILE.read_text(encoding="utf-8"))
ROWS = CONTENT["magic"]
TEXTS = {entry["code"]: entry for entry in CONTENT["errors"]}
PREFIX = "Unable to create record: "


@pytest.fixture(scope="module")
def tried(product: Product, tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    """What the SDK made of each row's answers, one try more than the row counts."""
    sdk, directory = python_sdk("9"), tmp_path_factory.mktemp("errors-file")
    cases = directory / "cases.json"
    cases.write_text(json.dumps([{**row, "tries": row.get("times", 0) + 1} for row in ROWS]))
    program = Path(__file__).with_name("errors_file.py")
    options = ("--contract", str(FILE))
    done = product.run([sdk.runtime, program, cases], more=sdk.environment, cwd=directory, options=options)
    sys.stderr.write(done.stderr)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(ROWS)
    return found


@pytest.mark.parametrize("at", range(len(ROWS)), ids=[f"{row['error']}-{row['resource']}" for row in ROWS])
def test_the_sdk_raises_what_the_row_says(tried: list[list[dict[str, Any]]], at: int) -> None:
    row, tries = ROWS[at], tried[at]
    text = TEXTS[row["error"]]
    for got in tries[: row.get("times", 1)]:
        message = text["message"].replace("{From}", row["value"])
        assert (got["code"], got["status"]) == (row["error"], text.get("status", 400))
        assert got["message"] == PREFIX + message
        assert got["retry_after"] == row.get("headers", {}).get("Retry-After")
        assert got["seconds"] >= row.get("delay", 0) * 0.9
    if "times" in row:
        assert (tries[-1]["status"], tries[-1]["retry_after"]) == (201, None)

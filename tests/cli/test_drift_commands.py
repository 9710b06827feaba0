"""`ringback drift accept` and `schema`; what `drift` itself does is in test_drift."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from ringback.cli.drift import EXIT_INCOMPLETE, accept, schema, usage_errors

if TYPE_CHECKING:
    from pathlib import Path

TODAY = datetime.now(UTC).date()
LATER = str(TODAY + timedelta(days=30))


def accepting(
    file: Path, fingerprint: str = "0123456789ab", reason: str = "seen", expires: str = LATER
) -> list[str]:
    return [fingerprint, "--reason", reason, "--expires", expires, "--accepted", str(file)]


def test_a_finding_is_accepted_until_a_day_for_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "drift-accepted.yaml"
    for fingerprint in ("0123456789ab", "ba9876543210"):
        done = CliRunner().invoke(accept, accepting(file, fingerprint))
        assert done.exit_code == 0, done.output
        assert f"{fingerprint} is accepted until {LATER} in {file}" in done.stderr
    kept = yaml.safe_load(file.read_text())
    assert "0123456789ab" in str(kept)
    assert "ba9876543210" in str(kept)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"fingerprint": "0123"}, "'0123' is no fingerprint"),
        ({"reason": " "}, "say why"),
        ({"expires": "2020-01-01"}, "2020-01-01 has passed already"),
        ({"expires": "soon"}, "'soon' does not match the format"),
    ],
)
def test_a_mistake_writes_nothing(tmp_path: Path, wrong: dict[str, str], said: str) -> None:
    file = tmp_path / "drift-accepted.yaml"
    done = CliRunner().invoke(accept, accepting(file, **wrong))
    assert (done.exit_code, file.exists()) == (2, False)
    assert said in done.stderr


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "drift-accepted.yaml"
    file.write_text("[")
    done = CliRunner().invoke(accept, accepting(file))
    assert done.exit_code == EXIT_INCOMPLETE
    assert str(file) in done.stderr
    assert file.read_text() == "["


def test_the_schema_is_one() -> None:
    done = CliRunner().invoke(schema)
    jsonschema.Draft202012Validator.check_schema(json.loads(done.stdout))


def test_only_what_a_user_can_mend_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, usage_errors(ValueError):
        raise ValueError("mend this")
    assert ended.value.code == EXIT_INCOMPLETE
    assert capsys.readouterr().err == "ringback: mend this\n"
    with pytest.raises(KeyError), usage_errors(ValueError):
        raise KeyError

"""Inputs that a fuzzer found, once more; and at the large scale, looking for others, guided by coverage."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import fuzzing
from support.fuzzing import TARGETS, SlowError, corpus, time_limit

PROMISE = "no foreign bytes break a parser, and none take long"
TRIED = "the kept inputs of twelve targets; at the large scale, coverage-guided fuzzing"
SECONDS = int(os.environ.get("FUZZ_SECONDS", "30"))  # for each target
FUZZ = Path(fuzzing.__file__).with_name("fuzz.py")


@pytest.mark.parametrize("target", TARGETS)
def test_every_kept_input_is_borne(record_property: pytest.RecordProperty, target: str) -> None:
    inputs = corpus(target)
    record_property("tries", len(inputs))
    assert inputs
    for data in inputs:
        with time_limit():
            TARGETS[target](data)


@pytest.mark.skipif("TRUST_SCALE" not in os.environ, reason="large scale: scripts/test.py --trust")
@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="atheris is not installed")
@pytest.mark.parametrize("target", TARGETS)
def test_a_fuzzer_finds_no_other(record_property: pytest.RecordProperty, target: str) -> None:
    done = subprocess.run(
        [sys.executable, str(FUZZ), target, str(SECONDS)], capture_output=True, check=False, timeout=280
    )
    told = done.stderr.decode("utf-8", "replace")
    tried = re.search(r"number_of_executed_units: ([0-9]+)", told)
    record_property("tries", tried[1] if tried else 0)
    assert done.returncode == 0, told[-3000:]
    assert tried


def test_an_input_that_takes_long_is_a_violation() -> None:
    with time_limit(0.05), pytest.raises(SlowError):
        _endless()


def _endless() -> None:
    while True:
        pass


def test_a_kept_line_is_the_bytes_that_were_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fuzzing, "CORPUS", tmp_path)
    inputs = [bytes(range(256)), b"", b"a\nb\\n", "\u0661".encode()]
    fuzzing.keep("head", inputs)
    assert sorted(fuzzing.corpus("head")) == sorted(inputs)

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.dotnet import PROBE, PROBE_BUILT_BY, PROBE_SOURCE, compiled_for_mono
from support.launching import needs

if TYPE_CHECKING:
    from pathlib import Path


def test_the_probe_comes_from_its_source(tmp_path: Path) -> None:
    said = subprocess.run([needs("mcs"), "--version"], capture_output=True, text=True, check=True).stdout
    if not said.startswith(PROBE_BUILT_BY):
        pytest.skip(f"{said.strip()} is here; the probe was built by {PROBE_BUILT_BY}")
    assert PROBE.read_bytes() == compiled_for_mono(PROBE_SOURCE, tmp_path / PROBE.name).read_bytes()

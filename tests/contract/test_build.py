import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ringback.contract import ContractError, load, yaml_files
from ringback.contract.schema import BUILT


def test_the_file_that_is_read_at_start_is_built_from_those_that_people_write() -> None:
    advice = "run python -m ringback.contract.yaml_files"
    assert BUILT.read_bytes() == yaml_files.built(), advice


def test_it_says_what_the_yaml_files_say() -> None:
    assert msgspec.json.decode(yaml_files.built())["resources"][0]["magic"][0]["value"] == "+15005550001"
    assert load().errata


@pytest.mark.parametrize(
    "wrong, said",
    [
        ("magic: 1", "messages.yaml:1: "),
        ("[" * 9999, "nested too deeply"),
        ("a: 1\na: 2", "is there twice"),
    ],
)
def test_a_mistake_in_a_yaml_file_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, said: str
) -> None:
    data = Path(shutil.copytree(yaml_files.DATA, tmp_path / "data"))
    (data / "messages.yaml").write_text(wrong)
    monkeypatch.setattr(yaml_files, "DATA", data)
    with pytest.raises(ContractError, match=r"messages\.yaml") as caught:
        yaml_files.built()
    assert said in str(caught.value)


def test_the_documented_contract_is_read_without_pyyaml() -> None:
    program = "import sys; from ringback.contract import load; load(); sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

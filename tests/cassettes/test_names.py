from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringback.cassettes.files import (
    CassetteNameError,
    cassette_files,
    cassette_names,
    cassette_path,
    check_name,
    existing_path,
    free_path,
    used_instead,
)

GOOD = ["default", "a", "0", "Test_send-sms.2", "a..b", "x" * 100]
BAD = [
    "", ".", "..", "../x", "a/b", "/etc/passwd", "a\\b", "-a", ".hidden", "a b", "a\n", "a\0b", "\x1b[31m",
    "é", "x" * 101, "default.yaml", "a.JSON", "%2e%2e", "c:", "a:b", "~root", "*",
    "CON", "nul", "com1", "Lpt9.x",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_slugs_are_names(name: str, tmp_path: Path) -> None:
    assert check_name(name) == name
    assert cassette_path(tmp_path, name).parent == tmp_path


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused_in_one_printable_line(name: str, tmp_path: Path) -> None:
    for function in (
        check_name,
        lambda bad: cassette_path(tmp_path, bad),
        lambda bad: existing_path(tmp_path, bad),
    ):
        with pytest.raises(CassetteNameError) as caught:
            function(name)
        assert str(caught.value).isprintable()
        assert str(caught.value).isascii()
        assert len(str(caught.value)) < 250


@given(st.text(max_size=120))
def test_no_name_reaches_outside_the_directory(name: str) -> None:
    directory = Path("/tmp/cassettes")
    try:
        path = cassette_path(directory, name)
    except CassetteNameError:
        return
    assert path.resolve().parent == directory.resolve()


def test_yaml_comes_before_the_other_endings(tmp_path: Path) -> None:
    assert existing_path(tmp_path, "a") == tmp_path / "a.yaml"
    (tmp_path / "a.json").touch()
    assert existing_path(tmp_path, "a") == tmp_path / "a.json"
    (tmp_path / "a.yml").touch()
    assert existing_path(tmp_path, "a") == tmp_path / "a.yml"
    (tmp_path / "a.yaml").touch()
    assert existing_path(tmp_path, "a") == tmp_path / "a.yaml"
    files = [tmp_path / f"a{suffix}" for suffix in (".yaml", ".yml", ".json")]
    assert cassette_files(tmp_path, "a") == files
    assert [used_instead(path) for path in files] == [None, files[0], files[0]]
    assert used_instead(tmp_path / "a.yaml.new") is None


def test_cassettes_are_listed_by_name(tmp_path: Path) -> None:
    assert cassette_names(tmp_path / "absent") == ()
    for name in (
        "b.yaml",
        "a.json",
        "a.yaml",
        ".a.yaml.1.tmp",
        "c.yaml.new",
        "no cassette.yaml",
        "notes.txt",
    ):
        (tmp_path / name).touch()
    (tmp_path / "d.yaml").mkdir()
    assert cassette_names(tmp_path) == ("a", "b")


def test_a_free_name_is_numbered(tmp_path: Path) -> None:
    first = free_path(tmp_path, "a", "interrupted")
    first.touch()
    assert [first.name, free_path(tmp_path, "a", "interrupted").name] == [
        "a-interrupted-1.yaml",
        "a-interrupted-2.yaml",
    ]

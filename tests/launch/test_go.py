"""Go: `go test` must not answer from its cache, and whatever flags there are stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ringback.launch.environment import Proxy, prepare
from support.launching import needs

if TYPE_CHECKING:
    from pathlib import Path

    from ringback.launch.ca import Authority
    from support.launching import Launcher

SETTINGS_FILES = ["XDG_CONFIG_HOME", "HOME", "GOENV"]
TEST = """package once

import (
	"net/http"
	"strings"
	"testing"
)

func TestOnce(t *testing.T) {
	request, _ := http.NewRequest("POST", "https://api.twilio.com/x", strings.NewReader("To=1"))
	request.SetBasicAuth("x", "y")
	answer, err := http.DefaultClient.Do(request)
	if err != nil || answer.StatusCode != 201 {
		t.Fatal(answer, err)
	}
}
"""


@pytest.mark.parametrize(
    "old, new",
    [
        ("", "-count=1"),
        ("-v", "-v -count=1"),
        ("-count=5", "-count=5"),
        ("--count=5 -v", "--count=5 -v"),
        ("-test.v -counts=1", "-test.v -counts=1 -count=1"),
    ],
)
def test_flags_are_added_to(old: str, new: str, authority: Authority, tmp_path: Path) -> None:
    launch = prepare(Proxy("127.0.0.1", 7), authority, {"GOFLAGS": old, "HOME": "/none"}, tmp_path)
    assert launch.environment["GOFLAGS"] == new


@pytest.mark.parametrize("by", SETTINGS_FILES)
def test_flags_of_go_env_are_not_hidden(by: str, authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / {"XDG_CONFIG_HOME": "go/env", "HOME": ".config/go/env", "GOENV": "mine"}[by]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("GOPROXY=off\nGOFLAGS=-mod=mod -v=true\n")
    parent = {by: str(file if by == "GOENV" else tmp_path)}
    launch = prepare(Proxy("127.0.0.1", 7), authority, parent, tmp_path)
    assert launch.environment["GOFLAGS"] == "-mod=mod -v=true -count=1"


def test_a_settings_file_that_is_no_text_is_passed_over(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "env").write_bytes(b"GOFLAGS=\xff\n")
    launch = prepare(Proxy("127.0.0.1", 7), authority, {"GOENV": str(tmp_path / "env")}, tmp_path)
    assert launch.environment["GOFLAGS"] == "-count=1"


def test_go_test_sends_its_request_every_time(launcher: Launcher, tmp_path: Path) -> None:
    go = needs("go")
    (tmp_path / "go.mod").write_text("module once\n\ngo 1.18\n")
    (tmp_path / "once_test.go").write_text(TEST)
    # In the user's own build cache, where the first run may find an earlier one.
    launched = launcher({"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"})
    for count in (1, 2):
        done = launched.run([go, "test", "./..."], cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(launched.requests()) == count

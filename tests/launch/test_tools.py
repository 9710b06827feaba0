"""Command line tools: curl and wget find the CA, and what the user's own settings say stays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.launching import needs

if TYPE_CHECKING:
    from support.launching import Launcher

URL = "https://x:y@api.twilio.com/2010-04-01/Accounts/AC0/Messages.json"
COMMANDS = {
    "curl": ("-sS", "-d", "To=1", URL),
    "wget": ("-q", "-O", "-", "--post-data=To=1", "--auth-no-challenge", URL),
}


@pytest.mark.parametrize("tool", COMMANDS)
def test_a_request_arrives(tool: str, launcher: Launcher) -> None:
    launched = launcher()
    done = launched.run([needs(tool), *COMMANDS[tool]])
    assert done.stderr == ""
    assert done.stdout.startswith('{"account_sid"')
    assert [request["form"] for request in launched.requests()] == ["To=1"]


@pytest.mark.parametrize("where", ["WGETRC", "HOME"])
def test_wgets_own_settings_still_count(where: str, launcher: Launcher, tmp_path: Path) -> None:
    own = tmp_path / ".wgetrc"
    own.write_text("user_agent = mine")  # no newline at its end
    launched = launcher({where: str(own if where == "WGETRC" else tmp_path)})
    done = launched.run([needs("wget"), *COMMANDS["wget"]])
    assert done.returncode == 0, done.stderr
    assert [request["agent"] for request in launched.requests()] == ["mine"]
    assert own.read_text() == "user_agent = mine"


@pytest.mark.parametrize("parent", [{"HOME": ""}, {"WGETRC": "/not/there"}])
def test_without_own_settings_there_is_the_ca_alone(parent: dict[str, str], launcher: Launcher) -> None:
    launch = launcher(parent).launch
    text = Path(launch.environment["WGETRC"]).read_text()
    assert text == f"\nca_certificate = {launch.bundle}\n"

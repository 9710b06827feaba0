"""What `run` and `serve` share: options, the ready file, the summary."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from ringback import __version__
from ringback.cli.options import settings_options
from ringback.cli.output import wrap
from ringback.cli.startup import write_ready
from ringback.cli.summary import summary
from ringback.contract import Answer, Source
from ringback.settings import Settings
from ringback.tally import Tally


def given(*arguments: str, **environment: str) -> Settings:
    """The options that a command with these arguments and this environment gets."""
    got: list[Settings] = []

    @click.command()
    @settings_options("run")
    def command(options: Settings) -> None:
        got.append(options)

    done = CliRunner().invoke(command, list(arguments), env=environment)
    if done.exit_code:
        raise click.UsageError(done.output)
    return got[0]


def test_defaults() -> None:
    options = given()
    assert (options.mode, options.host, options.port) == ("offline", "127.0.0.1", 0)
    assert (options.contract, options.seed, options.ready_file, options.password) == ((), None, None, None)
    assert options.block_other_hosts is False
    assert options == Settings()


@pytest.mark.parametrize(
    "option, value, variable, attribute, wanted",
    [
        ("--mode", "offline", "RINGBACK_MODE", "mode", "offline"),
        ("--host", "::1", "RINGBACK_HOST", "host", "::1"),
        ("--port", "8080", "RINGBACK_PORT", "port", 8080),
        ("--reverse", "0", "RINGBACK_REVERSE", "reverse", 0),
        ("--transparent", "8081", "RINGBACK_TRANSPARENT", "transparent", 8081),
        ("--seed", "-3", "RINGBACK_SEED", "seed", -3),
        ("--contract", "own.yaml", "RINGBACK_CONTRACT", "contract", (Path("own.yaml"),)),
        ("--ready-file", "r.json", "RINGBACK_READY_FILE", "ready_file", Path("r.json")),
    ],
)
def test_every_option_is_a_variable_too(
    option: str, value: str, variable: str, attribute: str, wanted: object
) -> None:
    assert getattr(given(option, value), attribute) == wanted
    assert getattr(given(**{variable: value}), attribute) == wanted


def test_flags_and_lists_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(RINGBACK_BLOCK_OTHER_HOSTS="1").block_other_hosts is True
    assert given(RINGBACK_BLOCK_OTHER_HOSTS="0").block_other_hosts is False
    several = os.pathsep.join(["a.yaml", "b.yaml"])
    assert given(RINGBACK_CONTRACT=several).contract == (Path("a.yaml"), Path("b.yaml"))
    monkeypatch.setenv("RINGBACK_PROXY_PASSWORD", "open-sesame")
    assert given().password == "open-sesame"


def test_an_argument_wins_over_its_variable_and_a_blank_one_counts_as_none() -> None:
    assert given("--port", "1", RINGBACK_PORT="2").port == 1
    assert given(RINGBACK_PORT="", RINGBACK_MODE="", RINGBACK_SEED="").port == 0


@pytest.mark.parametrize(
    "arguments, environment, said",
    [
        (["--port", "65536"], {}, "65536 is not in the range"),
        (["--port", "x"], {}, "'x' is not a whole number"),
        ([], {"RINGBACK_PORT": "x"}, "'x' is not a whole number"),
        (["--mode", "fast"], {}, "'fast' is not one of"),
        (["--seed", "many"], {}, "'many' is not a whole number"),
        (["--ready-file", "."], {}, "is a directory"),
        (["--host", ""], {}, "name an address"),
        (["--cassette", "a/b"], {}, "cannot name a cassette"),
        (["--cassette", "-x"], {}, "cannot name a cassette"),
        ([], {"RINGBACK_CASSETTE": "c.yaml"}, "leave out the ending"),
    ],
)
def test_a_wrong_value_is_a_usage_error(arguments: list[str], environment: dict[str, str], said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        given(*arguments, **environment)


def test_an_error_names_what_was_given() -> None:
    with pytest.raises(click.UsageError, match="Invalid value for '--port': 'x'"):
        given("--port", "x", RINGBACK_PORT="1")
    with pytest.raises(click.UsageError, match="Invalid value for 'RINGBACK_PORT': 'x'"):
        given(RINGBACK_PORT="x")


def test_what_the_addon_is_reported() -> None:
    options = given("--seed", "7", "--contract", "a.yaml", "--block-other-hosts").addon_options()
    assert options["ringback_mode"] == "offline"
    assert options["ringback_seed"] == 7
    assert options["ringback_contract"] == ["a.yaml"]
    assert options["ringback_block_other_hosts"] is True


@pytest.mark.parametrize("option", ["--port", "--reverse", "--transparent"])
def test_a_port_may_be_any_and_0_is_a_free_one(option: str) -> None:
    name = option.removeprefix("--").replace("-", "_")
    for port in (0, 65535):
        assert getattr(given(option, str(port)), name) == port
    for port in (-1, 65536):
        with pytest.raises(click.UsageError, match="not in the range"):
            given(option, str(port))


# -- messages


def test_a_message_is_wrapped_between_words_on_a_terminal() -> None:
    url = "https://example.com/a-very-long-address/that-is-wider-than-the-line"
    line = f"ringback:   go to {url} and read it there"
    parts = wrap(line, 30)
    assert [part.strip() for part in parts.splitlines()] == ["ringback:   go to", url, "and read it there"]
    assert parts.splitlines()[1].startswith("    https"), "what follows is indented as the line is"
    assert wrap(line, 200) == line


# -- the ready file

RUNNING: Any = SimpleNamespace(
    host="127.0.0.1", port=4242, socks_port=4243, reverse_port=4244, transparent_port=None
)


def ready(file: Path | None, running: Any = RUNNING) -> dict[str, Any]:
    return write_ready(Settings(ready_file=file), running, Path("/ca/root.pem"), Path("/tmp/bundle.pem"))


def test_the_ready_file_has_everything_a_client_needs(tmp_path: Path) -> None:
    file = tmp_path / "ready.json"
    state = ready(file)
    assert json.loads(file.read_text()) == state
    assert state == {
        "pid": os.getpid(),
        "port": 4242,
        "proxy": "http://127.0.0.1:4242",
        "ca": "/ca/root.pem",
        "bundle": "/tmp/bundle.pem",
        "mode": "offline",
        "version": __version__,
        "socks": 4243,
        "reverse": 4244,
        "transparent": None,
        "user": None,
        "authenticated_proxy": None,
    }
    assert file.read_text().count("\n") == 1
    assert list(tmp_path.iterdir()) == [file], "nothing else is left there"


def test_an_ipv6_address_makes_a_url_that_clients_can_read(tmp_path: Path) -> None:
    state = ready(
        tmp_path / "r",
        SimpleNamespace(host="::1", port=4242, socks_port=None, reverse_port=None, transparent_port=None),
    )
    assert state["proxy"] == "http://[::1]:4242"


def test_an_old_ready_file_is_replaced_at_once(tmp_path: Path) -> None:
    file = tmp_path / "ready.json"
    file.write_text("old")
    with file.open() as reader:
        ready(file)
        assert reader.read() == "old", "whoever has it open reads a whole file"
    assert json.loads(file.read_text())["port"] == 4242


def test_a_ready_file_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "ready.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        ready(tmp_path / "ready.json")
    assert [it.name for it in tmp_path.iterdir()] == ["ready.json"]


@pytest.mark.parametrize("name", ["nowhere/ready.json", "ready"])
def test_the_error_about_a_ready_file_names_the_one_that_was_given(tmp_path: Path, name: str) -> None:
    (tmp_path / "ready").mkdir()
    with pytest.raises(OSError, match="directory") as told:
        ready(tmp_path / name)
    assert told.value.filename == f"--ready-file {tmp_path / name}"


def test_without_a_ready_file_nothing_is_written() -> None:
    assert ready(None)["port"] == 4242


# -- the summary


def tally(*sources: tuple[Source, int]) -> Tally:
    found = Tally()
    for source, status in sources:
        found.count(Answer(status, "", (), b"", source))
    return found


def test_nothing_came() -> None:
    assert summary(Tally(), "offline") == ["0 Twilio requests answered, offline"]


def test_who_answered_and_why_not() -> None:
    found = tally(
        (Source("contract", "Messages.from.valid"), 201),
        (Source("contract", "Messages.to.blocked"), 400),
        (Source("contract", "Messages.to.blocked"), 400),
        (Source("gate", "resource.unsupported", reason="use another"), 403),
        (Source("gate", "auth.missing", reason="never shown"), 401),
    )
    assert summary(found, "offline") == [
        "4 Twilio requests answered, offline (contract 3, gate 1)",
        "  1 x refused resource.unsupported: use another",
        "  2 x error Messages.to.blocked",
    ]


def test_one_is_singular() -> None:
    assert summary(tally((Source("contract", "r"), 201)), "offline")[0].startswith(
        "1 Twilio request answered"
    )

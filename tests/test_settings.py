"""The table of options: each one from each source, in its order, and the messages about mistakes."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import certifi
import click
import pytest
from click.testing import CliRunner

from ringback.cli.options import settings_options, table_option
from ringback.settings import OPTIONS, Settings, SettingsError, load, options_of, outside
from ringback.upstream.routes import Address
from support.clients import ACCOUNT, TOKEN

ROOTS = certifi.where()
# name: texts for the command line, the environment and the file, then the value that each gives
VALUES: dict[str, list[tuple[str, Any]]] = {
    "mode": [("auto", "auto"), ("online", "online"), ("offline", "offline")],
    "host": [("::1", "::1"), ("127.0.0.2", "127.0.0.2"), ("127.0.0.3", "127.0.0.3")],
    "repeats": [("error", "error"), ("last", "last"), ("error", "error")],
    "cassette": [("a", "a"), ("b", "b"), ("c", "c")],
    "texts": [("newest", "newest"), ("certain", "certain"), ("newest", "newest")],
    "account": [("trial", "trial"), ("upgraded", "upgraded"), ("trial", "trial")],
    "redact": [("To", ("To",)), ("Body", ("Body",)), ("From", ("From",))],
    "record_statuses": [("2xx", ("2xx",)), ("400", ("400",)), ("2xx,400", ("2xx,400",))],
    "match_ignore": [("To", ("To",)), ("Body=[0-9]+", ("Body=[0-9]+",)), ("A,B", ("A,B",))],
    "upstream": [(f"https://h:{port}", f"https://h:{port}") for port in (1, 2, 3)],
    "egress_proxy": [(f"http://p:{port}", f"http://p:{port}") for port in (1, 2, 3)],
    "upstream_ca": [(ROOTS, Path(ROOTS))] * 3,
    "contract": [(f"{name}.yaml", (Path(f"{name}.yaml"),)) for name in "abc"],
    "cassettes": [(name, Path(name)) for name in "abc"],
    "log_format": [("json", "json"), ("text", "text"), ("json", "json")],
    "witness": [("always", "always"), ("never", "never"), ("always", "always")],
    "web_port": [("1", 1), ("2", 2), ("3", 3)],
    "callbacks_to": [(f"{name}.example", (f"{name}.example",)) for name in "abc"],
    "callbacks_delay": [("0", 0.0), ("1.5", 1.5), ("2", 2.0)],
    "journal_file": [(f"{name}.jsonl", Path(f"{name}.jsonl")) for name in "abc"],
    "drift_report": [(f"{name}.json", Path(f"{name}.json")) for name in "abc"],
    "ready_file": [(f"{name}.json", Path(f"{name}.json")) for name in "abc"],
    "state": [(f"redis://{name}", f"redis://{name}") for name in "abc"],
    **{name: [(str(n), n) for n in (11, 12, 13)] for name in ("port", "reverse", "transparent", "seed")},
    **{name: [(str(n), n) for n in (11, 12, 13)] for name in ("max_live", "max_age", "journal")},
    **{name: [(str(n), n) for n in (1.5, 2.5, 3.5)] for name in ("connect_timeout", "timeout", "linger")},
}
FLAGS = (
    "allow_local_urls",
    "callbacks",
    "callbacks_hold",
    "ui",
    "open",
    "web",
    "block_other_hosts",
    "strict",
    "fail_on_unused",
    "replay_any",
    "allow_none",
    "mount_namespace",
    "traces",
    "quiet",
    "verbose",
)


def as_toml(name: str, text: str) -> str:
    return text if isinstance(VALUES[name][0][1], int | float) else f'"{text}"'


def by_click(arguments: list[str], environ: dict[str, str], command: Any) -> tuple[Settings | None, str, int]:
    """Settings, stderr and exit code of a command."""
    got: list[Settings] = []

    @click.command()
    @settings_options(command)
    def made(settings: Settings) -> None:
        got.append(settings)

    done = CliRunner().invoke(made, arguments, env=environ)
    return (got[0] if got else None), done.stderr, done.exit_code


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tables_here_have_every_option() -> None:
    assert {*VALUES, *FLAGS} == set(OPTIONS)


@pytest.mark.parametrize("name", list(VALUES))
def test_the_command_line_counts_before_the_environment_and_that_before_the_file(
    name: str, here: Path
) -> None:
    option, texts = OPTIONS[name], VALUES[name]
    command = option.commands[-1]
    (here / "ringback.toml").write_text(f"{option.key} = {as_toml(name, texts[2][0])}")
    environ, arguments = {option.variable: texts[1][0]}, [option.flag, texts[0][0]]
    given = {name: [texts[0][0]] if option.is_list else texts[0][0]}
    for settings in (load(given, environ, here, command=command), by_click(arguments, environ, command)[0]):
        assert getattr(settings, name) == texts[0][1]
    for settings in (load({}, environ, here, command=command), by_click([], environ, command)[0]):
        assert getattr(settings, name) == texts[1][1]
    for settings in (load({}, {}, here, command=command), by_click([], {}, command)[0]):
        assert getattr(settings, name) == texts[2][1]
    for settings in (load({}, {option.variable: ""}, here, command=command),):
        assert getattr(settings, name) == texts[2][1], "an empty variable gives nothing"


@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_of_the_file_is_undone_by_the_environment_and_set_by_the_command_line(
    name: str, here: Path
) -> None:
    option = OPTIONS[name]
    command = option.commands[-1]
    (here / "ringback.toml").write_text(f"{option.key} = true")
    for environ, arguments, wanted in (
        ({}, [], True),
        ({option.variable: "0"}, [], False),
        ({option.variable: "0"}, [option.flag], True),
    ):
        assert getattr(by_click(arguments, environ, command)[0], name) is wanted
        given = {name: True} if arguments else {}
        assert getattr(load(given, environ, here, command=command), name) is wanted


@pytest.mark.parametrize("command", ["run", "serve", "addon"])
def test_without_any_source_every_option_has_its_default(command: Any, here: Path) -> None:
    settings = load({}, {}, here, command=command)
    for option in options_of(command):
        assert getattr(settings, option.name) == option.default
    assert settings.routes.upstream is None


def test_both_ways_to_write_a_key_and_both_files_are_read(here: Path) -> None:
    (here / "pyproject.toml").write_text("[tool.ringback]\nmax-live = 3\nmax_live2 = 1")
    with pytest.raises(SettingsError, match=r"^pyproject\.toml: max_live2: .*did you mean max-live\?"):
        load({}, {}, here)
    (here / "pyproject.toml").write_text("[tool.ringback]\nmax_live = 3")
    assert load({}, {}, here).max_live == 3
    (here / "ringback.toml").write_text("max-live = 4")
    assert load({}, {}, here).max_live == 4


def test_the_nearest_file_counts_and_its_paths_begin_where_it_lies(here: Path) -> None:
    (here / "ringback.toml").write_text('cassettes = "tapes"\nredact = ["To", "Body"]')
    deep = here / "a" / "b"
    deep.mkdir(parents=True)
    (here / "a" / "pyproject.toml").write_text("[tool.other]\nx = 1")
    settings = load({}, {}, deep)
    assert settings.cassettes == here / "tapes"
    assert settings.redact == ("To", "Body")
    assert load({}, {}, here).cassettes == Path("tapes")


def test_a_directory_that_everybody_may_write_to_is_passed_over(here: Path) -> None:
    (here / "ringback.toml").write_text("seed = 1")
    here.chmod(0o1777)
    assert load({}, {}, here).seed is None


@pytest.mark.parametrize(
    "text, said",
    [
        ("mdoe = 'auto'", "ringback.toml: mdoe: there is no such option; did you mean mode?"),
        ("zzzzzz = 1", "ringback.toml: zzzzzz: there is no such option; there are account, "),
        ("port = '8080'", "ringback.toml: port: '8080' is not a whole number"),
        ("port = true", "ringback.toml: port: True is not a whole number"),
        ("port = 70000", "ringback.toml: port: 70000 is not in the range 0 to 65535"),
        ("max-live = -1", "ringback.toml: max-live: -1 is below 0"),
        ("timeout = '3'", "ringback.toml: timeout: '3' is not a number"),
        ("timeout = 0", "ringback.toml: timeout: '0' is not a number of seconds above 0"),
        ("strict = 'yes'", "ringback.toml: strict: 'yes' is neither true nor false"),
        ("redact = [1]", "ringback.toml: redact: 1 is not text in quotes"),
        ("mode = 'fast'", "ringback.toml: mode: 'fast' is not one of: offline, auto, online"),
        ("cassettes = {}", "ringback.toml: cassettes: {} is not text in quotes"),
        ("proxy-password = 'x'", "no secret belongs in a file: set RINGBACK_PROXY_PASSWORD instead"),
        ("test_auth_token = 'x'", "no secret belongs in a file: set RINGBACK_TEST_AUTH_TOKEN instead"),
        ("mode = ", "ringback.toml: Invalid value (at "),
    ],
)
def test_a_mistake_in_the_file_names_file_key_and_cause(here: Path, text: str, said: str) -> None:
    (here / "ringback.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load({}, {}, here)
    assert said in str(caught.value)
    settings, printed, code = by_click([], {}, "serve")
    assert (settings, code) == (None, 2)
    assert f"Error: Invalid value for '{caught.value.place}': {caught.value.cause}" in printed


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("mode", "fast", "'fast' is not one of: offline, auto, online"),
        ("port", "x", "'x' is not a whole number"),
        ("timeout", "inf", "'inf' is not a number of seconds above 0"),
        ("linger", "-1", "-1.0 is below 0"),
        ("host", " ", "it is empty"),
        ("upstream", "http://example.com", "credentials go to this machine alone without TLS"),
        ("upstream", "https://me:secret@127.0.0.1:1", "it has a user name, which is never sent"),
        ("upstream_ca", "missing.pem", "missing.pem: No such file or directory"),
        ("upstream_ca", "ringback.pem", "ringback.pem: it holds no certificate in PEM"),
        ("egress_proxy", "socks5://p:1", "the scheme 'socks5' is neither https nor http"),
        ("cassette", "a/b", "cannot name a cassette"),
        ("cassettes", "ringback.pem", "ringback.pem is a file"),
        ("contract", ".", ". is a directory"),
        ("ready_file", ".", ". is a directory"),
        ("drift_report", "r.doc", "r.doc: the ending names the form, one of .json, "),
        ("drift_report", "nowhere/r.json", "nothing can be written there"),
    ],
)
def test_a_refused_value_names_the_option_or_the_variable(
    here: Path, name: str, text: str, said: str
) -> None:
    (here / "ringback.pem").write_text("nothing")
    option = OPTIONS[name]
    command = option.commands[-1]
    for arguments, environ, place in (
        ([f"{option.flag}={text}"], {}, option.flag),
        ([], {option.variable: text}, option.variable),
    ):
        settings, printed, code = by_click(arguments, environ, command)
        assert (settings, code) == (None, 2)
        assert f"Invalid value for '{place}': " in printed
        assert said in printed
        given = {name: [text] if option.is_list else text} if arguments else {}
        with pytest.raises(SettingsError) as caught:
            load(given, environ, here, command=command)
        assert caught.value.place == place
        assert said in caught.value.cause
        assert "secret" not in str(caught.value)


def test_secrets_come_from_the_environment_and_are_never_shown(here: Path) -> None:
    environ = {
        "RINGBACK_TEST_ACCOUNT_SID": ACCOUNT,
        "RINGBACK_TEST_AUTH_TOKEN": TOKEN,
        "RINGBACK_PROXY_PASSWORD": "open-sesame",
        "RINGBACK_EGRESS_PROXY": "http://me:hidden@p:1",
    }
    settings = load({}, environ, here)
    assert (settings.credentials.sid, settings.credentials.token) == (ACCOUNT, TOKEN)
    assert settings.password == "open-sesame"
    for secret in (TOKEN, "open-sesame", "hidden"):
        assert secret not in repr(settings)
    del environ["RINGBACK_TEST_AUTH_TOKEN"]
    with pytest.raises(SettingsError, match=r"^set both "):
        load({}, environ, here)
    assert by_click([], environ, "serve")[2] == 2


def test_the_proxy_is_not_its_own_egress_proxy(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:8080")
    assert load({"port": "8080"}, {}, here).egress.proxies == ()
    assert load({"port": "8081"}, {}, here).egress.proxy("api.twilio.com") == Address(
        "http", "127.0.0.1", 8080
    )


def test_the_addon_gets_every_one_of_its_options_in_mitmproxys_types(here: Path) -> None:
    settings = load({"timeout": "1.5", "contract": ["a.yaml"], "seed": "7"}, {}, here)
    told = settings.addon_options()
    assert set(told) == {option.addon_name for option in options_of("addon")}
    assert (told["ringback_timeout"], told["ringback_seed"]) == ("1.5", 7)
    assert (told["ringback_contract"], told["ringback_cassettes"]) == (["a.yaml"], "cassettes")


def test_another_command_may_have_an_option_of_the_table(here: Path) -> None:
    @click.command()
    @table_option("cassettes")
    def command(cassettes: Path) -> None:
        click.echo(cassettes)

    (here / "ringback.toml").write_text('cassettes = "tapes"')
    assert CliRunner().invoke(command, []).output == "tapes\n"
    assert CliRunner().invoke(command, ["--cassettes", "x"]).output == "x\n"


def test_a_name_is_one_option_however_it_is_written() -> None:
    for option in OPTIONS.values():
        assert option.flag == "--" + option.key
        assert option.variable.lower() == option.addon_name
    fields = {one.name for one in dataclasses.fields(Settings)}
    assert fields == {*OPTIONS, "password", "credentials", "egress"}


def test_settings_are_read_without_mitmproxy_and_without_the_contract() -> None:
    code = (
        "import sys; import ringback.settings; "
        "assert not {'mitmproxy', 'yaml', 'ssl', 'tomllib', 'click'} & set(sys.modules), sorted(sys.modules);"
        "import os, pathlib; ringback.settings.load({}, {}, pathlib.Path.cwd());"
        "assert 'mitmproxy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_a_file_nothing_comes_from_one(here: Path) -> None:
    (here / "pyproject.toml").write_text('[project]\nname = "ringback-user"')
    (here / "broken").mkdir()
    assert outside({}, here / "broken").values == {}

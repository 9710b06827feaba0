"""The addon's options, and which of mitmproxy's own it refuses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from mitmproxy import exceptions

from ringback.mitmproxy_addon import RingbackAddon
from support.clients import ACCOUNT, TOKEN
from support.mitm import loaded, taddons

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def addon() -> RingbackAddon:
    return RingbackAddon()


@pytest.fixture
def context(addon: RingbackAddon) -> Iterator[taddons.context]:
    with loaded(addon) as found:
        yield found


def test_defaults(addon: RingbackAddon, context: taddons.context) -> None:
    settings = addon.settings
    assert (settings.mode, settings.contract, settings.seed) == ("offline", (), None)
    assert settings.block_other_hosts is False
    assert (settings.credentials.sid, settings.password) == (None, None)
    assert context.options.listen_host == "127.0.0.1"
    assert context.options.connection_strategy == "lazy"


def test_every_option_has_a_help_text_and_a_name_of_ours(context: taddons.context) -> None:
    own = [name for name in context.options.keys() if name.startswith("ringback_")]  # noqa: SIM118 - it is no dict
    assert {"ringback_mode", "ringback_contract", "ringback_seed", "ringback_block_other_hosts"} <= set(own)
    assert all(len(context.options._options[name].help) > 20 for name in own)


@pytest.mark.parametrize(
    "variable, value, option, wanted",
    [
        ("RINGBACK_MODE", "offline", "ringback_mode", "offline"),
        ("RINGBACK_SEED", "7", "ringback_seed", 7),
        ("RINGBACK_SEED", "", "ringback_seed", None),
        ("RINGBACK_BLOCK_OTHER_HOSTS", "1", "ringback_block_other_hosts", True),
        ("RINGBACK_BLOCK_OTHER_HOSTS", "true", "ringback_block_other_hosts", True),
        ("RINGBACK_BLOCK_OTHER_HOSTS", "0", "ringback_block_other_hosts", False),
    ],
)
def test_defaults_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, option: str, wanted: object
) -> None:
    monkeypatch.setenv(variable, value)
    with loaded(RingbackAddon()) as context:
        assert getattr(context.options, option) == wanted


def test_contract_files_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for file in files:
        file.write_text("{}")
    monkeypatch.setenv("RINGBACK_CONTRACT", os.pathsep.join(map(str, files)))
    addon = RingbackAddon()
    with loaded(addon):
        assert addon.settings.contract == tuple(files)


def test_a_seed_that_is_no_number_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_SEED", "many")
    addon = RingbackAddon()
    with loaded(addon):
        assert addon.broken == "RINGBACK_SEED: 'many' is not a whole number"


def test_an_unknown_mode_lists_the_modes(addon: RingbackAddon, context: taddons.context) -> None:
    with pytest.raises(exceptions.OptionsError, match=r"ringback_mode: 'fast' .*offline"):
        context.configure(addon, ringback_mode="fast")


def test_a_contract_file_with_a_mistake_names_option_file_and_line(
    addon: RingbackAddon, context: taddons.context, tmp_path: Path
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("magic:\n- {}\n")
    with pytest.raises(exceptions.OptionsError) as caught:
        context.configure(addon, ringback_contract=[str(file)])
    assert str(caught.value).startswith(f"ringback_contract: {file}:2: $.magic[0]: ")


def test_a_contract_file_takes_effect(addon: RingbackAddon, context: taddons.context, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text('magic: [{resource: Messages, parameter: Body, value: "x", error: 21610}]')
    context.configure(addon, ringback_contract=[str(file)])
    assert addon.responder.contract.magic("Messages", "Body", "x") is not None


def test_fields_to_redact_are_spelled_as_the_contract_does(
    addon: RingbackAddon, context: taddons.context
) -> None:
    context.configure(addon, ringback_redact=["to, status_callback", "TO"])
    assert addon.responder.cassettes is not None
    assert addon.responder.cassettes.wanted.redact == ("To", "StatusCallback")


@pytest.mark.parametrize("mode", ["offline", "auto"])
@pytest.mark.parametrize(
    "fields, said",
    [("to,boddy", "'boddy' is no parameter .* did you mean Body"), ("To;Body", "'To;Body' cannot name")],
)
def test_a_field_that_nothing_has_is_refused(
    addon: RingbackAddon, context: taddons.context, mode: str, fields: str, said: str
) -> None:
    with pytest.raises(exceptions.OptionsError, match=f"ringback_redact: {said}"):
        context.configure(addon, ringback_mode=mode, ringback_redact=[fields])


def test_reconfiguring_keeps_the_counts(addon: RingbackAddon, context: taddons.context) -> None:
    tally = addon.responder.tally
    context.configure(addon, ringback_seed=3)
    assert addon.settings.seed == 3
    assert addon.responder.tally is tally


@pytest.mark.parametrize(
    "name", ["RINGBACK_TEST_ACCOUNT_SID", "RINGBACK_TEST_AUTH_TOKEN", "RINGBACK_PROXY_PASSWORD"]
)
def test_credentials_that_no_header_can_carry_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "\udcff")
    addon = RingbackAddon()
    with loaded(addon):
        assert addon.broken == f"{name} has characters that are not ASCII"


@pytest.mark.parametrize("sid, token", [(ACCOUNT, None), (None, TOKEN), (ACCOUNT, ""), ("", TOKEN)])
def test_half_a_pair_is_refused(monkeypatch: pytest.MonkeyPatch, sid: str | None, token: str | None) -> None:
    for name, value in (("RINGBACK_TEST_ACCOUNT_SID", sid), ("RINGBACK_TEST_AUTH_TOKEN", token)):
        if value is not None:
            monkeypatch.setenv(name, value)
    addon = RingbackAddon()
    with loaded(addon):
        assert addon.broken == "set both RINGBACK_TEST_ACCOUNT_SID and RINGBACK_TEST_AUTH_TOKEN, or neither"


def test_a_pair_and_the_password_are_read_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGBACK_TEST_ACCOUNT_SID", ACCOUNT)
    monkeypatch.setenv("RINGBACK_TEST_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RINGBACK_PROXY_PASSWORD", "open-sesame")
    addon = RingbackAddon()
    with loaded(addon):
        assert (addon.settings.credentials.sid, addon.settings.credentials.token) == (ACCOUNT, TOKEN)
        assert addon.settings.password == "open-sesame"
        assert TOKEN not in repr(addon.settings)
        assert "open-sesame" not in repr(addon.settings)


@pytest.mark.parametrize(
    "option, value",
    [
        ("ignore_hosts", [".*"]),
        ("ignore_hosts", [r"^api\.twilio\.com:443$"]),
        ("allow_hosts", ["example"]),
        ("tcp_hosts", [".*"]),
        ("udp_hosts", [".*"]),
    ],
)
def test_what_could_let_twilio_past_is_refused(
    addon: RingbackAddon, context: taddons.context, option: str, value: Any
) -> None:
    with pytest.raises(exceptions.OptionsError, match=f"{option} could let Twilio's hosts past Ringback"):
        context.configure(addon, **{option: value})


def test_connecting_before_a_request_is_undone(addon: RingbackAddon, context: taddons.context) -> None:
    context.configure(addon, connection_strategy="eager")
    assert context.options.connection_strategy == "lazy"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "proxy.example"])
def test_an_open_listener_wants_a_password(
    addon: RingbackAddon, context: taddons.context, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    with pytest.raises(exceptions.OptionsError, match="set RINGBACK_PROXY_PASSWORD"):
        context.configure(addon, listen_host=host)
    monkeypatch.setenv("RINGBACK_PROXY_PASSWORD", "x")
    guarded = RingbackAddon()
    with loaded(guarded) as other:
        other.configure(guarded, listen_host=host)
        assert other.options.listen_host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_loopback_wants_none(addon: RingbackAddon, context: taddons.context, host: str) -> None:
    context.configure(addon, listen_host=host)
    assert context.options.listen_host == host


def test_a_mode_with_its_own_address_is_looked_at_too(addon: RingbackAddon, context: taddons.context) -> None:
    with pytest.raises(exceptions.OptionsError, match=r"0\.0\.0\.0 is reachable"):
        context.configure(addon, mode=["regular@0.0.0.0:0"])


@pytest.mark.parametrize(
    "given, variable",
    [
        ("ringback_seed=x", ""),
        ("ringback_block_other_hosts=maybe", ""),
        ("ringback_max_live=many", ""),
        ("", "RINGBACK_SEED"),
    ],
)
def test_a_wrong_value_does_not_leave_the_addon_out(
    given: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What fails while a script loads, mitmproxy drops without a word: it would go on without the addon.
    if variable:
        monkeypatch.setenv(variable, "x")
    addon = RingbackAddon()
    with loaded(addon, given=(given,) if given else ()):
        assert addon.broken is not None
        assert (given.partition("=")[0] or variable) in addon.broken


def test_values_given_before_the_addon_was_there_are_taken_over() -> None:
    addon = RingbackAddon()
    given = ("ringback_seed=7", "ringback_block_other_hosts", "ringback_redact=To", "ringback_redact=Body")
    with loaded(addon, given=given) as context:
        assert (addon.settings.seed, addon.settings.block_other_hosts) == (7, True)
        assert list(context.options.ringback_redact) == ["To", "Body"]


def test_a_right_value_given_before_the_addon_is_loaded_counts() -> None:
    addon = RingbackAddon()
    with loaded(addon, given=("ringback_seed=7", "ringback_block_other_hosts=true")):
        assert (addon.settings.seed, addon.settings.block_other_hosts) == (7, True)


def test_a_stand_in_is_named_without_credentials(addon: RingbackAddon, context: taddons.context) -> None:
    with pytest.raises(exceptions.OptionsError, match="ringback_upstream: it has a user name") as told:
        context.configure(addon, ringback_upstream="https://me:secret@127.0.0.1:1")
    assert "secret" not in str(told.value)

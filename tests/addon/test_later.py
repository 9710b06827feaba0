from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("flask", "ldap3", "passlib", "urwid", "werkzeug")


def loaded(code: str) -> set[str]:
    """The modules that a Python has loaded after `code`."""
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{code}\nimport sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    return set(told.stdout.split())


def test_the_server_imports_nothing_of_mitmproxys_programs() -> None:
    modules = loaded("import ringback.addon.server")
    assert "mitmproxy.addons.tlsconfig" in modules
    assert not modules.intersection(HEAVY)


def test_what_mitmproxy_imports_for_later_is_executed_when_it_is_used() -> None:
    modules = loaded("import ringback.addon.server")
    assert not modules.intersection({"pyparsing.core", "ruamel.yaml.main", "service_identity.hazmat", "attr"})
    code = """
import io
import ringback.addon.server, mitmproxy.command, mitmproxy.optmanager, mitmproxy.options
assert mitmproxy.command.unquote("'a b'") == "a b"
assert list(mitmproxy.command.command_lexer.expr.parseString("set 'a b'")) == ["set", " ", "'a b'"]
mitmproxy.optmanager.serialize(mitmproxy.options.Options(), out := io.StringIO(), "")
assert mitmproxy.optmanager.parse("a: 1") == {"a": 1}
import aioquic.tls
assert issubclass(aioquic.tls.service_identity.CertificateError, Exception)
"""
    assert loaded(code).issuperset({"pyparsing.core", "ruamel.yaml.main", "service_identity.hazmat"})


def test_mitmproxys_own_list_of_addons_is_still_there() -> None:
    code = """
import ringback.addon.plumbing, mitmproxy.addons
assert len(mitmproxy.addons.default_addons()) > 25
from mitmproxy.addons import onboarding
"""
    assert "flask" in loaded(code)


def test_inside_mitmproxys_programs_its_package_stays() -> None:
    code = """
import mitmproxy.addons
package = mitmproxy.addons
import ringback.addon.plumbing, sys
assert sys.modules["mitmproxy.addons"] is package
"""
    assert "flask" in loaded(code)


@pytest.mark.parametrize(
    "arguments,unwanted",
    [
        (["--version"], {"mitmproxy", "yaml", "msgspec", "phonenumbers", "vcr", "asyncio", "ssl"}),
        (["--help"], {"mitmproxy", "yaml", "msgspec", "phonenumbers", "vcr"}),
        (
            ["contract", "explain", "POST", "Messages", "From=+15005550001"],
            {"mitmproxy", "vcr", "OpenSSL", "httptools"},
        ),
    ],
    ids=["version", "help", "explain"],
)
def test_a_command_imports_what_it_needs(arguments: list[str], unwanted: set[str]) -> None:
    code = f"""
from ringback.cli import ringback
try:
    ringback({arguments!r}, prog_name="ringback")
except SystemExit as end:
    assert not end.code, end.code
"""
    assert not loaded(code).intersection(unwanted)

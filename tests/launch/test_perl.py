"""Perl's clients: LWP and Mojo read the proxy's variables only where another variable says so."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.launching import needs

if TYPE_CHECKING:
    from support.launching import Launcher

URL = "https://api.twilio.com/2010-04-01/Accounts/AC0/Messages.json"
CLIENTS = {
    "LWP::Protocol::https": f"""
use LWP::UserAgent;
print LWP::UserAgent->new->post('{URL}', [To => 1], Authorization => 'Basic eDp5')->code;
""",
    "Mojo::UserAgent": f"""
use Mojo::UserAgent;
print Mojo::UserAgent->new->post('{URL}', {{Authorization => 'Basic eDp5'}}, form => {{To => 1}})->res->code;
""",
    "HTTP::Tiny": f"""
use HTTP::Tiny;
print HTTP::Tiny->new(verify_SSL => 1)->post_form('{URL}', [To => 1], {{headers => {{
  Authorization => 'Basic eDp5'}}}})->{{status}};
""",
}


@pytest.mark.parametrize("module", CLIENTS)
def test_a_client_without_options_arrives(module: str, launcher: Launcher) -> None:
    perl = needs("perl")
    wanted = [perl, "-MIO::Socket::SSL", f"-M{module}", "-e", "1"]
    if subprocess.run(wanted, capture_output=True, check=False).returncode:
        pytest.skip(f"Perl's {module} with TLS is not installed here")
    launched = launcher()
    done = launched.run([perl, "-e", CLIENTS[module]])
    assert (done.stdout, done.stderr) == ("201", "")
    assert len(launched.requests()) == 1

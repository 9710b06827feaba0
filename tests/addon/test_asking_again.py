"""What a finding of a running proxy says of how to see it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ringback import contract
from ringback.addon.forwarding import forwarder
from ringback.cassettes.manager import CassetteManager, CassetteOptions
from ringback.drift.monitor import DriftMonitor
from ringback.responder import Responder
from ringback.settings import Settings
from support.drifting import ACCOUNT, documented, failing, probe


def asked_again(**settings: Any) -> str:
    """What a finding says of how to see it again."""
    loaded = contract.load()
    drift = DriftMonitor(loaded, "somebody", lambda _: None)
    made = forwarder(
        Responder(loaded),
        Settings(mode="online", **settings),
        CassetteManager(CassetteOptions(), "online"),
        drift,
        lambda _: None,
    )
    made.close()
    return " ".join(drift.arguments)


def test_findings_are_seen_again_where_they_were_seen() -> None:
    assert asked_again() == ""
    upstream = "https://user:secret@127.0.0.1:4010"
    found = asked_again(
        upstream=upstream, upstream_ca=Path("ca.pem"), contract=(Path("a.yaml"), Path("b.yaml"))
    )
    wanted = "--upstream https://127.0.0.1:4010 --upstream-ca ca.pem --contract a.yaml --contract b.yaml"
    assert found == wanted


def test_a_finding_tells_how_to_see_it_again() -> None:
    drift = DriftMonitor(contract.load(), "somebody", lambda _: None)
    request = probe("Messages.to.blocked").request(ACCOUNT)
    drift.observe(request, failing(30003)(documented(request)), "c.yaml:1")
    (finding,) = drift.findings()
    assert finding.reproduce == "ringback drift --only Messages.to.blocked"
    drift.arguments = ("--upstream", "http://127.0.0.1:1", "--contract", "a b.yaml")
    (finding,) = drift.findings()
    wanted = "ringback drift --upstream http://127.0.0.1:1 --contract 'a b.yaml' --only Messages.to.blocked"
    assert finding.reproduce == wanted

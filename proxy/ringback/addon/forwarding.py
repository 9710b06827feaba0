"""The forwarder that the options ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringback.drift.monitor import outcome_difference
from ringback.upstream.client import UpstreamClient
from ringback.upstream.forwarder import Forwarder, Gateway

if TYPE_CHECKING:
    from collections.abc import Callable

    from ringback.cassettes.manager import CassetteManager
    from ringback.drift.monitor import DriftMonitor
    from ringback.responder import Responder
    from ringback.settings import Settings


def gateway(settings: Settings) -> Gateway:
    """The way to the live API, with connections and proofs of its own."""
    return Gateway(UpstreamClient(settings.upstream_ca, settings.timeouts), settings.routes)


def forwarder(
    responder: Responder,
    settings: Settings,
    replay: CassetteManager,
    drift: DriftMonitor,
    warn: Callable[[str], None],
) -> Forwarder:
    """Who forwards for `responder`, records with `replay` and shows `drift` what came back."""
    drift.arguments = _asking_again(settings)
    return Forwarder(
        gateway(settings),
        refuse=responder.refusal,
        tally=responder.tally,
        compare=outcome_difference,
        auto=settings.mode == "auto",
        record=replay.record,
        observe=drift.observe,
        unanswered=replay.unanswered,
        max_live=settings.max_live,
        warn=warn,
        pause=max(settings.timeouts.connect, settings.timeouts.answer),
    )


def _asking_again(settings: Settings) -> tuple[str, ...]:
    """The options with which `ringback drift` asks whom this proxy asks."""
    values = (
        ("--upstream", settings.routes.upstream),
        ("--upstream-ca", settings.upstream_ca),
        *(("--contract", path) for path in settings.contract),
    )
    return tuple(word for option, value in values if value for word in (option, str(value)))

"""Node.js: twilio 2 to 6, axios, request, fetch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringback.launch.settings import Setting, quoted, shim

if TYPE_CHECKING:
    from ringback.launch.settings import Context


def _options(context: Context, old: str) -> str:
    """Never `--use-env-proxy` here: Node 20 refuses to start with an option that it does not know."""
    return f"{old} --require {quoted(str(shim(context, 'node', 'preload.cjs')))}".strip()


def _extra(context: Context, old: str) -> str:
    return str(context.bundles.adding("NODE_EXTRA_CA_CERTS", old))


SETTINGS = (
    Setting("NODE_EXTRA_CA_CERTS", _extra, "added to Node's own roots, for every client"),
    Setting("NODE_USE_ENV_PROXY", lambda *_: "1", "newer Node's fetch and https use the proxy variables"),
    Setting(
        "NODE_OPTIONS",
        _options,
        "carries the preload that gives older Node's fetch, https's own agent and undici 8 a proxy",
    ),
)

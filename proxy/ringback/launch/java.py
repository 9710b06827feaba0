"""Java: no variable of the environment reaches its clients, so everything goes through JAVA_TOOL_OPTIONS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringback.launch.settings import Setting, quoted
from ringback.launch.truststore import PASSWORD, write_jks

if TYPE_CHECKING:
    from ringback.launch.settings import Context

AGENT = "ringback-agent.jar"


def _options(context: Context, old: str) -> str:
    """What comes later wins, so an inherited option of the same name loses to ours."""
    store = context.directory / "truststore.jks"
    write_jks(store, context.bundles.default)
    options = [
        f"-Djavax.net.ssl.trustStore={store}",
        "-Djavax.net.ssl.trustStoreType=JKS",
        f"-Djavax.net.ssl.trustStorePassword={PASSWORD}",
        f"-Dhttps.proxyHost={context.proxy.host}",
        f"-Dhttps.proxyPort={context.proxy.port}",
        "-Dhttp.nonProxyHosts=",
    ]
    return " ".join([old, *(quoted(option) for option in options)]).strip()


SETTINGS = (Setting("JAVA_TOOL_OPTIONS", _options, "proxy and trust store for every JVM that is started"),)

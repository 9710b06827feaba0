"""Java: no variable of the environment reaches its clients, so an agent goes in through JAVA_TOOL_OPTIONS.

Its source is `shims/RingbackAgent.java`. Properties alone (-Dhttps.proxyHost) miss twilio-java before 7.5 and
every client with a builder of its own, and catch Maven's downloads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringback.launch.settings import Setting, quoted, shim

if TYPE_CHECKING:
    from ringback.launch.settings import Context

SHIM = "ringback-agent.jar"


def _options(context: Context, old: str) -> str:
    jar = shim(context, "java", SHIM)
    proxy = context.proxy
    # Without a SOCKS listener bare sockets find nobody at port 0 and fail, which is better than a bypass.
    argument = f"{proxy.host},{proxy.port},{proxy.socks_port or 0},{context.directory}"
    return f"{old} {quoted(f'-javaagent:{jar}={argument}')}".strip()


SETTINGS = (
    Setting("JAVA_TOOL_OPTIONS", _options, "every JVM that is started, also Surefire's and Gradle's workers"),
)

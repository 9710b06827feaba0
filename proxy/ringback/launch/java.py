"""Java: no variable of the environment reaches its clients, so an agent goes in through JAVA_TOOL_OPTIONS.

Its source is `shims/RingbackAgent.java`. Properties alone (-Dhttps.proxyHost) miss twilio-java before 7.5 and
every client with a builder of its own, and catch Maven's downloads.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ringback.launch.settings import Setting, quoted, shim

if TYPE_CHECKING:
    from ringback.launch.settings import Context

SHIM = "ringback-agent.jar"

IMAGE_ADVICE = (
    "{} belongs to a Java image without java.instrument, and no JVM starts with Ringback's agent that lacks "
    "it: add it, `jlink --add-modules java.instrument,…`."
)

_MODULES = re.compile(r'^MODULES="(.*)"', re.MULTILINE)


def image_without_agents(program: Path) -> bool:
    """Whether a program lies in a Java image that `jlink` made without the module that agents need."""
    try:
        release = (program.resolve().parents[1] / "release").read_text(errors="replace")
    except (OSError, IndexError):
        return False
    modules = _MODULES.search(release)
    return modules is not None and "java.instrument" not in modules[1].split()


def _warn(context: Context) -> None:
    home, path = context.parent.get("JAVA_HOME"), context.parent.get("PATH", "")
    for program in (home and f"{home}/bin/java", shutil.which("java", path=path)):
        if program and image_without_agents(Path(program)):
            context.warn(IMAGE_ADVICE.format(program))


def _options(context: Context, old: str) -> str:
    _warn(context)
    jar = shim(context, "java", SHIM)
    proxy = context.proxy
    # Without a SOCKS listener bare sockets find nobody at port 0 and fail, which is better than a bypass.
    argument = f"{proxy.host},{proxy.port},{proxy.socks_port or 0},{context.directory}"
    return f"{old} {quoted(f'-javaagent:{jar}={argument}')}".strip()


SETTINGS = (
    Setting("JAVA_TOOL_OPTIONS", _options, "every JVM that is started, also Surefire's and Gradle's workers"),
)

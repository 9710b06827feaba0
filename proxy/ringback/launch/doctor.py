"""Diagnoses of client runtimes: probes are run through a proxy, and each gets a verdict and an advice."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ringback.launch.probes import ABSENT, CREATED, ClientProbe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# `go run` compiles net/http first when its cache is empty.
PROBE_SECONDS = 180

_UNTRUSTED = re.compile(
    r"certificat|\bcert|PKIX|(?<!lib)SSL|self.signed|unable to get local issuer", re.IGNORECASE
)
_VERSION = re.compile(r"\d+(?:\.\d+)+\S*")
_ANNOUNCED = re.compile(r"^Picked up .*$", re.MULTILINE)


@dataclass(frozen=True)
class Diagnosis:
    """The result of one probe.

    Attributes:
        runtime: The runtime's name.
        version: The runtime's version, and the SDK's.
        client: The client that made the request.
        path: The program that was run.
        proxied: Whether the request went to the proxy; None if that cannot be told.
        trusted: Whether the client trusts the CA; None if that cannot be told.
        advice: What to do; empty if all is well.
        said: The end of what the program said, if all is not well.
    """

    runtime: str
    version: str
    client: str
    path: str
    proxied: bool | None
    trusted: bool | None
    advice: str = ""
    said: str = ""

    @property
    def ok(self) -> bool:
        """Report whether the request was answered by the proxy, and the answer was understood."""
        return bool(self.proxied and self.trusted) and not self.advice


def run_probe(
    probe: ClientProbe, path: str, proxy: str, environment: Mapping[str, str], directory: Path
) -> Diagnosis | None:
    """Run one probe.

    Args:
        probe: The probe.
        path: Its program.
        proxy: The proxy's URL.
        environment: What `prepare` made for that proxy.
        directory: Where the probe may write.

    Returns:
        The diagnosis, or None if the probe needs an SDK that is not installed.
    """
    version = _first(_VERSION, _output([path, *probe.version], environment))
    before = _answered(proxy)
    done = _run([path, *probe.command(directory)], environment)
    said = _ANNOUNCED.sub("", done.stdout + done.stderr).strip()
    if probe.sdk and ABSENT in said:
        return None
    sdk = re.search(r"^SDK (\S+)$", done.stdout, re.MULTILINE)
    return diagnose(
        probe,
        path,
        f"{version} with {sdk[1]}" if sdk else version,
        said,
        arrived=_answered(proxy) > before,
        code=done.returncode,
    )


def diagnose(  # noqa: PLR0913 - all of them are facts of one run
    probe: ClientProbe, path: str, version: str, said: str, *, arrived: bool, code: int
) -> Diagnosis:
    """Judge a probe by its end: what it printed, its exit code, and whether its request arrived."""

    def diagnosis(*, proxied: bool | None, trusted: bool | None, advice: str = "") -> Diagnosis:
        # Java and Node indent the frames of their traces; Python ends with what matters.
        lines = [line for line in said.splitlines() if line.strip() and not line[0].isspace()]
        last = lines[-1][:200] if lines and advice else ""
        return Diagnosis(probe.runtime, version, probe.client, path, proxied, trusted, advice, last)

    if arrived:
        if code == 0 and re.search(rf"\b{CREATED}\b", said):
            return diagnosis(proxied=True, trusted=True)
        return diagnosis(
            proxied=True, trusted=True, advice="it was answered, but did not understand the answer"
        )
    if _UNTRUSTED.search(said):
        return diagnosis(proxied=True, trusted=False, advice=f"it does not trust the CA: {probe.advice}")
    if code == 0:
        return diagnosis(proxied=False, trusted=None, advice=f"its request went elsewhere: {probe.advice}")
    return diagnosis(proxied=None, trusted=None, advice=f"its request did not arrive: {probe.advice}")


def _answered(proxy: str) -> int:
    """Count the Twilio requests that the proxy has answered."""
    # Straight to the proxy's own port: no variable of this process shall lead elsewhere.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{proxy}/ringback/health", timeout=10) as answer:
        total: int = json.load(answer)["answered"]
        return total


def _output(command: list[str], environment: Mapping[str, str]) -> str:
    done = _run(command, environment)
    return _ANNOUNCED.sub("", done.stdout + done.stderr)


def _run(command: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - the probes' own arguments
            command,
            env=dict(environment),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no end after {PROBE_SECONDS} seconds")
    except OSError as error:
        return subprocess.CompletedProcess(command, 126, "", str(error.strerror))


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[0].strip('",;') if match else "?"

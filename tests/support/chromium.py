"""A page in headless Chromium, driven over its debugging protocol."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


def program() -> str:
    """Chromium, or the test is skipped."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"none of these is installed: {', '.join(PROGRAMS)}")
    return found


@dataclass(eq=False)
class Page:
    """One tab.

    Attributes:
        troubles: What it complained about: exceptions, console errors, refused loads.
        requests: Every URL that it asked for.
    """

    socket: aiohttp.ClientWebSocketResponse
    session: str = ""
    troubles: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: dict[int, asyncio.Future[Any]] = field(default_factory=dict)

    async def listen(self) -> None:
        """Take what the browser says until it hangs up."""
        async for message in self.socket:
            told = message.json()
            if "id" in told:
                self._waiting.pop(told["id"]).set_result(told.get("result", told))
            else:
                self._event(told["method"], told["params"])

    def _event(self, method: str, params: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self.loaded.set()
        elif method == "Runtime.exceptionThrown":
            self.troubles.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning"}:
            self.troubles.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
            self.troubles.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    async def send(self, method: str, **params: Any) -> Any:
        """One command, and its result."""
        number = len(self._waiting) + id(params) % 1_000_000_000
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": params}
        await self.socket.send_json(command | ({"sessionId": self.session} if self.session else {}))
        return await asyncio.wait_for(waiting, 60)

    async def open(self, url: str) -> None:
        """Load `url` and wait until it is there."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")
        await self.send("Page.navigate", url=url)
        await asyncio.wait_for(self.loaded.wait(), 60)

    async def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        got = await self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    async def press(self, key: str, text: str = "") -> None:
        """Press a key where the focus is."""
        codes = {"Tab": 9, " ": 32, "Enter": 13, "ArrowDown": 40}
        same = {"key": key, "code": {" ": "Space"}.get(key, key), "windowsVirtualKeyCode": codes[key]}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        await self.send("Input.dispatchKeyEvent", **down, **same)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **same)

    async def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Give the page another window."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )

    async def prefer(self, scheme: str) -> None:
        """Prefer light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.send("Emulation.setEmulatedMedia", features=features)


@asynccontextmanager
async def chromium(url: str) -> AsyncIterator[Page]:
    """`url` in a browser that is gone after the block."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as home:
        process = await asyncio.create_subprocess_exec(
            program(),
            *ARGUMENTS,
            f"--user-data-dir={home}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            address = await asyncio.wait_for(_address(process), 60)
            async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                target = await page.send("Target.createTarget", url="about:blank")
                attached = await page.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
                page.session = attached["sessionId"]
                await page.open(url)
                yield page
                page.session = ""
                await page.send("Browser.close")
                await asyncio.wait_for(listening, 60)
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.communicate(), 60)


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        found = re.search(rb"DevTools listening on (ws://\S+)", line)
        if found:
            return found[1].decode()
    raise AssertionError("Chromium ended before it listened")

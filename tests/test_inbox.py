"""The Inbox in a real browser, in front of a real proxy."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import stat
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
import requests

from support.chromium import Page, chromium
from support.clients import ACCOUNT, TOKEN, path
from support.launching import needs
from support.proxying import Serving, environment, serve
from support.sdks import CACHE, MissingError, absent, install, python_sdk
from support.upstream import arguments, module_upstream, twilio, upstream, upstream_ca

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from support.upstream import LoopbackUpstream

__all__ = ["module_upstream", "upstream", "upstream_ca"]

LOGIN, HOSTILE, FAILING = "+14105550101", "+14105550102", "+15005550001"
SCRIPT = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
OVERRIDE = "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe"
EMOJI = "\N{GRINNING FACE}" * 1600
COUNT = 10_000
HOSTILE_REQUEST = {
    "method": "GET`id`",
    "host": "api.twilio.com",
    "target": "/2010-04-01/Accounts/x;touch$IFS'x';$(id)/Messages.json",
    "form": [["To", "';touch x;'"], ["a;b", "$1"], ["Body", "\x1b[201~\nid\n"]],
}
AXE = "axe-core@4.11.0"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
TAKEN = "RINGBACK_SCREENSHOTS" in os.environ  # tests run without the variables of whoever runs them
LARGEST_IMAGE = 150_000  # bytes
SENDER = """
import sys
from twilio.rest import Client
client = Client(*sys.argv[1:])
client.messages.create(from_="+15005550006", to="+14105550101", body="Your code is 481231.")
client.calls.create(from_="+15005550006", to="+14105550102", url="http://demo.example/voice.xml")
"""


@pytest.fixture
def running(home: Path, tmp_path: Path) -> Iterator[Serving]:
    with serve(home, tmp_path) as running:
        yield running


def send(running: Serving, session: str, to: str, body: str, resource: str = "Messages", **more: str) -> int:
    proxy = running.url.replace("://", f"://{session}:x@")
    answer = requests.post(
        f"https://api.twilio.com{path(resource)}",
        data={"To": to, "From": "+15005550006", "Body": body, **more},
        auth=(ACCOUNT, TOKEN),
        proxies={"https": proxy},
        verify=str(running.ca),
        timeout=60,
    )
    return answer.status_code


def send_all(running: Serving) -> None:
    assert send(running, "login", LOGIN, "Your code is 481231.") == 201
    assert send(running, "login", FAILING, "to nowhere") == 400
    assert send(running, "hostile", HOSTILE, SCRIPT) == 201
    assert send(running, "hostile", HOSTILE, OVERRIDE) == 201
    assert send(running, "hostile", HOSTILE, EMOJI) == 201
    assert send(running, "calls", LOGIN, "", "Calls", Url="http://demo.example/voice.xml") == 201
    assert send(running, "calls", LOGIN, "", "IncomingPhoneNumbers", PhoneNumber="+15005550006") == 201


async def until(page: Page, expression: str) -> None:
    """Wait until a JavaScript expression is true."""
    look = f"const look = () => ({expression}) ? resolve(true) : setTimeout(look, 20)"
    try:
        async with asyncio.timeout(60):
            await page.value(f"new Promise((resolve) => {{ {look}; look(); }})")
    except TimeoutError:
        shown = await page.value("document.body.innerText")
        pytest.fail(f"not within 60 s: {expression}; the page shows: {shown}")


async def texts(page: Page, selector: str) -> list[str]:
    found = await page.value(f"[...document.querySelectorAll('{selector}')].map((one) => one.textContent)")
    assert isinstance(found, list)
    return found


async def click(page: Page, selector: str) -> None:
    await page.value(f"document.querySelector({json.dumps(selector)}).click()")


async def visible(page: Page) -> list[str]:
    """The panes that take room."""
    panes = "[...document.querySelectorAll('.pane')].filter((one) => one.offsetWidth > 0)"
    found = await page.value(f"{panes}.map((one) => one.id)")
    assert isinstance(found, list)
    return found


def drive(running: Serving, scene: Callable[[Page], Awaitable[None]]) -> Page:
    """Play `scene` on the page; nothing from elsewhere is loaded."""

    async def main() -> Page:
        async with chromium(f"{running.url}/ringback/") as page:
            await page.size(1280, 800)
            await until(page, "document.querySelector('#live').textContent === 'Live'")
            await scene(page)
            assert all(url.startswith(running.url) for url in page.requests if not url.startswith("data:"))
            return page

    return asyncio.run(main())


def count(view: str) -> str:
    return f"document.querySelector('[data-view={view}] .count').textContent"


def test_messages_appear_while_they_are_sent_and_can_be_searched(running: Serving) -> None:
    async def scene(page: Page) -> None:
        assert "Nothing yet" in (await texts(page, "#list"))[0]
        await asyncio.to_thread(send_all, running)
        await until(page, f"{count('all')} === '7'")
        numbers = {view: await page.value(count(view)) for view in ("messages", "calls", "numbers", "failed")}
        assert numbers == {"messages": "5", "calls": "1", "numbers": "1", "failed": "1"}
        assert await texts(page, "#list .who") == [HOSTILE, FAILING, LOGIN]
        await page.value(
            "const box = document.querySelector('#search'); box.value = '481231';"
            "box.dispatchEvent(new Event('input'))"
        )
        await until(page, f"{count('all')} === '1'")
        assert await texts(page, ".bubble") == ["Your code is 481231."]
        for wanted, number in (
            ("code:21211", 1),
            ("to:+14105550102 png", 0),
            ("to:0102 GPJ.exe", 1),
            ("status:201 source:contract", 6),
            ("session:login rule:from", 1),
            ("constructor:x", 0),
            ("your code", 1),
        ):
            await page.value(f"box.value = {wanted!r}; box.dispatchEvent(new Event('input'))")
            await until(page, f"{count('all')} === '{number}'")
        await page.value("box.value = ''; box.dispatchEvent(new Event('input'))")
        await page.value(
            "const choice = document.querySelector('#session'); choice.value = 'hostile';"
            "choice.dispatchEvent(new Event('change'))"
        )
        await until(page, f"{count('all')} === '3'")
        assert await texts(page, "#list .who") == [HOSTILE]

    drive(running, scene)


def test_hostile_texts_stay_texts(running: Serving) -> None:
    send_all(running)

    async def scene(page: Page) -> None:
        await until(page, f"{count('all')} === '7'")
        assert await texts(page, ".bubble") == [SCRIPT, OVERRIDE, EMOJI]
        await click(page, ".bubble")
        await until(page, "document.querySelector('#detail .outcome') !== null")
        assert SCRIPT in await texts(page, "#detail td")
        assert await page.value("document.querySelectorAll('main img, main script').length") == 0
        assert await page.value("document.title") == "Ringback Inbox"
        assert await page.value("document.documentElement.scrollWidth") == 1280
        copied = await page.value(f"curl({json.dumps(HOSTILE_REQUEST)})")
        assert not re.search("[\0-\x09\x0b-\x1f]", copied)
        script = f"curl() {{ printf '%s\\0' \"$@\"; }}; {copied}"
        words = (await asyncio.to_thread(subprocess.check_output, ["sh", "-c", script])).decode()
        url = f"https://api.twilio.com{HOSTILE_REQUEST['target']}"
        assert words.split("\0") == [
            *("-X", "GET`id`", url, "-u", ":"),
            *("--data-urlencode", "To=';touch x;'"),
            *("--data-raw", "a%3Bb=%241"),
            *("--data-raw", "Body=%1B%5B201%7E%0Aid%0A"),
            "",
        ]

    assert [told for told in drive(running, scene).troubles if "503" not in told] == []


def test_a_failed_request_reports_why(running: Serving) -> None:
    send_all(running)

    async def scene(page: Page) -> None:
        await until(page, f"{count('all')} === '7'")
        await click(page, "[data-view=failed]")
        assert await texts(page, "#list .tag") == ["21211"]
        await click(page, "#list .row")
        await until(page, "document.querySelector('#detail .outcome') !== null")
        (outcome,) = await texts(page, "#detail .outcome.failed")
        assert outcome.startswith("400 · error 21211")
        cells = await texts(page, "#detail td")
        assert {"contract", "Messages.to.invalid", "documented", f"To = {FAILING} → 21211"} <= set(cells)
        assert "[hidden]" in cells
        assert TOKEN not in await page.value("document.body.textContent")
        curl = await page.value("curl(state.details)")
        assert curl.startswith("curl -X 'POST' 'https://api.twilio.com/2010-04-01/Accounts/AC")
        assert f"--data-urlencode 'To={FAILING}'" in curl
        assert TOKEN not in curl

    drive(running, scene)


def test_the_keyboard_reaches_everything(running: Serving) -> None:
    send_all(running)

    async def press(page: Page, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            await page.send("Input.dispatchKeyEvent", type=kind, key=key, text=key if len(key) == 1 else "")

    async def scene(page: Page) -> None:
        await until(page, f"{count('all')} === '7'")
        await press(page, "/")
        assert await page.value("document.activeElement.id") == "search"
        await press(page, "Escape")
        await press(page, "5")
        assert (
            await page.value("document.querySelector('[data-view=all]').getAttribute('aria-current')")
            == "page"
        )
        await press(page, "j")
        await until(page, "document.querySelector('#detail h2') !== null")
        assert (await texts(page, "#detail h2"))[0].startswith("#7 ")
        await press(page, "j")
        await until(page, "document.querySelector('#detail h2').textContent.startsWith('#6 ')")
        assert await page.value("document.activeElement.dataset.key") == "6"
        await press(page, "Escape")
        assert await texts(page, "#detail h2") == []

    drive(running, scene)


def test_a_phone_shows_one_pane_at_a_time(running: Serving) -> None:
    send_all(running)

    async def scene(page: Page) -> None:
        await until(page, f"{count('all')} === '7'")
        await page.size(390, 844, phone=True)
        assert await visible(page) == ["list"]
        await click(page, "#list .row")
        assert await visible(page) == ["thread"]
        await click(page, ".bubble")
        await until(page, "document.querySelector('#detail .outcome') !== null")
        assert await visible(page) == ["detail"]
        assert await page.value("document.documentElement.scrollWidth") == 390
        await click(page, "#detail .back")
        assert await visible(page) == ["thread"]
        await click(page, "#thread .back")
        assert await visible(page) == ["list"]

    drive(running, scene)


def test_dark_follows_the_system_until_it_is_chosen(running: Serving) -> None:
    async def shade(page: Page) -> Any:
        return await page.value("getComputedStyle(document.querySelector('#list')).backgroundColor")

    async def scene(page: Page) -> None:
        assert await shade(page) == "rgb(255, 255, 255)"
        await page.prefer("dark")
        await until(page, "document.documentElement.dataset.theme === 'dark'")
        assert await shade(page) == "rgb(28, 28, 34)"
        await click(page, "#theme")
        assert await shade(page) == "rgb(255, 255, 255)"
        await page.prefer("light")
        await page.prefer("dark")
        assert await shade(page) == "rgb(255, 255, 255)"

    drive(running, scene)


def test_ten_thousand_requests_are_a_window_of_a_few_rows(running: Serving) -> None:
    send_all(running)

    async def scene(page: Page) -> None:
        await until(page, f"{count('all')} === '7'")
        await click(page, "[data-view=all]")
        await page.value(
            "{ const one = state.records[0];"
            "const to = (n) => [['To', `+1${n}`]];"
            f"for (let n = 8; n <= {COUNT}; n += 1) take({{...one, number: n, form: to(n)}}); }}"
        )
        await until(page, f"{count('all')} === '{COUNT}'")
        assert await page.value("document.querySelectorAll('#list li').length") < 60
        await page.value("document.querySelector('#list').scrollTop = 5000 * ROW")
        await until(
            page, "[...document.querySelectorAll('#list .who')].some((one) => one.textContent === '+15000')"
        )
        assert await page.value("document.querySelectorAll('#list li').length") < 60
        await click(page, "[data-view=messages]")
        await page.value(
            "for (let n = 0; n < 500; n += 1) take({...state.records[0], number: state.last + 1})"
        )
        await until(page, "state.records.length > 10000")
        await page.value(f"openThread('{LOGIN}')")
        await until(page, "document.querySelectorAll('.bubble').length === 100")

    drive(running, scene)


def test_the_page_survives_a_restart_and_begins_anew(running: Serving, home: Path, tmp_path: Path) -> None:
    send_all(running)
    (tmp_path / "again").mkdir()

    async def scene(page: Page) -> None:
        await until(page, f"{count('all')} === '7'")
        running.process.terminate()
        await asyncio.to_thread(running.process.wait, 60)
        await until(page, "document.querySelector('#live').textContent !== 'Live'")
        with serve(home, tmp_path / "again", "--port", str(running.port)) as again:
            assert await asyncio.to_thread(send, again, "second", LOGIN, "after the restart") == 201
            await until(page, f"{count('all')} === '1'")
            assert await texts(page, ".bubble") == ["after the restart"]

    drive(running, scene)


def test_clearing_empties_the_page(running: Serving) -> None:
    send_all(running)

    async def scene(page: Page) -> None:
        await until(page, f"{count('all')} === '7'")
        await click(page, "#clear")
        await until(page, f"{count('all')} === '0'")
        assert await asyncio.to_thread(send, running, "x", LOGIN, "one more") == 201
        await until(page, f"{count('all')} === '1'")

    drive(running, scene)


def test_a_real_sdk_sends_while_the_page_watches(running: Serving, home: Path) -> None:
    sdk = python_sdk("9")
    more = {"HTTPS_PROXY": running.url, "REQUESTS_CA_BUNDLE": str(running.ca), **sdk.environment}

    async def scene(page: Page) -> None:
        command = [sdk.runtime, "-c", SENDER, ACCOUNT, TOKEN]
        await asyncio.to_thread(subprocess.run, command, env=environment(home, more), check=True, timeout=120)
        await until(page, f"{count('all')} === '2'")
        assert await texts(page, ".bubble") == ["Your code is 481231."]
        await click(page, ".bubble")
        await until(page, "document.querySelector('#detail .outcome') !== null")
        assert "Copy 481231" in await texts(page, "#detail button")
        assert any("twilio-python/9" in cell for cell in await texts(page, "#detail td"))
        link = "document.querySelector('#detail a')"
        assert (await page.value(f"{link}.href")).startswith("https://www.twilio.com/docs/")
        assert await page.value(f"{link}.rel") == "noopener noreferrer"

    drive(running, scene)


class Taking(BaseHTTPRequestHandler):
    """Takes status callbacks into `statuses`."""

    statuses: list[str]

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.statuses.append(" ".join(form["MessageStatus"] + form.get("ErrorCode", [])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_buttons_decide_how_a_message_ends(home: Path, tmp_path: Path) -> None:
    Taking.statuses = []
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{receiver.server_port}/status"

    async def scene(page: Page) -> None:
        for body in ("first", "second"):
            assert await asyncio.to_thread(send, running, "x", LOGIN, body, StatusCallback=url) == 201
        await until(page, "document.querySelectorAll('.bubbles b').length === 2")
        await click(page, ".bubbles li:nth-child(1) .bubble")
        await until(page, "document.querySelector('#detail .pair button') !== null")
        choice = "document.querySelector('#detail select')"
        await page.value(
            f"{choice}.value = [...{choice}.options].find((o) => o.text.startsWith('30006')).value"
        )
        await click(page, "#detail .pair button")
        await until(page, "document.querySelector('.bubbles b').textContent === 'Undelivered 30006'")
        await until(page, "document.querySelectorAll('#detail .callbacks li').length === 3")
        await click(page, ".bubbles li:nth-child(2) .bubble")
        await until(page, "document.querySelector('#detail h2').textContent.startsWith('#2 ')")
        deliver = "[...document.querySelectorAll('#detail button')].find((b) => b.textContent === 'Deliver')"
        await page.value(f"{deliver}.click()")
        await until(page, "document.querySelectorAll('.bubbles b')[1].textContent === 'Delivered'")

    try:
        with serve(home, tmp_path, "--callbacks", "--callbacks-delay", "0", "--callbacks-hold") as running:
            drive(running, scene)
    finally:
        receiver.shutdown()
        receiver.server_close()
    assert Taking.statuses[-2:] == ["undelivered 30006", "delivered"]
    assert sorted(Taking.statuses[:-2]) == ["queued", "queued", "sent", "sent"]


def test_drift_is_shown_at_the_live_answer(upstream: LoopbackUpstream, home: Path, tmp_path: Path) -> None:
    upstream.rule = lambda _: twilio(400, 21217, message=f"other words {TOKEN}")

    async def scene(page: Page) -> None:
        assert await asyncio.to_thread(send, running, "x", FAILING, "to nowhere") == 400
        await until(page, "document.querySelector('.bubbles b')?.textContent === 'Drift'")
        await click(page, ".bubble")
        await until(page, "document.querySelector('#detail .callbacks') !== null")
        (told,) = await texts(page, "#detail .callbacks")
        assert "21211" in told
        assert "21217" in told
        assert TOKEN not in await page.value("document.body.textContent")

    with serve(home, tmp_path, *arguments(upstream, "online")) as running:
        drive(running, scene)
        found = requests.get(f"{running.url}/ringback/requests/1", timeout=60).json()["drift"]
        assert {one["severity"] for one in found} >= {"error"}
        assert TOKEN not in json.dumps(found)


def test_serve_opens_the_page(home: Path, tmp_path: Path) -> None:
    told, browser = tmp_path / "told", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >"{told}.part"\nmv "{told}.part" "{told}"\n')
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    with serve(home, tmp_path, "--ui", "--open", more={"BROWSER": str(browser)}) as running:
        for _ in range(3000):
            if told.exists():
                break
            threading.Event().wait(0.02)
        assert told.read_text().strip() == f"{running.url}/ringback/"


# -- what people see


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core, the accessibility checker, as one script."""
    path = CACHE / "node-axe-core"
    command = [needs("npm"), "install", "--prefix", str(path), "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        install(path, [*command, "--loglevel", "error", "--fetch-retries", "1", AXE])
    except MissingError as missing:
        absent(missing)
    return (path / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


async def serious(page: Page, axe: str) -> list[str]:
    """What axe finds on the page as it is, from `serious` on."""
    if not await page.value("window.axe !== undefined"):
        await page.value(f"{axe}; 0")
    found = await page.value("axe.run().then((found) => found.violations)")
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]


async def picture(page: Page, name: str) -> None:
    """Take a picture; with RINGBACK_SCREENSHOTS it becomes the one of the documentation."""
    form = name.rpartition(".")[2]
    quality = {"quality": 80} if form == "webp" else {}
    got = await page.send("Page.captureScreenshot", format=form, **quality)
    taken = base64.b64decode(got["data"])
    assert 1_000 < len(taken) < LARGEST_IMAGE
    if TAKEN:
        (IMAGES / name).write_bytes(taken)
    assert (IMAGES / name).stat().st_size < LARGEST_IMAGE


def send_for_people(running: Serving, url: str) -> None:
    send(running, "signup", LOGIN, "Your code is 481231. It is valid for ten minutes.")
    send(running, "signup", LOGIN, "Welcome to Example Shop, Ada!")
    send(
        running,
        "orders",
        HOSTILE,
        "Order 1042 is on its way: https://shop.example/t/1042",
        StatusCallback=url,
    )
    send(running, "orders", FAILING, "Order 1043 is on its way.")
    send(running, "orders", HOSTILE, "Your parcel was delivered. Thank you!", StatusCallback=url)
    send(running, "reminders", "+14105550103", "Reminder: your appointment is tomorrow at 9:30.")
    send(running, "reminders", "+14105550103", "", "Calls", Url="https://shop.example/voice.xml")
    send(running, "reminders", "+14105550103", "", "IncomingPhoneNumbers", PhoneNumber="+15005550000")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_pictured(scheme: str, axe: str, home: Path, tmp_path: Path) -> None:
    Taking.statuses = []
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()

    async def scene(page: Page) -> None:
        await page.prefer(scheme)
        await page.size(1280, 720)
        assert await serious(page, axe) == [], "with nothing in it"
        await asyncio.to_thread(send_for_people, running, f"http://127.0.0.1:{receiver.server_port}/status")
        await until(page, f"{count('all')} === '8'")
        await until(page, "state.callbacks.get(5)?.status === 'delivered'")
        await page.value(f"openThread('{HOSTILE}')")
        await until(page, "document.querySelectorAll('.bubbles b').length === 2")
        await click(page, ".bubbles li:nth-child(2) .bubble")
        await until(page, "document.querySelector('#detail .callbacks') !== null")
        assert await serious(page, axe) == []
        await picture(page, f"inbox-{scheme}.webp")
        await page.value(f"openThread('{FAILING}')")
        await click(page, ".bubble")
        await until(page, "document.querySelector('#detail .outcome.failed') !== null")
        if scheme == "light":
            await picture(page, "inbox.png")
        await click(page, "[data-view=failed]")
        await click(page, "#list .row")
        await until(page, "document.querySelector('#detail .outcome.failed') !== null")
        assert await serious(page, axe) == []
        await page.size(390, 844, phone=True)
        assert await serious(page, axe) == []
        assert await page.value("document.documentElement.scrollWidth") == 390
        await click(page, "[data-view=messages]")
        assert await serious(page, axe) == []
        await page.value(f"openThread('{HOSTILE}')")
        await until(page, "document.querySelector('#thread .bubble').offsetWidth > 0")
        assert await serious(page, axe) == []
        await picture(page, f"inbox-phone-{scheme}.webp")

    try:
        with serve(home, tmp_path, "--callbacks", "--callbacks-delay", "0") as running:
            drive(running, scene)
    finally:
        receiver.shutdown()
        receiver.server_close()

from __future__ import annotations

import asyncio
import re
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from ringback.drift.report.builder import ReportFrame, build_report
from ringback.drift.report.html import text
from support.chromium import chromium
from support.drifting import CLAIM_SET, NOW, edit, look, probe
from support.reports import BLOCKED, SCRIPT, empty, full

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ringback.contract import Answer

SHOWN = "[...document.querySelectorAll('.finding')].filter((item) => item.checkVisibility()).length"
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
GROUND = "getComputedStyle(document.body).backgroundColor"


def page(directory: Path, html: str) -> str:
    file = directory / "drift.html"
    file.write_text(html, encoding="utf-8")
    return file.as_uri()


def test_the_verdict_comes_before_the_findings() -> None:
    html = text(full())
    assert html.index("2 errors") < html.index('class="finding')
    assert "as documented" in text(empty())
    assert "Nothing was compared" in text(empty(0))


def test_nothing_is_loaded_from_elsewhere() -> None:
    html = text(full())
    assert re.findall(r"""<(?!a )[^>]*(?:src|href)=["']?(?!data:)[^"'>\s]+""", html) == []
    assert "@import" not in html
    assert "url(" not in html


KEPT = {"severity", "kind", "mark", "source", "fail_on", "format", "formats", "basis", "counts"}


def planted(value: Any, text: str, name: str = "") -> Any:
    """The same value with `text` after every string in it but the names of fixed sets."""
    if name in KEPT or value is None:
        return value
    if isinstance(value, str):
        return value + text
    if isinstance(value, tuple):
        return tuple(planted(item, text, name) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        changed = {item.name: getattr(value, item.name) for item in fields(value) if item.init}
        return replace(value, **{key: planted(inner, text, key) for key, inner in changed.items()})
    return value


class Outline(HTMLParser):
    """The tags of a page with the names of their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))


@pytest.mark.parametrize(
    "text_in_it", [SCRIPT, '" onmouseover="x', "' onclick='x", "</summary></details><img src=x>"]
)
def test_html_in_any_recorded_place_stays_text(text_in_it: str) -> None:
    html = text(planted(full(), text_in_it))
    assert html.count("<script") == 1  # the page's own
    assert text_in_it not in html
    assert html.count("mouse") + html.count("click") + html.count("owned") + html.count("src=x") > 40
    assert Outline(html).tags == Outline(text(planted(full(), "x"))).tags


def test_what_the_page_says_is_never_denied() -> None:
    facts = re.findall("<dt>Page</dt><dd>(.*?)</dd>", text(full()))
    assert "not on the page: recorded" in facts
    (cited,) = {fact for fact in facts if "21610" in fact}
    assert cited == f'<a href="{BLOCKED.url}">{BLOCKED}</a>'
    assert "Known from" not in text(full())


def without_headers(change: Callable[[Answer], Answer]) -> Callable[[Answer], Answer]:
    return lambda answer: structs.replace(change(answer), headers=answer.headers[:3])


def test_what_a_finding_is_about_comes_first_and_the_rest_is_folded() -> None:
    sent, other = probe("example.message.sent"), probe("outside.api.get.queues")
    compared = [
        look(sent, without_headers(edit(status="accepted", num_media=0, tags={"a": 1}))),
        look(other, lambda answer: structs.replace(answer, status=200, body=b"{}")),
        look(probe("Messages.to.blocked", "xml"), lambda answer: structs.replace(answer, body=b"{}")),
    ]
    shown = {}
    for part in text(build_report(CLAIM_SET, compared, [], ReportFrame("live", "x", made=NOW))).split(
        '<details class="finding'
    )[1:]:
        rule = re.findall("<h2>(.*?)</h2>", part)[0]
        first, _, rest = part.partition('<details class="more">')
        shown[rule] = (
            re.findall(r'<th scope="row">([^<]+)', first),
            re.findall("<summary>(.*?)</summary>", rest),
        )
    assert shown["Messages.answer.status"] == (
        ["/status"],
        ["35 more rows of this exchange, 15 of them with another difference"],
    )
    assert shown["Messages.answer.num_media"][0] == ["/num_media"]
    assert shown["Messages.answer.tags"][0] == ["/tags/a", "/tags"]
    assert "X-Powered-By" in shown["header.api"][0]
    assert "/status" not in shown["header.api"][0]
    assert shown["outside.api.get.queues"][0] == ["HTTP status", "/code", "/message"]
    assert shown["format.body"][0] == ["body"]


def test_in_a_browser(tmp_path: Path) -> None:
    found = full()
    asyncio.run(_look(page(tmp_path, text(found)), len(found.findings)))


async def _look(url: str, total: int) -> None:
    async with chromium(url) as tab:
        assert await tab.value("document.title.startsWith('Drift: 2 errors')")
        assert await tab.value(SHOWN) == total
        # Each finding has the three answers side by side, and marks what differs.
        heads = "[...document.querySelector('.finding thead tr').children].map((cell) => cell.textContent)"
        assert await tab.value(heads) == ["Field", "Documentation", "Live", "Offline"]
        marked = "[...document.querySelectorAll('.finding tr.differs')].map((row) => row.innerText)"
        assert any("30003" in row and "21610" in row for row in await tab.value(marked))
        # With the keyboard alone: the first stop is the first filter, space takes the errors away.
        await tab.press("Tab")
        assert await tab.value("document.activeElement.value") == "error"
        await tab.press(" ", " ")
        assert await tab.value(SHOWN) == total - 2
        assert await tab.value("document.querySelector('.count').textContent") == (
            f"{total - 2} of {total} findings"
        )
        await tab.press(" ", " ")
        await tab.value(
            "(() => { const box = document.querySelector('[name=text]'); box.value = '30003';"
            " box.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
        assert await tab.value(SHOWN) == 1
        await tab.value("document.querySelector('button[type=reset]').click()")
        await tab.value("new Promise((done) => setTimeout(done))")
        assert await tab.value(SHOWN) == total
        choose = "(() => { const list = document.querySelector('[name=kind]'); list.value = 'allowed';"
        await tab.value(choose + " list.dispatchEvent(new Event('input', {bubbles: true})); })()")
        assert await tab.value(SHOWN) == 1
        # Readable in light and dark, wide and on a phone.
        await tab.prefer("light")
        light = await tab.value(GROUND)
        await tab.prefer("dark")
        assert await tab.value(GROUND) != light
        await tab.size(375, 700, phone=True)
        await tab.value("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
        assert await tab.value(WIDE) == 0
        assert tab.troubles == []
        assert tab.requests == [url]

from __future__ import annotations

from ringback.drift.watch import Watch
from support.drifting import ACCOUNT, documented, edit, failing, probe


def test_each_difference_is_told_once_and_all_are_findings_in_the_end() -> None:
    watch = Watch()
    sent, blocked = probe("example.message.sent"), probe("Messages.to.blocked")
    request, other = sent.request(ACCOUNT), blocked.request(ACCOUNT)
    assert watch.see(request, documented(request)) == []
    changed = edit(status="accepted")(documented(request))
    (line,) = watch.see(request, changed, "c.yaml:1")
    assert line.startswith("warning Messages.answer.status /status")
    assert watch.see(request, edit(status="accepted")(documented(request, "ab" * 16))) == []
    assert len(watch.see(other, failing(30003)(documented(other)))) == 1
    assert {item.rule for item in watch.findings()} == {"Messages.answer.status", "Messages.to.blocked"}
    assert watch.compared == 4


def test_the_same_requests_for_hours_do_not_fill_the_memory() -> None:
    watch = Watch()
    request = probe("example.message.sent").request(ACCOUNT)
    for number in range(200):
        watch.see(request, documented(request, f"{number:032x}"))
    assert watch.compared == 200
    assert len(watch.comparisons) == 1


def test_what_says_nothing_is_not_counted() -> None:
    watch = Watch()
    request = probe("example.message.sent").request(ACCOUNT)
    assert watch.see(request, failing(1, 503)(documented(request))) == []
    assert watch.compared == 0

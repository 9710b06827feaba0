import re
from datetime import UTC, datetime

from ringback.contract.render import EPOCH, FreshStamps, SeededStamps, make_stamps
from support.clients import GOOD, post

ONE, OTHER = post("Messages", GOOD["Messages"]), post("Calls", GOOD["Calls"])


def test_fresh_ones_are_all_different_and_of_now() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    fresh = FreshStamps()
    found = [fresh.of(ONE) for _ in range(10)] + [FreshStamps().of(ONE) for _ in range(10)]
    assert len({it.sid for it in found} | {it.request for it in found}) == 40
    assert all(
        re.fullmatch("[0-9a-f]{32}", it.sid) and re.fullmatch("[0-9a-f]{32}", it.request) for it in found
    )
    assert all(before <= it.now <= datetime.now(UTC) for it in found)
    assert all(0 < it.duration < 1 for it in found)


def test_seeded_ones_repeat_from_run_to_run_whatever_the_order_of_different_requests() -> None:
    first, second = SeededStamps(7), SeededStamps(7)
    one = [first.of(ONE), first.of(ONE), first.of(OTHER)]
    two = [second.of(OTHER), second.of(ONE), second.of(ONE)]
    assert one == [two[1], two[2], two[0]]


def test_seeded_ones_differ_by_seed_request_and_occurrence() -> None:
    seeded = SeededStamps(7)
    found = [seeded.of(ONE), seeded.of(ONE), seeded.of(OTHER), SeededStamps(8).of(ONE)]
    assert len({it.sid for it in found}) == 4
    assert found[0].now != found[1].now
    assert found[0].now == EPOCH


def test_a_seed_is_for_ever() -> None:
    # Somebody's snapshot hangs on this value.
    assert SeededStamps(1).of(ONE).sid == "13f759b8a1e99b203860c05e050d46a7"


def test_who_gives_them() -> None:
    assert isinstance(make_stamps(None), FreshStamps)
    assert isinstance(make_stamps(0), SeededStamps)

from __future__ import annotations

from ringback.counting import many, times


def test_one_is_no_plural() -> None:
    assert [many(number, "byte") for number in (0, 1, 2)] == ["0 bytes", "1 byte", "2 bytes"]
    assert [times(number) for number in (0, 1, 3)] == ["0 times", "once", "3 times"]

from ringback.contract.remembering import LONGEST, MOST, remembered


def test_short_texts_are_looked_at_once_and_long_ones_are_not_kept() -> None:
    asked: list[str] = []

    @remembered
    def size(text: str) -> int:
        """A docstring."""
        asked.append(text)
        return len(text)

    short, long = "x" * LONGEST, "x" * (LONGEST + 1)
    assert [size(short), size(short), size(long), size(long)] == [LONGEST, LONGEST, LONGEST + 1, LONGEST + 1]
    assert asked == [short, long, long]
    assert size.__doc__ == "A docstring."


def test_the_oldest_are_forgotten() -> None:
    asked: list[str] = []
    keep = remembered(asked.append)
    for number in range(MOST + 1):
        keep(str(number))
    keep("0")
    assert len(asked) == MOST + 2

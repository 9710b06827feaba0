from ringback.exchange import CACHED_LENGTH, CACHED_TEXTS, cached_text


def test_short_texts_are_looked_at_once_and_long_ones_are_not_kept() -> None:
    asked: list[str] = []

    @cached_text
    def size(text: str) -> int:
        """A docstring."""
        asked.append(text)
        return len(text)

    short, long = "x" * CACHED_LENGTH, "x" * (CACHED_LENGTH + 1)
    assert [size(short), size(short), size(long), size(long)] == [
        CACHED_LENGTH,
        CACHED_LENGTH,
        CACHED_LENGTH + 1,
        CACHED_LENGTH + 1,
    ]
    assert asked == [short, long, long]
    assert size.__doc__ == "A docstring."


def test_the_oldest_are_forgotten() -> None:
    asked: list[str] = []
    keep = cached_text(asked.append)
    for number in range(CACHED_TEXTS + 1):
        keep(str(number))
    keep("0")
    assert len(asked) == CACHED_TEXTS + 2

"""Large files of vcrpy's layout: read piece by piece, with the same result as read whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringback.cassettes import large_files, vcr_format
from ringback.cassettes.files import CassetteFormatError
from ringback.cassettes.layout import CassetteReader
from ringback.cassettes.redaction import Redaction
from support.exchanges import Shelf, answer, found, numbered, request, written

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ("plain", "- a: 'b'\n# c\n", "Grüße\u2028\U0001f600", "", "x & y *z", "interactions:\n- request:")


def opened(file: Path, monkeypatch: pytest.MonkeyPatch, least: int) -> CassetteReader:
    monkeypatch.setattr(large_files, "LEAST", least)
    reader = CassetteReader(file)
    reader.open(Redaction())
    return reader


def is_large(reader: CassetteReader) -> bool:
    return isinstance(reader._loaded, large_files.LargeFile)


def both(file: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[CassetteReader, CassetteReader]:
    return opened(file, monkeypatch, 0), opened(file, monkeypatch, 2**60)


@given(bodies=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=8))
def test_piece_by_piece_is_as_whole(tmp_path_factory: pytest.TempPathFactory, bodies: list[str]) -> None:
    shelf = Shelf(tmp_path_factory.mktemp("large") / "cassettes")
    exchanges = [(request({"Body": body}), answer({"n": n, "body": body})) for n, body in enumerate(bodies)]
    file = written(shelf, *exchanges)
    with pytest.MonkeyPatch.context() as monkeypatch:
        pieces, whole = both(file, monkeypatch)
        assert is_large(pieces)
        assert not is_large(whole)
        assert pieces.keys() == whole.keys()
        assert [pieces.request(n) for n in range(len(pieces))] == [
            whole.request(n) for n in range(len(whole))
        ]
        assert [pieces.answer(n) for n in range(len(pieces))] == [whole.answer(n) for n in range(len(whole))]


def test_nothing_but_requests_is_read_at_the_start(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(shelf, *((request({"Body": str(n)}), answer(number=n)) for n in range(300)))
    parsed: list[bytes] = []
    parse = vcr_format.parse

    def counted(item: bytes) -> Any:
        parsed.append(item)
        return parse(item)

    monkeypatch.setattr(vcr_format, "parse", counted)
    monkeypatch.setattr(vcr_format, "read_foreign", lambda _: pytest.fail("it was read whole"))
    monkeypatch.setattr(large_files, "LEAST", 1)
    assert file.stat().st_size > 100_000
    with shelf.library() as library:
        cassette = library.open()
        assert parsed == []
        assert numbered(cassette, request({"Body": "217"})) == 217
        assert len(parsed) == 1


def test_metadata_of_both_ends_count(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(shelf, (request({"Body": "1", "SendAt": "x"}), answer(number=1)))
    rules = "metadata:\n  ringback:\n    match_ignore: [SendAt]\n"
    for text in (file.read_text() + rules, rules + file.read_text()):
        file.write_text(text)
        pieces, whole = both(file, monkeypatch)
        assert is_large(pieces)
        assert pieces.metadata == whole.metadata
        with shelf.library() as library:
            assert numbered(library.open(), request({"Body": "1", "SendAt": "y"})) == 1
        file.write_text(text.replace(rules, ""))


@pytest.mark.parametrize(
    "before, after",
    [
        ("    body: Body=1\n", "    body: &a Body=1\n"),
        ("      code: 201\n", "      code: 401\n"),
        ("version: 1\n", "version: 2\n"),
        ("    method: POST\n", "    method: [\n"),
    ],
)
def test_what_may_not_be_right_is_read_whole(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    file = written(shelf, (request({"Body": "1"}), answer(number=1)), (request({"Body": "2"}), answer()))
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))
    outcomes = []
    for least in (0, 2**60):
        try:
            reader = opened(file, monkeypatch, least)
        except CassetteFormatError as error:
            outcomes.append(str(error))
        else:
            assert not is_large(reader)
            outcomes.append(str(reader.keys()))
    assert outcomes[0] == outcomes[1]


def test_a_broken_answer_is_told_with_its_line_when_it_is_needed(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(shelf, *((request({"Body": str(n)}), answer(number=n)) for n in range(3)))
    lines = file.read_text().splitlines()
    place = [at for at, line in enumerate(lines) if line == "      code: 201"][1]
    lines[place] = "      code: many"
    file.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(large_files, "LEAST", 0)
    with shelf.library() as library:
        cassette = library.open()
        assert found(cassette, request({"Body": "2"})).status == 201
        with pytest.raises(CassetteFormatError, match=f":{place + 1}: .*response.status.code"):
            cassette.lookup(request({"Body": "1"}))

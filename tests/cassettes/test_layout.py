"""Finding interactions byte by byte: whole files, torn ones, edited ones, and files of other layouts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vcr.serialize import deserialize
from vcr.serializers import yamlserializer

from ringback.cassettes import layout, matching, vcr_format
from ringback.cassettes.redaction import Redaction, provenance
from ringback.cassettes.vcr_format import Interaction
from ringback.contract import Request
from support.exchanges import Shelf, answer, found, missed, numbered, record, request

HEAD = layout.head({"ringback": provenance(Redaction())})


def make_item(number: int, text: str = "") -> bytes:
    asked = Redaction().redact(request({"Body": f"{number}{text}"}))
    return vcr_format.dump(Interaction(asked.request, answer({"n": number, "text": text})))


def make_entry(item: bytes) -> bytes:
    key = matching.plain_key(vcr_format.parse(item).request).digest
    return layout.entry(bytes.fromhex(key), item)


def make_file(*items: bytes) -> bytes:
    return HEAD + b"".join(make_entry(item) for item in items)


ITEMS = [make_item(number) for number in range(3)]
WHOLE = make_file(*ITEMS)


def texts(data: bytes, index: layout.ItemIndex) -> list[bytes]:
    return [data[start : start + size] for start, size in zip(index.starts, index.sizes, strict=True)]


def test_items_are_found_and_vcrpy_reads_the_same() -> None:
    index = layout.scan(WHOLE)
    assert texts(WHOLE, index) == ITEMS
    assert (index.end, index.torn) == (len(WHOLE), 0)
    assert index.metadata == {"ringback": provenance(Redaction())}
    requests, responses, metadata = deserialize(WHOLE.decode(), yamlserializer)
    assert [one.body for one in requests] == [b"Body=0", b"Body=1", b"Body=2"]
    assert len(responses) == 3
    assert metadata == index.metadata


def test_no_yaml_of_an_item_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vcr_format, "parse", None)
    assert len(layout.scan(WHOLE)) == 3


def test_a_file_torn_at_any_byte_keeps_every_whole_item() -> None:
    ends = [len(make_file(*ITEMS[:count])) for count in range(4)]
    for cut in range(len(HEAD), len(WHOLE) + 1):
        data = WHOLE[:cut]
        index = layout.scan(data)
        if cut + 1 in ends:  # the last newline is no loss
            assert (index.end, index.torn, index.unended) == (cut, 0, True), cut
            assert texts(data + b"\n", index)[-1] + b"\n" == ITEMS[len(index) - 1], cut
            continue
        whole = [end for end in ends if end <= cut]
        assert (index.end, index.torn, index.unended) == (whole[-1], cut - whole[-1], False), cut
        assert texts(data, index) == ITEMS[: len(whole) - 1], cut


@settings(max_examples=40)
@given(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=300),
    st.sampled_from(["\n", "\n      message: x\n", "\0", " "]),
    st.booleans(),
    st.data(),
)
def test_whatever_was_recorded_a_beginning_of_it_is_torn(
    text: str, more: str, binary: bool, data: st.DataObject
) -> None:
    body = f"{text}{more}{text}".encode() + (b"\xff" if binary else b"")
    asked = Request("POST", "api.twilio.com", "/", (("Content-Type", "text/plain"),), body)
    item = vcr_format.dump(Interaction(asked, answer(body)))
    entry = layout.entry(bytes(16), item)
    cut = data.draw(st.integers(1, len(entry) - 2))
    index = layout.scan(WHOLE + entry[:cut])
    assert (len(index), index.torn) == (3, cut)


def test_zeros_at_the_end_are_a_torn_tail() -> None:
    for cut in range(len(make_file(*ITEMS[:2])), len(WHOLE)):
        data = WHOLE[:cut] + bytes(len(WHOLE) - cut)
        assert texts(data, layout.scan(data)) == ITEMS[:2], cut


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=300), min_size=1, max_size=3))
def test_nothing_recorded_can_look_like_the_layout(parts: list[str]) -> None:
    tricky = ["\n- request:\n", "\n# ringback key=00 crc=00 bytes=1\n", "\n\nversion: 1\n", "\n  response:\n"]
    items = [make_item(number, tricky[number % 4].join(["", text, ""])) for number, text in enumerate(parts)]
    data = make_file(*items)
    index = layout.scan(data)
    assert texts(data, index) == items
    assert len(layout.scan(data, trust_keys=False)) == len(items)
    assert [one.answer.body for one in map(vcr_format.parse, items)] == [
        answer({"n": number, "text": tricky[number % 4].join(["", text, ""])}).body
        for number, text in enumerate(parts)
    ]


def test_an_edited_item_is_looked_up_by_what_it_says_now(shelf: Shelf) -> None:
    file = shelf.write(*((request({"Body": f"{n}"}), answer(number=n)) for n in (1, 2, 3)))
    file.write_bytes(
        file.read_bytes().replace(b"body: Body=2", b"body: Body=other").replace(b"code: 201", b"code: 400", 1)
    )
    with shelf.library() as library:
        cassette = library.open()
        assert found(cassette, request({"Body": "1"})).status == 400
        assert numbered(cassette, request({"Body": "other"})) == 2
        assert numbered(cassette, request({"Body": "3"})) == 3
        missed(cassette, request({"Body": "2"}))
    assert shelf.reported == []


def test_an_item_shortened_by_hand_at_the_end_is_not_torn(shelf: Shelf) -> None:
    file = shelf.write((request(), answer(number=1)))
    file.write_bytes(file.read_bytes().replace(b"message: CREATED", b"message: OK"))
    with shelf.library("auto") as library:
        assert found(library.open(), request()).reason == "OK"
    assert b"message: OK" in file.read_bytes()


def test_items_written_by_hand_need_no_comment(shelf: Shelf) -> None:
    file = shelf.write(*((request({"Body": f"{n}"}), answer(number=n)) for n in (1, 2)))
    plain = re.sub(rb"# ringback [^\n]*\n", b"", file.read_bytes())
    file.write_bytes(
        plain.replace(b"interactions:\n", b"interactions:\n# what we send first\n\n") + b"\n# the end\n"
    )
    with shelf.library("auto") as library:
        cassette = library.open()
        assert [numbered(cassette, request({"Body": f"{n}"})) for n in (1, 2)] == [1, 2]
        record(cassette, (request({"Body": "3"}), answer(number=3)))
    with shelf.library() as library:
        assert [numbered(library.open(), request({"Body": f"{n}"})) for n in (3, 2, 1)] == [3, 2, 1]


def test_keys_of_another_matching_version_are_made_afresh(shelf: Shelf) -> None:
    file = shelf.write((request(), answer(number=1)))
    data = re.sub(rb"key=[0-9a-f]{32}", b"key=" + b"0" * 32, file.read_bytes())
    file.write_bytes(data.replace(b"matching: 2", b"matching: 1"))
    with shelf.library() as library:
        assert numbered(library.open(), request()) == 1
    with shelf.library("auto") as library:
        record(library.open(), (request({"Body": "new"}), answer(number=2)))
    upgraded = file.read_bytes()
    assert b"matching: 2" in upgraded
    assert upgraded.count(b"key=" + b"0" * 32) == 0
    with shelf.library() as library:
        cassette = library.open()
        assert [numbered(cassette, one) for one in (request(), request({"Body": "new"}))] == [1, 2]
    assert len(layout.scan(upgraded)) == 2


@pytest.mark.parametrize(
    "data",
    [
        WHOLE.replace(b"version: 1\n", b"", 1) + b"version: 1\n",
        WHOLE + b"version: 1\n",
        WHOLE + b"version: 1",
        WHOLE + b"metadata: {}\n",
        WHOLE.replace(b"version: 1\n", b"---\nversion: 1\n"),
        WHOLE + b"...\n",
        re.sub(rb"# ringback [^\n]*\n", b"", WHOLE) + b"version: 1\n",
        WHOLE.replace(b"\n", b"\r\n"),
    ],
)
def test_other_layouts_are_left_to_vcrpy(data: bytes) -> None:
    with pytest.raises(layout.ForeignLayoutError):
        layout.scan(data)


def test_damage_in_the_middle_is_reported_with_its_place() -> None:
    data = WHOLE.replace(b"    status:\n      code: 201\n", b"    status:\n", 1)
    with pytest.raises(layout.DamageError) as caught:
        layout.scan(data)
    assert caught.value.offset == len(HEAD)


LAST = len(make_file(*ITEMS[:2]))
SLIPS = {
    "indented": (b"    status:\n", b"   status:\n", "no YAML that vcrpy reads"),
    "last line indented": (b"      message:", b"     message:", "no YAML that vcrpy reads"),
    "quote": (b"string: '{", b"string: {", "no YAML that vcrpy reads"),
    "dropped": (b"    method: POST\n", b"", "`request.method` is missing, it must be text"),
    "code": (b"code: 201", b"code: oops", "`response.status.code` is text"),
    "request": (b"- request:\n", b"- request: foo\n", "no YAML that vcrpy reads"),
    "no response": (ITEMS[2], b"- request: foo\n", "`request` is text, it must be a mapping"),
}


@pytest.mark.parametrize(
    "slip, newline",
    [(slip, newline) for slip in SLIPS for newline in (True, False) if slip != "quote" or newline],
)
def test_a_slip_in_the_last_item_is_damage_as_in_any_other(slip: str, newline: bool) -> None:
    old, new, said = SLIPS[slip]
    assert old in WHOLE[LAST:]
    data = WHOLE[:LAST] + WHOLE[LAST:].replace(old, new)
    with pytest.raises(layout.DamageError, match=said) as caught:
        layout.scan(data if newline else data[:-1])
    assert caught.value.offset == LAST


def test_an_item_that_is_shorter_and_lacks_its_newline_is_taken_for_torn() -> None:
    """It may be a write that was interrupted inside its last line, which is kept beside when it is cut."""
    data = WHOLE[:LAST] + WHOLE[LAST:].replace(b'"}', b'"').replace(b"'{", b"{", 1)
    assert layout.scan(data[:-1]).torn == len(data) - 1 - LAST


def test_an_item_without_a_comment_is_never_torn() -> None:
    data = WHOLE[:LAST] + ITEMS[2]
    assert len(layout.scan(data[:-1])) == 3
    with pytest.raises(layout.DamageError, match="is missing"):
        layout.scan(data[: data.rindex(b"      message:")])


def test_an_edited_last_item_needs_no_newline() -> None:
    data = (WHOLE[:LAST] + WHOLE[LAST:].replace(b"CREATED", b"MADE BY HAND"))[:-1]
    index = layout.scan(data)
    assert (len(index), index.torn, index.unended) == (3, 0, True)


@pytest.mark.parametrize("trust_keys", [True, False])
def test_a_last_item_without_its_newline_is_whole(trust_keys: bool) -> None:
    index = layout.scan(WHOLE[:-1], trust_keys=trust_keys)
    assert (len(index), index.torn, index.unended) == (3, 0, True)
    assert index.keys == layout.scan(WHOLE).keys


@pytest.mark.parametrize("rest", [b"# the end", b"# ringback is fine", b"# a\n\n# b"])
def test_a_comment_of_a_person_is_not_torn(rest: bytes) -> None:
    index = layout.scan(WHOLE + rest)
    assert (len(index), index.end, index.torn, index.unended) == (3, len(WHOLE + rest), 0, True)


def test_damage_is_reported_with_its_line_and_the_next_step(shelf: Shelf) -> None:
    file = shelf.write(*((request({"Body": f"{n}"}), answer(number=n)) for n in (1, 2, 3)))
    lines = file.read_text().split("\n")
    start = [number for number, line in enumerate(lines, 1) if line.startswith("# ringback")][1]
    second = "\n".join(lines[start:]).replace("      code: 201\n", "", 1)
    file.write_text("\n".join(lines[:start]) + "\n" + second)
    # `code` is missing: the line of `status`, in which it should stand.
    status = [at for at, line in enumerate(file.read_text().split("\n"), 1) if line == "    status:"][1]
    with shelf.library() as library, pytest.raises(Exception, match=rf"{file}:{status}: .*verify --repair"):
        library.open()

import pytest

from ringback.contract.render import count_segments
from support.clients import better, body_of, send


@pytest.mark.parametrize(
    "text, segments",
    [
        ("", 1),
        ("a", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 1600, 11),
        # Two septets for each of the extension table.
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 158 + "€", 1),
        ("a" * 159 + "€", 2),
        # 153 septets do not hold 77 pairs: a pair is not cut, 76 fit.
        ("€" * 152, 2),
        ("€" * 153, 3),
        ("a" * 152 + "€" + "a" * 150, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("@£$¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà\n\r" * 3, 1),
        # One character outside GSM-7 makes everything UCS-2: ç (small), not Ç.
        ("ç" * 70, 1),
        ("ç" * 71, 2),
        ("ç" + "a" * 69, 1),
        ("ç" + "a" * 70, 2),
        ("中" * 134, 2),
        ("中" * 135, 3),
        ("`", 1),
        ("`" + "a" * 70, 2),
        # Two UTF-16 units for an emoji, never cut: 33 fit into 67.
        ("\U0001f600" * 35, 1),
        ("\U0001f600" * 36, 2),
        ("\U0001f600" * 66, 2),
        ("\U0001f600" * 67, 3),
        ("\t", 1),
        ("\t" * 71, 2),
    ],
)
def test_segments(text: str, segments: int) -> None:
    assert count_segments(text) == segments


@pytest.mark.parametrize("text, told", [("a" * 161, "2"), ("ç" * 71, "2"), ("hi", "1")])
def test_the_answer_reports_them(text: str, told: str) -> None:
    assert body_of(send("Messages", better("Messages", Body=text)))["num_segments"] == told


def test_every_ascii_character_counts_as_the_alphabet_says() -> None:
    # Two septets, or none at all, where it is not in GSM-7's basic table (3GPP TS 23.038).
    wide = [chr(code) for code in range(128) if count_segments(chr(code) * 160) > 1]
    assert "".join(char for char in wide if char.isprintable()) == "[\\]^`{|}~"
    assert {chr(code) for code in range(32)} - set(wide) == {"\n", "\r"}

"""The schema of the contract's data: a mistake in an entry is refused with what was expected there."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ringback.contract.schema import ErrorText, MagicRow, Parameter, Resource, UserFile, UserRow

ROW = {"id": "to.x", "parameter": "To", "value": "+15005550001", "error": 21211}
USER_ROW = {"resource": "Messages", "parameter": "To", "value": "x", "error": 21211}


@pytest.mark.parametrize(
    "kind, entry, said",
    [
        (MagicRow, ROW | {"errr": 1}, "unknown field `errr`"),
        (MagicRow, {"id": "to.x", "parameter": "To", "value": "x"}, "missing required field `error`"),
        (MagicRow, ROW | {"error": 2121}, ">= 10000"),
        (MagicRow, ROW | {"error": 212110}, "<= 99999"),
        (MagicRow, ROW | {"id": "To x"}, "matching regex"),
        (MagicRow, ROW | {"line": 0}, ">= 1"),
        (MagicRow, ROW | {"value": 5}, "Expected `str`"),
        (MagicRow, ROW | {"basis": "guessed"}, "Invalid enum value 'guessed'"),
        (ErrorText, {"code": 21211, "message": "x", "status": 600}, "<= 599"),
        (ErrorText, {"code": 21211, "message": "x", "status": 201}, ">= 400"),
        (ErrorText, {"code": 21211, "message": "x", "resource": "Faxes"}, "Invalid enum value 'Faxes'"),
        (
            ErrorText,
            {"code": 21211, "message": "x", "evidence": "quote 2020-2014"},
            "the years 2020-2014 run backwards",
        ),
        (Parameter, {"type": "phone"}, "Invalid enum value 'phone'"),
        (Parameter, {"type": "address", "kinds": ["fax"]}, "Invalid enum value 'fax'"),
        (UserFile, {"magics": []}, "unknown field `magics`"),
        (UserFile, {"magic": [USER_ROW | {"resource": "Faxes"}]}, r"\$.magic\[0\].resource"),
        (Resource, {}, "missing required field"),
    ],
)
def test_a_mistake_is_refused(kind: type, entry: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(entry, kind)


def test_an_entry_is_documented_unless_it_says_otherwise_and_a_user_s_is_the_user_s() -> None:
    assert msgspec.convert(ROW, MagicRow).basis == "documented"
    user = msgspec.convert(USER_ROW, UserRow)
    assert (user.basis, user.id) == ("user", "")
    (text,) = msgspec.convert({"errors": [{"code": 21211, "message": "x"}]}, UserFile).errors
    assert (text.basis, text.status) == ("user", 400)


def test_an_entry_cannot_be_changed() -> None:
    row = msgspec.convert(ROW, MagicRow)
    with pytest.raises(AttributeError):
        row.error = 1  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    "evidence, years",
    [
        ("recording 2014-2020", "2014-2020"),
        ("recording 2014-2020, live-test 2023", "2014-2020, 2023"),
        ("quote 2023, live credentials", "2023"),
        ("quote 2020-2020", "2020-2020"),
        ("live-test", None),
        (None, None),
        # Other figures are no years.
        ("ticket 20201234", None),
        ("port 8080", None),
        ("code 21211", None),
        ("RFC 2822", None),
        ("ISO-2022", None),
        ("2012-10-10", None),
        ("x2020", None),
        ("version 4.2020", None),
    ],
)
def test_the_years_of_a_text(evidence: str | None, years: str | None) -> None:
    assert ErrorText(code=21211, message="x", evidence=evidence).years == years

"""The page's 24 rows and eight examples as requests, each with the answer that it must get.

Written out here once more, XX as recorded or quoted. Numbers that are not magic are fictional.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

VALID: Final = "+15005550006"
NUMBER: Final = "+14105550100"
URL: Final = "http://demo.twilio.com/docs/voice.xml"
INTERNATIONAL: Final = (
    "Account not authorized to call {}. Perhaps you need to enable some international permissions: "
    "https://www.twilio.com/console/voice/calls/geo-permissions/low-risk"
)
UNVERIFIED: Final = (
    "The source phone number provided, {}, is not yet verified for your account. "
    "You may only make calls from phone numbers that you've verified or purchased from Twilio."
)
NOT_OWNED: Final = "The From phone number {} is not a valid, SMS-capable inbound phone number or short code for your account."  # noqa: E501 - one text
UNREACHABLE: Final = (
    f"The 'To' phone number: {{}}, is not currently reachable using the 'From' phone number: {VALID} via SMS."
)
NO_PERMISSION: Final = (
    "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: {}."
)
INVALID_SENDER: Final = (
    "The 'From' number {} is not a valid phone number, shortcode, or alphanumeric sender ID."
)

SID_PREFIX: Final = {"IncomingPhoneNumbers": "PN", "Messages": "SM", "Calls": "CA"}
_BASE: Final = {
    "IncomingPhoneNumbers": {},
    "Messages": {"From": VALID, "To": NUMBER, "Body": "A test"},
    "Calls": {"From": VALID, "To": NUMBER, "Url": URL},
}


@dataclass(frozen=True)
class Case:
    """One request and what it must get.

    Attributes:
        id: Its name in test output.
        resource: The resource to post to.
        form: The form fields, in order.
        code: Twilio's error code, or None for success.
        message: The wire text of the error; in it `{}` has been replaced by the value sent.
        line: The line on the page.
    """

    id: str
    resource: str
    form: dict[str, str]
    code: int | None
    message: str | None
    line: int

    @property
    def status(self) -> int:
        """The HTTP status: 429 for a full queue (recorded), else 400 for an error and 201 for success."""
        return 201 if self.code is None else 429 if self.code == 21611 else 400


# resource, parameter, value as documented, value sent, code, text, line
_ROWS: Final = (
    ("IncomingPhoneNumbers", "PhoneNumber", "+15005550000", None, 21422, "{} is not available", 45),
    ("IncomingPhoneNumbers", "PhoneNumber", "+15005550001", None, 21421, "{} is not a valid number", 46),
    ("IncomingPhoneNumbers", "PhoneNumber", "+15005550006", None, None, None, 47),
    ("IncomingPhoneNumbers", "AreaCode", "533", None, 21452, "No phone numbers found", 50),
    ("IncomingPhoneNumbers", "AreaCode", "500", None, None, None, 51),
    ("Messages", "From", "+15005550001", None, 21212, INVALID_SENDER, 849),
    ("Messages", "From", "+15005550007", None, 21606, NOT_OWNED, 850),
    ("Messages", "From", "+15005550008", None, 21611, "SMS queue is full.", 851),
    ("Messages", "From", "+15005550006", None, None, None, 852),
    ("Messages", "From", "other", "+14105550101", 21606, NOT_OWNED, 853),
    ("Messages", "To", "+15005550001", None, 21211, "The 'To' number {} is not a valid phone number.", 856),
    ("Messages", "To", "+15005550002", None, 21612, UNREACHABLE, 857),
    ("Messages", "To", "+15005550003", None, 21408, NO_PERMISSION, 858),
    (
        "Messages",
        "To",
        "+15005550004",
        None,
        21610,
        "The message From/To pair violates a blacklist rule.",
        859,
    ),
    ("Messages", "To", "+15005550009", None, 21614, "To number: {}, is not a mobile number", 860),
    ("Messages", "To", "other", "+14105550102", None, None, 861),
    ("Calls", "From", "+15005550001", None, 21212, "From is not a valid phone number: {}", 1708),
    ("Calls", "From", "+15005550006", None, None, None, 1709),
    ("Calls", "From", "other", "+14105550101", 21210, UNVERIFIED, 1710),
    ("Calls", "To", "+15005550001", None, 21217, "{} does not appear to be a valid phone number", 1713),
    ("Calls", "To", "+15005550002", None, 21214, "'To' phone number cannot be reached", 1714),
    ("Calls", "To", "+15005550003", None, 21215, INTERNATIONAL, 1715),
    ("Calls", "To", "+15005550004", None, 21216, "Account not allowed to call {}", 1716),
    ("Calls", "To", "other", "+14105550102", None, None, 1717),
)
TABLES: Final = tuple(
    (resource, name, value, code, line) for resource, name, value, _, code, _, line in _ROWS
)


def _row(
    resource: str, name: str, value: str, sent: str | None, code: int | None, text: str | None, line: int
) -> Case:
    sent = sent or value
    message = text.format(sent) if text else None
    return Case(f"{resource}-{name}-{value}", resource, _BASE[resource] | {name: sent}, code, message, line)


ROWS: Final = tuple(_row(*row) for row in _ROWS)

EXAMPLES: Final = (
    Case("bought", "IncomingPhoneNumbers", {"VoiceUrl": URL, "PhoneNumber": VALID}, None, None, 52),
    Case(
        "unavailable",
        "IncomingPhoneNumbers",
        {"PhoneNumber": "+15005550000"},
        21422,
        "+15005550000 is not available",
        354,
    ),
    Case("too-short", "IncomingPhoneNumbers", {"PhoneNumber": "33"}, 21421, "33 is not a valid number", 593),
    Case("sent", "Messages", {"Body": "All's well", "To": NUMBER, "From": VALID}, None, None, 862),
    Case(
        "landline",
        "Messages",
        {"Body": "All's well", "To": "+15005550009", "From": VALID},
        21614,
        "To number: +15005550009, is not a mobile number",
        1157,
    ),
    Case("no-body", "Messages", {"To": NUMBER, "From": VALID}, 21602, "Message body is required.", 1425),
    Case("placed", "Calls", {"Url": URL, "To": NUMBER, "From": VALID}, None, None, 1718),
    Case(
        "no-permission",
        "Calls",
        {"Url": URL, "To": "+15005550003", "From": VALID},
        21215,
        INTERNATIONAL.format("+15005550003"),
        2031,
    ),
)

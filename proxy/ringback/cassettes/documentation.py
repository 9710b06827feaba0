"""The cassette that ships with the project: the page's eight examples, answered in JSON and in XML.

Made from the contract, which has the page's examples and errata as data: the page's own mistakes are
corrected and named, and fields that the live API has added since stand beside the page's.
`ringback cassettes documentation` writes it.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ringback import contract
from ringback.cassettes import layout, redaction
from ringback.cassettes.matching import FORM_TYPE
from ringback.cassettes.metadata import DOCUMENTED, provenance
from ringback.cassettes.redaction import ACCOUNT_PLACEHOLDER, Redaction
from ringback.cassettes.vcr_format import FIELD_SOURCE, Interaction
from ringback.contract import AnswerStamp, Credentials, Names, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ringback.contract import Answer, Contract
    from ringback.contract.schema import Example

_BASIC: Final = "Basic " + base64.b64encode(f"{ACCOUNT_PLACEHOLDER}:x".encode()).decode()


def documented_answer(loaded: Contract, request: Request, stamp: AnswerStamp) -> Answer:
    """The contract's answer to `request` of the account that stands for all; credentials are put in."""
    fields = tuple(pair for pair in request.headers if pair[0].lower() != "authorization")
    asked = replace(request, headers=(("Authorization", _BASIC), *fields))
    return contract.answer(loaded, asked, Names(asked.host), Credentials(), stamp)


def passes_gate() -> Callable[[Request], bool]:
    """Make the test whether the gate lets a redacted request pass, whatever its credentials."""
    loaded = contract.load()

    def passes(request: Request) -> bool:
        kept = tuple(pair for pair in request.headers if pair[0].lower() == "content-type")
        asked = replace(request, headers=(("Authorization", _BASIC), *kept))
        return not isinstance(
            contract.admit(loaded, asked, Names(asked.host), Credentials()), contract.Refused
        )

    return passes


_WHEN: Final = datetime(2012, 10, 10, 21, 36, 14, tzinfo=UTC)  # the date of the page's first answer
_HOST: Final = "api.twilio.com"


def cassette(loaded: Contract) -> bytes:
    """The whole file."""
    parts = [layout.make_entry(one) for example in loaded.examples for one in _interactions(loaded, example)]
    return layout.head({"ringback": provenance(Redaction(), DOCUMENTED) | _metadata(loaded)}) + b"".join(
        parts
    )


def _metadata(loaded: Contract) -> dict[str, Any]:
    return {
        "examples": [
            {
                "example": example.id,
                "interactions": [2 * number + 1, 2 * number + 2],
                "line": example.line,
                "answers": [example.json_line, example.xml_line],
                "errata": list(example.errata),
            }
            for number, example in enumerate(loaded.examples)
        ],
        "errata": {
            erratum.id: {"page": erratum.page, "answered": erratum.answered, "lines": list(erratum.lines)}
            for erratum in loaded.errata
        },
    }


def _interactions(loaded: Contract, example: Example) -> Iterator[Interaction]:
    for extension, line in ((".json", example.json_line), ("", example.xml_line)):
        request = Request(
            "POST",
            _HOST,
            f"/2010-04-01/Accounts/{ACCOUNT_PLACEHOLDER}/{example.resource}{extension}",
            (("Content-Type", FORM_TYPE),),
            urlencode(example.form).encode(),
        )
        digest = hashlib.sha256(f"{example.id}{extension}".encode()).hexdigest()
        stamp = AnswerStamp(digest[:32], digest[32:], _WHEN, 0.1)
        answer = documented_answer(loaded, request, stamp)
        said = f"{DOCUMENTED}; line={line}; example={example.id}"
        if example.errata:
            said += f"; errata={','.join(example.errata)}"
        yield redaction.redacted(Interaction(request, answer, ((FIELD_SOURCE, said),)), Redaction())

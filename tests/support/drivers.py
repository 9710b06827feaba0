"""Drive a real SDK under `ringback run`: every case in one child process, its answers by the case's name."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from support.rows import EXAMPLES, NUMBER, ROWS, SID_PREFIX, VALID, Case

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from support.product import Product
    from support.sdks import Sdk

ACCOUNT: Final = "AC" + "0123456789abcdef" * 2  # as in the drivers
AGAIN: Final = Case("sent-again", "Messages", EXAMPLES[3].form, None, None, EXAMPLES[3].line)
CASES: Final = (*ROWS, *EXAMPLES, AGAIN)
REFUSED: Final = "Resource not accessible with Test Account Credentials"
MESSAGE_SID: Final = re.compile(r"SM[0-9a-f]{32}")


@dataclass(frozen=True)
class Answers:
    """An SDK's results for all cases.

    Attributes:
        done: The run as a whole.
        by_id: What the driver printed for each case, and for `version`, `edge` and the refused resources.
    """

    done: subprocess.CompletedProcess[str]
    by_id: dict[str, dict[str, Any]]

    @property
    def sent(self) -> int:
        """The number of requests that the SDK made."""
        return len(self.by_id) - 1  # all but the version


def drive(product: Product, sdk: Sdk, driver: Path, directory: Path) -> Answers:
    """Run `driver` with all cases under `ringback run`."""
    return drive_by(product, [sdk.runtime, driver], directory, more=sdk.environment)


def drive_by(
    product: Product,
    command: Sequence[str | Path],
    directory: Path,
    *,
    after: Sequence[str | Path] = (),
    more: Mapping[str, str] | None = None,
) -> Answers:
    """Run a driver's `command` under `ringback run`, with the file of all cases and the arguments `after`."""
    cases = directory / "cases.json"
    cases.write_text(json.dumps([{"id": it.id, "resource": it.resource, "form": it.form} for it in CASES]))
    done = product.run([*command, cases, *after], more=more, cwd=directory)
    sys.stderr.write(done.stderr)  # pytest shows it beside a failure
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return Answers(done, {answer["id"]: answer for answer in answers})


def check_run(answers: Answers, version: str, *, repeated: int = 0) -> None:
    """The driver came to its end, every request was counted, and the right SDK made them.

    Args:
        answers: Its results.
        version: The SDK's version.
        repeated: The number of requests that the SDK sends a second time by itself.
    """
    assert answers.done.returncode == 0, answers.done.stderr
    assert answers.by_id["version"]["version"] == version
    assert f"ringback: {answers.sent + repeated} Twilio requests answered, offline" in answers.done.stderr


def check_case(
    case: Case, answer: dict[str, Any], *, exception: str, prefix: str, suffix: str = "", status: bool = True
) -> None:
    """The SDK raised its own exception with Twilio's code, status and text, or made its object of the answer.

    Args:
        case: What was sent and what it must get.
        answer: What the driver printed.
        exception: The SDK's exception for an error answer.
        prefix: What the SDK puts before Twilio's text, with `{status}` and `{code}` for the answer's.
        suffix: What the SDK puts behind it, likewise.
        status: Whether the SDK's exception has the status.
    """
    if case.code is not None:
        facts = {"status": case.status, "code": case.code}
        assert answer == {
            "id": case.id,
            "exception": exception,
            "status": case.status if status else None,
            "code": case.code,
            "message": prefix.format(**facts) + str(case.message) + suffix.format(**facts),
        }
        return
    assert "exception" not in answer
    sid = answer["sid"]
    assert re.fullmatch(rf"{SID_PREFIX[case.resource]}[0-9a-f]{{32}}", sid)
    assert answer["account_sid"] == ACCOUNT
    # twilio-python 5 puts a URL of its own making in place of the answer's, twilio-php 4 leaves out the end.
    uri = f"/2010-04-01/Accounts/{ACCOUNT}/{case.resource}/{sid}"
    assert answer["uri"] in {f"{uri}.json", f"https://api.twilio.com{uri}", uri}
    assert answer["created"] in {"datetime", "[object Date]"}  # the SDK could read the date
    if case.resource == "IncomingPhoneNumbers":
        assert answer["phone_number"] == VALID
        assert answer["voice_url"] == case.form.get("VoiceUrl", "")
    else:
        assert answer["to"] == case.form["To"]
        assert answer.get("from_", VALID) == VALID  # a call has no such attribute in twilio-python
        assert answer["status"] == "queued"
        assert answer.get("body") == case.form.get("Body")


def check_sids_differ(answers: Answers) -> None:
    """No two answers share a sid, those to equal requests included."""
    sids = [answer["sid"] for answer in answers.by_id.values() if "sid" in answer]
    assert len(set(sids)) == len(sids)
    assert AGAIN.form == EXAMPLES[3].form
    assert MESSAGE_SID.fullmatch(answers.by_id[AGAIN.id]["sid"])


def check_edge(answers: Answers) -> None:
    """The API's regional hosts answer too."""
    edge = answers.by_id["edge"]
    assert MESSAGE_SID.fullmatch(edge.get("sid", "")), edge
    assert (edge["to"], edge["body"]) == (NUMBER, "moved")

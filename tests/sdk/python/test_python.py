"""twilio-python 5 to 9, its asynchronous client and Debian's package, unchanged, under `ringback run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.drivers import (
    CASES,
    REFUSED,
    Answers,
    check_case,
    check_edge,
    check_run,
    check_sids_differ,
    drive,
)
from support.sdks import debian_python_sdk, python_sdk

if TYPE_CHECKING:
    from support.product import Product
    from support.rows import Case
    from support.sdks import Sdk

pytestmark = pytest.mark.xdist_group("sdk-python")  # one worker drives each client once

REST_EXCEPTION = "twilio.base.exceptions.TwilioRestException"
OLD_EXCEPTION = "twilio.rest.exceptions.TwilioRestException"
# A page of a list raises the base class, which carries the answer as text only.
LIST_EXCEPTION = "twilio.base.exceptions.TwilioException"

# client, and for 5 the Python: (SDK generation, None for Debian's; driver; exception; what the SDK puts
# before Twilio's text)
CLIENTS: dict[str, tuple[str | None, str, str, str]] = {
    "9": ("9", "driver.py", REST_EXCEPTION, "Unable to create record: "),
    "9-async": ("9", "driver_async.py", REST_EXCEPTION, "Unable to create record: "),
    "8": ("8", "driver.py", REST_EXCEPTION, "Unable to create record: "),
    "7": ("7", "driver.py", REST_EXCEPTION, "Unable to create record: "),
    # 7.7 in Debian 12: of the versions that no variable makes trust a CA.
    "debian": (None, "driver.py", REST_EXCEPTION, "Unable to create record: "),
    "6": ("6", "driver.py", REST_EXCEPTION, "Unable to create record: "),
    "5-3.7": ("5", "driver_old.py", OLD_EXCEPTION, ""),
    "5-3.6": ("5", "driver_old.py", OLD_EXCEPTION, ""),
    "5-2.7": ("5", "driver_old.py", OLD_EXCEPTION, ""),
}


@pytest.fixture(scope="module", params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def sdk(client: str) -> Sdk:
    generation = CLIENTS[client][0]
    if generation is None:
        return debian_python_sdk()
    return python_sdk(generation, *(client.split("-")[1:] if generation == "5" else []))


@pytest.fixture(scope="module")
def answers(client: str, sdk: Sdk, product: Product, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    directory = tmp_path_factory.mktemp(f"python-{client}")
    return drive(product, sdk, Path(__file__).with_name(CLIENTS[client][1]), directory)


def test_every_request_went_through_the_proxy(answers: Answers, sdk: Sdk) -> None:
    check_run(answers, sdk.version)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_row_or_example(answers: Answers, client: str, case: Case) -> None:
    _, _, exception, prefix = CLIENTS[client]
    check_case(case, answers.by_id[case.id], exception=exception, prefix=prefix)


def test_equal_requests_get_different_sids(answers: Answers) -> None:
    check_sids_differ(answers)


def test_other_resources_are_refused(answers: Answers, client: str) -> None:
    exception = CLIENTS[client][2]
    prefix = "" if client.startswith("5") else "Unable to fetch record: "
    expected = {"exception": exception, "status": 403, "code": 20008, "message": f"{prefix}{REFUSED}"}
    fetched = ["fetch-message", "fetch-account"]
    fetched += ["list-calls"] if client.startswith("5") else ["lookup"]
    for name in fetched:
        assert answers.by_id[name] == {"id": name, **expected}


def test_a_list_is_refused(answers: Answers, client: str) -> None:
    listed = answers.by_id["list-calls"]
    assert listed["exception"] == (OLD_EXCEPTION if client.startswith("5") else LIST_EXCEPTION)
    assert REFUSED in listed["message"]


def test_regional_hosts_answer(answers: Answers, client: str) -> None:
    if client.startswith("5"):  # knows no regions
        assert "edge" not in answers.by_id
    else:
        check_edge(answers)

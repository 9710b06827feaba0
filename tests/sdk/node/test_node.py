"""twilio-node 2 to 6, unchanged, under `ringback run`."""

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
from support.sdks import NODE, node_sdk

if TYPE_CHECKING:
    from support.product import Product
    from support.rows import Case

pytestmark = pytest.mark.xdist_group("sdk-node")  # one worker drives each client once

DRIVER = Path(__file__).with_name("driver.js")


def exception_of(generation: str) -> str:
    """The class of an SDK's error: generation 2 gives a bare object."""
    return "Object" if generation == "2" else "RestException"


@pytest.fixture(scope="module", params=NODE)
def generation(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def answers(generation: str, product: Product, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    return drive(product, node_sdk(generation), DRIVER, tmp_path_factory.mktemp(f"node-{generation}"))


def test_every_request_went_through_the_proxy(answers: Answers, generation: str) -> None:
    check_run(answers, NODE[generation])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_row_or_example(answers: Answers, generation: str, case: Case) -> None:
    check_case(case, answers.by_id[case.id], exception=exception_of(generation), prefix="")


def test_equal_requests_get_different_sids(answers: Answers) -> None:
    check_sids_differ(answers)


@pytest.mark.parametrize("name", ["fetch-message", "list-calls", "fetch-account", "lookup"])
def test_other_resources_are_refused(answers: Answers, generation: str, name: str) -> None:
    assert answers.by_id[name] == {
        "id": name,
        "exception": exception_of(generation),
        "status": 403,
        "code": 20008,
        "message": REFUSED,
    }


def test_regional_hosts_answer(answers: Answers, generation: str) -> None:
    if generation == "2":  # knows no regions
        assert "edge" not in answers.by_id
    else:
        check_edge(answers)

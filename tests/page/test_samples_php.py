"""The page's own PHP samples under `ringback run`: twilio-php 4 and 5, where they can be had.

They are unchanged but for `/path/to`, the page's placeholder for where the SDK is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.launching import needs
from support.page import EXAMPLES, OWN_ANSWER, Page
from support.rows import EXAMPLES as CASES
from support.rows import SID_PREFIX
from support.samples import held_to
from support.unreached import php_sdk

if TYPE_CHECKING:
    from pathlib import Path

    from support.product import Product

CREATE_FUNCTION = """<?php
if (!function_exists('create_function')) {
    function create_function($arguments, $code) { return eval("return function ($arguments) { $code };"); }
}
"""


@pytest.mark.parametrize("at", range(len(EXAMPLES)), ids=[f"{name}-{n}" for name, n in EXAMPLES])
@pytest.mark.parametrize("generation", ["4", "5"])
def test_php(product: Product, page: Page, tmp_path: Path, at: int, generation: str) -> None:
    sample, case = page.examples[at].sample("php", generation), CASES[at]
    sdk = php_sdk(generation)
    assert sample.source.count("/path/to/") == 1
    file = tmp_path / "sample.php"
    # twilio-php 4 calls create_function, which PHP 8 no longer has.
    (tmp_path / "compat.php").write_text(CREATE_FUNCTION)
    (tmp_path / "compat.ini").write_text(f"auto_prepend_file = {tmp_path / 'compat.php'}\n")
    file.write_text(sample.source.replace("/path/to/", f"{sdk}/"))
    # Newer PHPs deprecate what these SDKs do, and would print that among their output.
    command = [needs("php"), "-d", "display_errors=stderr", "-d", "error_reporting=1", file]
    done = product.run(command, more={"PHP_INI_SCAN_DIR": f":{tmp_path}"})
    held_to(case, sample, done)
    own = OWN_ANSWER.get((sample.resource, sample.example, sample.language, generation))
    if case.code is None and own is None:
        assert re.fullmatch(SID_PREFIX[case.resource] + "[0-9a-f]{32}", done.stdout)

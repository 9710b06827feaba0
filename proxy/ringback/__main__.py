"""The `ringback` command."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; exits with the command's exit code."""
    _look_at_home_first()
    from ringback.cli import ringback  # noqa: PLC0415 - after the path is in order

    ringback(prog_name="ringback")


def _look_at_home_first() -> None:
    """PYTHONPATH is for the program that is run: it may hold other versions of what Ringback imports."""
    theirs = {os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry}  # noqa: PTH100 - as site.py compares, links untouched
    sys.path.sort(key=lambda entry: entry in theirs)  # stable


if __name__ == "__main__":
    main()

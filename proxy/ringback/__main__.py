"""The `ringback` command."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Final

EXIT_OUTPUT: Final = 74  # EX_IOERR of sysexits.h: no command's own, for some of them 1 and 2 are results
# What writing to a file, a terminal or a pipe fails with; the errors of other files have their names.
_NOT_WRITTEN: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE})


def main() -> None:
    """Run the command line; exits with the command's exit code, or EXIT_OUTPUT where it could not print."""
    _look_at_home_first()
    from ringback.cli import ringback  # noqa: PLC0415 - after the path is in order

    if sys.stdout is None:  # closed by the shell (>&-): nobody wants to read it
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until the end
    try:
        try:
            ringback(prog_name="ringback")
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None or error.errno not in _NOT_WRITTEN:
            raise
        # What is left in the buffer would be tried again at the end, and fail with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if error.errno != errno.EPIPE:  # who reads no further knows
            with suppress(OSError):
                print(f"ringback: the output cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201 - all that is left
        sys.exit(EXIT_OUTPUT)


def _look_at_home_first() -> None:
    """PYTHONPATH is for the program that is run: it may hold other versions of what Ringback imports."""
    theirs = {os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry}  # noqa: PTH100 - as site.py compares, links untouched
    sys.path.sort(key=lambda entry: entry in theirs)  # stable


if __name__ == "__main__":
    main()

"""Set Ringback up and show it at work: real requests through the proxy, offline."""

from __future__ import annotations

import os
import sys

from bootstrap import ROOT, environment


def main() -> None:
    """Become `ringback run -- python examples/first_requests.py`."""
    python = environment()
    program = ROOT / "examples" / "first_requests.py"
    command = [str(python), "-m", "ringback", "run", "--", str(python), str(program)]
    print(f"\n$ ringback run -- python {program.relative_to(ROOT)}\n", flush=True)
    os.execv(command[0], command)  # noqa: S606 - the paths are the checkout's own


if __name__ == "__main__":
    sys.exit(main())

"""A check that this machine allows `ringback run --mount-namespace` with its witness."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Final


def _allowed() -> bool:
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    mounting = ["unshare", "--mount", "mount", "--bind", "/etc/hosts", "/etc/hosts"]
    return subprocess.run(mounting, check=False, capture_output=True).returncode == 0


ALLOWED: Final = _allowed()

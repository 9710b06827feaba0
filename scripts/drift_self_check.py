"""Mutation testing of the drift check: changes one answer at a time, and shows which changes are found.

python3 scripts/drift_self_check.py                        500 changes as a table for the README
python3 scripts/drift_self_check.py --count 16 --seed 3    other changes

It needs an environment with Ringback and the packages of its tests (scripts/test.py makes one). It ends with
1 if a change was not found, or if anything else was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from ringback.drift.claims import ClaimSet
from support.mutations import table, try_all

HEAD = ("kind of change", "severity", "planted", "found", "other findings", "findings without it")


def main(arguments: list[str]) -> int:
    """Print the table; return 0 if every change was found, and nothing else."""
    parser = argparse.ArgumentParser(description="Mutation testing of the drift check.")
    parser.add_argument("--count", type=int, default=500, help="how many changes")
    parser.add_argument("--seed", type=int, default=1, help="chooses them")
    options = parser.parse_args(arguments)
    tried = list(try_all(ClaimSet(), options.count, options.seed))
    found = sum(item.found for item in tried)
    others, before = sum(item.others for item in tried), sum(item.before for item in tried)
    rows = [*table(tried), ("all", "", len(tried), found, others, before)]
    for row in (HEAD, ("---", "---", "---:", "---:", "---:", "---:"), *rows):
        print(f"| {' | '.join(map(str, row))} |")
    return 0 if found == len(tried) and not others and not before else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

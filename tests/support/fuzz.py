"""A fuzzer of one target, guided by coverage: `python tests/support/fuzz.py TARGET SECONDS [keep]`.

It begins with the target's corpus. A violation ends it with a status that is not 0, the traceback, and the
input's file beside the inputs that were found. With `keep`, the smallest of those that
covered something new join the corpus.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "proxy")]

with atheris.instrument_imports(include=["ringback", "support.fuzzing"]):
    from support import fuzzing


def main(target: str, *flags: str) -> None:
    """Try inputs until libFuzzer's flags say that it is enough; does not return."""
    function = fuzzing.TARGETS[target]
    logging.disable()

    def once(data: bytes) -> None:
        with fuzzing.time_limit():
            function(data)

    atheris.Setup([sys.argv[0], f"-max_len={fuzzing.LARGEST}", "-timeout=120", "-verbosity=0", *flags], once)
    atheris.Fuzz()


def run(target: str, seconds: int, *, keep: bool) -> int:
    """Fuzz a target in a process of its own; return its status."""
    work = Path(tempfile.mkdtemp(prefix=f"fuzz-{target}-"))
    known, found = work / "known", work / "found"
    for directory in (known, found):
        directory.mkdir()
    for number, data in enumerate(fuzzing.corpus(target)):
        (known / str(number)).write_bytes(data)
    program = [sys.executable, __file__, "--one", target]
    begun = [*program, f"-max_total_time={seconds}", "-print_final_stats=1", f"-artifact_prefix={work}/"]
    status = subprocess.run([*begun, str(found), str(known)], check=False).returncode
    if status:
        sys.stderr.write(f"{target}: see the files in {work}\n")
    elif keep:
        fuzzing.keep(target, [file.read_bytes() for file in (*known.iterdir(), *found.iterdir())])
    return status


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        main(*sys.argv[2:])
    else:
        sys.exit(run(sys.argv[1], int(sys.argv[2]), keep="keep" in sys.argv[3:]))

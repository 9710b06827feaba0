"""Cost of a cassette by size: first answer, lookup, append and memory; beside 10 exchanges and vcrpy.

    python -m benchmarks.cassettes                 10, 1,000 and 100,000 exchanges; vcrpy up to 10,000
    python -m benchmarks.cassettes --vcrpy-full    vcrpy at 100,000 too (minutes, gigabytes)
    python -m benchmarks.cassettes --json FILE     the same as JSON

Every figure comes from processes of their own, so that memory is that of one cassette. Lookups are of
exchanges that were not parsed before; appends wait for their fsync, one client alone and 64 at once. Each
figure is the median of several processes, which take turns so that a busy moment of the machine hits all
sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.load import recorded_form
from ringback.cassettes import layout
from ringback.cassettes.cassette import CassetteDirectory
from ringback.cassettes.matching import ACCOUNT_PLACEHOLDER, FORM_TYPE, plain_key
from ringback.cassettes.redaction import Redaction, provenance
from ringback.cassettes.vcr_format import Interaction, dump
from ringback.exchange import Answer, Request, Source

SIZES = (10, 1_000, 100_000)
VCRPY_SIZES = (10, 1_000, 10_000)
LOOKUPS = 300
APPENDS = 100
AT_ONCE = 64
ROUNDS = 5
HEADERS = tuple((f"X-Header-{number}", "a value of the usual length") for number in range(16))
URL = f"/2010-04-01/Accounts/{ACCOUNT_PLACEHOLDER}/Messages.json"


def make_request(number: int) -> Request:
    """A request that differs from every other number's."""
    form = urlencode(recorded_form(number)).encode()
    return Request("POST", "api.twilio.com", URL, (("Content-Type", FORM_TYPE),), form)


def make_answer(number: int) -> Answer:
    """An answer of the usual size."""
    fields = {f"field_{field}": "some value" for field in range(18)} | {"sid": f"SM{number:032d}"}
    body = json.dumps(fields).encode()
    headers = (("Content-Type", "application/json"), ("Content-Length", str(len(body))), *HEADERS)
    return Answer(201, "CREATED", headers, body, Source("live"))


def make_cassette(path: Path, size: int) -> None:
    """A cassette of `size` different exchanges; all but the numbers are written once."""
    item = dump(Interaction(make_request(0), make_answer(0)))
    with path.open("wb") as file:
        file.write(layout.head({"ringback": provenance(Redaction())}))
        for number in range(size):
            key = bytes.fromhex(plain_key(make_request(number)).digest)
            named = item.replace(b"%2B1410" + b"0" * 7, b"%%2B1410%07d" % number)
            named = named.replace(b"+" + b"0" * 7, b"+%07d" % number).replace(b"0" * 32, b"%032d" % number)
            named = named.replace(b"AC%032d" % number, ACCOUNT_PLACEHOLDER.encode())
            file.write(layout.entry(key, named))


def memory() -> float:
    """Resident megabytes of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6


def measure_ours(path: Path, size: int) -> dict[str, float]:
    """Seconds, and megabytes, of one process that uses this library."""
    before = memory()
    chosen = random.Random(size).sample(range(size), min(size, LOOKUPS))
    lookups: list[float] = []
    began = time.perf_counter()
    library = CassetteDirectory(path.parent, mode="auto")
    cassette = library.open(path.stem)
    assert isinstance(cassette.lookup(make_request(chosen[0])), Answer)
    first = time.perf_counter() - began
    library.close()
    while len(lookups) < LOOKUPS:  # small cassettes are opened again, so that nothing is parsed already
        library = CassetteDirectory(path.parent, mode="auto")
        cassette = library.open(path.stem)
        cassette.lookup(make_request(-1))
        requests = [make_request(number) for number in chosen]
        for request in requests:
            began = time.perf_counter()
            cassette.lookup(request)
            lookups.append(time.perf_counter() - began)
        resident = memory() - before
        if len(lookups) < LOOKUPS:
            library.close()
    alone = []
    for number in range(APPENDS):
        began = time.perf_counter()
        cassette.record(make_request(10_000_000 + number), make_answer(number)).result()
        alone.append(time.perf_counter() - began)
    began = time.perf_counter()
    waiting = [cassette.record(make_request(20_000_000 + one), make_answer(one)) for one in range(AT_ONCE)]
    for done in waiting:
        done.result()
    together = (time.perf_counter() - began) / AT_ONCE
    library.close()
    return {
        "first answer": first,
        "lookup": statistics.median(lookups),
        "append": statistics.median(alone),
        "append, 64 at once": together,
        "resident MB": resident,
    }


def measure_vcrpy(path: Path, size: int) -> dict[str, float]:
    """The same with vcrpy; its loading is its first answer."""
    import vcr  # noqa: PLC0415 - its import is no part of ours
    from vcr.request import Request as VcrRequest  # noqa: PLC0415 - as above

    def asked(number: int) -> VcrRequest:
        request = make_request(number)
        headers = {"Content-Type": FORM_TYPE}
        return VcrRequest("POST", f"https://api.twilio.com{URL}", request.body, headers)

    before = memory()
    recorder = vcr.VCR(match_on=["method", "uri", "body"], record_mode="new_episodes")
    began = time.perf_counter()
    with recorder.use_cassette(str(path)) as cassette:
        loaded = time.perf_counter() - began
        cassette.play_response(asked(0))
        first = time.perf_counter() - began
        lookups = []
        for number in random.Random(size).sample(range(1, size), min(size - 1, 5)):
            began = time.perf_counter()
            cassette.play_response(asked(number))
            lookups.append(time.perf_counter() - began)
        resident = memory() - before
    return {
        "load": loaded,
        "first answer": first,
        "lookup": statistics.median(lookups),
        "resident MB": resident,
    }


def run(what: str, path: Path, size: int) -> dict[str, float]:
    """Measure in a process of its own."""
    arguments = [sys.executable, "-m", "benchmarks.cassettes", "--worker", what, str(path), str(size)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def measure(directory: Path, vcrpy_sizes: tuple[int, ...]) -> dict[str, Any]:
    """All figures of all sizes."""
    ours: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
    theirs: dict[int, list[dict[str, float]]] = {size: [] for size in vcrpy_sizes}
    for size in sorted({*SIZES, *vcrpy_sizes}):
        make_cassette(directory / f"size-{size}.yaml", size)
    for round_ in range(ROUNDS):
        for size in SIZES:
            path = directory / f"size-{size}.yaml"
            whole = path.stat().st_size
            ours[size].append(run("ours", path, size))
            os.truncate(path, whole)
        for size in vcrpy_sizes:
            if round_ == 0 or size <= 1000:
                theirs[size].append(run("vcrpy", directory / f"size-{size}.yaml", size))
    return {
        "ringback": {size: medians(rounds) for size, rounds in ours.items()},
        "vcrpy": {size: medians(rounds) for size, rounds in theirs.items()},
    }


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """Return the ratios that the aims limit."""
    ours, theirs = found["ringback"], found["vcrpy"]
    large, most = SIZES[-1], max(theirs)
    load = theirs[most]["first answer"] * large / most  # grows with the size; measured with --vcrpy-full
    return {
        "lookup, 100,000 to 10": ours[large]["lookup"] / ours[10]["lookup"],
        "append, 100,000 to 10": ours[large]["append"] / ours[10]["append"],
        "append at once, 100,000 to 10": ours[large]["append, 64 at once"] / ours[10]["append, 64 at once"],
        "first answer, to vcrpy's" + (" (estimated)" if most < large else ""): ours[large]["first answer"]
        / load,
        f"lookup, to vcrpy's at {most:,}": ours[large]["lookup"] / theirs[most]["lookup"],
    }


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [
        f"{'':10}{'exchanges':>10}{'first':>12}{'lookup':>12}{'append':>12}{'64 at once':>12}{'resident':>12}"
    ]
    for who in ("ringback", "vcrpy"):
        for size, one in found[who].items():
            cells = [one["first answer"], one["lookup"], one.get("append"), one.get("append, 64 at once")]
            shown = "".join(f"{cell * 1000:>9.2f} ms" if cell is not None else f"{'-':>12}" for cell in cells)
            lines.append(f"{who:10}{size:>10,}{shown}{one['resident MB']:>9.1f} MB")
    lines += ["", *(f"{name:44}{value:8.4f}" for name, value in found["ratios"].items())]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument(
        "--directory", type=Path, help="where the cassettes are made; the disk counts for appends"
    )
    parser.add_argument("--vcrpy-full", action="store_true", help="load 100,000 exchanges with vcrpy too")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        what, path, size = options.worker
        figures = (measure_ours if what == "ours" else measure_vcrpy)(Path(path), int(size))
        print(json.dumps(figures))
        return
    sizes = (*VCRPY_SIZES, SIZES[-1]) if options.vcrpy_full else VCRPY_SIZES
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        found = measure(Path(directory), sizes)
    found["ratios"] = ratios(found)
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

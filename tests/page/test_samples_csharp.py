"""The page's own C# samples, unchanged, under `ringback run`: twilio-csharp 4 and 5, where they can be had.

Generation 5 runs on .NET. Generation 4 is for .NET Framework, whose like on this system is Mono.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.dotnet import compiled, compiled_for_mono, dotnet, mono
from support.page import EXAMPLES, OWN_ANSWER, Page, Sample
from support.rows import EXAMPLES as CASES
from support.rows import SID_PREFIX
from support.samples import held_to
from support.unreached import csharp_sdk

if TYPE_CHECKING:
    from pathlib import Path

    from support.product import Product

ALL = pytest.mark.parametrize("at", range(len(EXAMPLES)), ids=[f"{name}-{n}" for name, n in EXAMPLES])


def printed_a_sid(sample: Sample, at: int, stdout: str) -> bool:
    case = CASES[at]
    own = OWN_ANSWER.get((sample.resource, sample.example, sample.language, sample.generation))
    if case.code is not None or own is not None:
        return not stdout.strip()
    return re.fullmatch(SID_PREFIX[case.resource] + "[0-9a-f]{32}\n", stdout) is not None


@ALL
def test_csharp_5(product: Product, page: Page, tmp_path: Path, at: int) -> None:
    sample = page.examples[at].sample("csharp", "5")
    libraries = sorted(csharp_sdk("5").glob("*.dll"))
    runtime = dotnet()
    (tmp_path / "Example.cs").write_text(sample.source)
    for library in libraries:  # where `dotnet` looks for them
        (tmp_path / library.name).symlink_to(library)
    program = compiled(runtime, [tmp_path / "Example.cs"], tmp_path / "Example.dll", libraries)
    done = product.run([runtime.program, program], more=runtime.variables)
    held_to(CASES[at], sample, done)
    assert printed_a_sid(sample, at, done.stdout)


@ALL
def test_csharp_4(product: Product, page: Page, tmp_path: Path, at: int) -> None:
    sample = page.examples[at].sample("csharp", "4")
    libraries = sorted(csharp_sdk("4").glob("*.dll"))
    (tmp_path / "Example.cs").write_text(sample.source)
    for library in libraries:
        (tmp_path / library.name).symlink_to(library)
    program = compiled_for_mono(tmp_path / "Example.cs", tmp_path / "Example.exe", libraries)
    home = {"HOME": str(tmp_path)}
    product.run(["true"], more=home)  # makes the CA
    root = product.home / "ca" / "current" / "mitmproxy-ca-cert.pem"
    path = {"PATH": "/usr/bin:/bin"}
    subprocess.run(["cert-sync", "--user", str(root)], env=home | path, check=True, capture_output=True)
    done = product.run([mono(), program], more=home)
    # This generation raises nothing: it prints an empty sid.
    held_to(CASES[at], sample, done, raises=False)
    assert printed_a_sid(sample, at, done.stdout)

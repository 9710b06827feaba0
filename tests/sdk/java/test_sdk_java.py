"""twilio-java, one version of each generation, fetched with Maven and run under `ringback run`, unchanged."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.launching import needs
from support.maven import POM, jars, maven
from support.product import CACHE, alone_in

if TYPE_CHECKING:
    from support.product import Product

HERE = Path(__file__).parent

JUNIT = """
    <dependency>
      <groupId>junit</groupId><artifactId>junit</artifactId><version>4.13.2</version>
    </dependency>"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "program, artifact, version",
    [
        ("Old", "twilio-java-sdk", "3.4.5"),
        ("Old", "twilio-java-sdk", "6.3.0"),
        ("Current", "twilio", "7.0.0"),
        ("Current", "twilio", "7.55.3"),
        ("Current", "twilio", "13.0.1"),
        ("OwnClient", "twilio", "13.0.1"),
    ],
)
def test_a_program_of_each_generation(
    program: str, artifact: str, version: str, product: Product, tmp_path: Path
) -> None:
    classpath = f"{jars(artifact, version)}/*:{tmp_path}"
    source = HERE / f"{program}.java"
    compiled = [needs("javac"), "-nowarn", "-cp", classpath, "-d", str(tmp_path), str(source)]
    subprocess.run(compiled, check=True, capture_output=True)
    done = product.run([needs("java"), "-cp", classpath, program])
    lines = [line for line in done.stdout.splitlines() if not line.startswith("SLF4J")]
    expected = ["SM queued"] if program == "OwnClient" else ["SM queued", "21211"]
    assert lines == expected, done.stderr
    assert done.returncode == 0


SUREFIRE = """
import static org.junit.Assert.assertEquals;
import com.twilio.Twilio;
import com.twilio.exception.ApiException;
import com.twilio.rest.api.v2010.account.Message;
import com.twilio.type.PhoneNumber;
import org.junit.Test;

public class SendingTest {
    @Test public void refused() {
        Twilio.init(System.getenv("TWILIO_ACCOUNT_SID"), System.getenv("TWILIO_AUTH_TOKEN"));
        try {
            PhoneNumber from = new PhoneNumber("+15005550006");
            Message.creator(new PhoneNumber("+15005550001"), from, "hello").create();
            throw new AssertionError("was sent");
        } catch (ApiException error) {
            assertEquals(Integer.valueOf(21211), error.getCode());
        }
    }
}
"""
NOTHING = "public class NothingTest { @org.junit.Test public void nothing() {} }\n"


@pytest.mark.slow
def test_maven_runs_a_junit_test_in_its_own_jvm(product: Product) -> None:
    place = CACHE / "java" / "surefire"
    with alone_in(place):
        _fetch_surefire(place)
        done = product.run([needs("mvn"), "-B", "-o", "test", "-Dtest=SendingTest"], cwd=place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Tests run: 1, Failures: 0, Errors: 0", done.stdout)
    assert "1 Twilio request answered" in done.stderr


def _fetch_surefire(place: Path) -> None:
    (place / "src/test/java").mkdir(parents=True, exist_ok=True)
    (place / "pom.xml").write_text(POM.format(artifact="twilio", version="13.0.1", more=JUNIT))
    (place / "src/test/java/SendingTest.java").write_text(SUREFIRE)
    # Surefire fetches what it runs JUnit with when there is a test to run.
    (place / "src/test/java/NothingTest.java").write_text(NOTHING)
    maven(place, "test", "-Dtest=NothingTest")

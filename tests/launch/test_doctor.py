from __future__ import annotations

import base64

import pytest

from ringback.cli.doctor import Diagnosis, diagnose
from ringback.launch.probes import BASIC, PROBES, SID, TOKEN

PROBE = PROBES[0]


def _judged(said: str, *, arrived: bool = False, code: int = 1) -> Diagnosis:
    return diagnose(PROBE, "/usr/bin/python3", "3.11", said, arrived=arrived, code=code)


def test_all_is_well() -> None:
    finding = _judged("201\n", arrived=True, code=0)
    assert (finding.ok, finding.proxied, finding.trusted, finding.advice, finding.output) == (
        True,
        True,
        True,
        "",
        "",
    )


@pytest.mark.parametrize(
    "said",
    [
        "ssl.SSLCertVerificationError: certificate verify failed: unable to get local issuer certificate",
        "sun.security.provider.certpath.SunCertPathBuilderException: PKIX path building failed",
        "x509: certificate signed by unknown authority",
        "curl: (60) SSL certificate problem: unable to get local issuer certificate",
        "Error: self-signed certificate in certificate chain",
    ],
)
def test_a_client_that_does_not_trust_the_ca(said: str) -> None:
    finding = _judged(said)
    assert (finding.ok, finding.proxied, finding.trusted) == (False, True, False)
    assert PROBE.advice in finding.advice
    assert finding.output == said


@pytest.mark.parametrize(
    "said",
    [
        "getaddrinfo ENOTFOUND api.doctor.twilio.com",
        "Connection refused",
        "No usable version of libssl was found",  # .NET without an OpenSSL that it knows
        "",
    ],
)
def test_a_client_that_does_not_arrive(said: str) -> None:
    finding = _judged(said)
    assert (finding.ok, finding.proxied, finding.trusted) == (False, None, None)


def test_a_client_that_was_answered_by_somebody_else() -> None:
    finding = _judged("201", code=0)
    assert (finding.ok, finding.proxied) == (False, False)


def test_an_answer_that_was_not_understood() -> None:
    finding = _judged("JSONDecodeError", arrived=True)
    assert "did not understand" in finding.advice
    assert not finding.ok


def test_an_sdk_that_reads_another_code_is_not_well() -> None:
    """As twilio-php before 5.37 does behind an HTTP proxy."""
    finding = _judged("SDK 5.16.0\nanswers read as 200, 0", arrived=True, code=0)
    assert not finding.ok
    assert finding.output == "answers read as 200, 0"


def test_a_text_that_the_sdk_changed_is_not_well() -> None:
    finding = _judged("SDK 9.0.0\nanswers read as [201, [21211, 'bad request']]", arrived=True, code=0)
    assert not finding.ok


def test_the_probes_login() -> None:
    assert "Basic " + base64.b64encode(f"{SID}:{TOKEN}".encode()).decode() == BASIC


def test_a_traces_frames_are_left_out() -> None:
    said = "Caused by: java.security.cert.CertPathValidatorException: no\n\tat a.b(C.java:1)\n\t... 24 more"
    assert _judged(said).output == "Caused by: java.security.cert.CertPathValidatorException: no"

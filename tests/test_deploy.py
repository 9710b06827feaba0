"""The Helm chart, the manifests, the dashboard, and the script that places a CA."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ringback.control import Control
from ringback.exchange import Answer, Request
from ringback.launch.ca import default_directory, ensure_authority
from ringback.launch.certificates import make_chain
from ringback.settings import options_of
from support.clients import GOOD, post, respond

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "ringback"
PLAIN = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
VERSION = "1.32"  # of Kubernetes
CUSTOM = {"Certificate", "Issuer", "ServiceMonitor"}  # defined by their own projects


def documents(text: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(text) if one]


def rendered(values: Path, *more: str) -> subprocess.CompletedProcess[str]:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("there is no helm")
    command = [helm, "template", "ringback", CHART, "-f", values, "--kube-version", f"{VERSION}.0", *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def everything(source: Path) -> list[dict[str, Any]]:
    if source in PLAIN:
        return documents(source.read_text(encoding="utf-8"))
    done = rendered(source)
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


def pods(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in found:
        spec = one["spec"]
        if one["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if one["kind"] in {"CronJob", "Deployment", "Job"}:
            yield spec["template"]["spec"]


@pytest.mark.parametrize("source", [*PLAIN, *VALUES], ids=lambda path: path.name)
def test_manifests_are_valid(source: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate has the schemas")
    found = everything(source)
    assert found
    for one in found:
        if one["kind"] not in CUSTOM:
            validate.validate(one, VERSION, strict=True)


@pytest.mark.parametrize("source", [*PLAIN, *VALUES], ids=lambda path: path.name)
def test_every_pod_is_restricted(source: Path) -> None:
    found = list(pods(everything(source)))
    assert found
    for pod in found:
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert not [one for one in pod["volumes"] if "hostPath" in one]
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("source", [*PLAIN, *VALUES], ids=lambda path: path.name)
def test_the_network_policy_lets_nothing_out_but_what_is_named(source: Path) -> None:
    found = everything(source)
    policies = [one["spec"] for one in found if one["kind"] == "NetworkPolicy"]
    if source.name == "plain-values.yaml":
        assert policies == []
        return
    [policy] = policies
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    ports = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    outside = [peer for rule in policy["egress"] for peer in rule["to"] if "ipBlock" in peer]
    live = any("--mode=auto" in one.get("args", ()) for pod in pods(found) for one in pod["containers"])
    if live:
        assert ports == {53, 443}
        [block] = outside
        assert "10.0.0.0/8" in block["ipBlock"]["except"], "nothing inside by this rule"
    elif policy["egress"]:
        assert ports <= {53, 6379, 443}
        assert [peer["ipBlock"]["cidr"] for peer in outside] in ([], ["203.0.113.0/24"])
    else:
        assert source.name in {"offline-values.yaml", "ringback.yaml", "sidecar.yaml"}


@pytest.mark.parametrize("source", [*PLAIN, *VALUES], ids=lambda path: path.name)
def test_options_exist(source: Path) -> None:
    known = {option.flag for option in options_of("serve")}
    for pod in pods(everything(source)):
        for container in [*pod["containers"], *pod.get("initContainers", ())]:
            if container.get("args", [""])[0] == "serve":
                given = {one.partition("=")[0] for one in container["args"] if one.startswith("--")}
                assert given <= known


@pytest.mark.parametrize("name", ["ringback", "fleet"])
def test_plain_manifests_are_the_charts(name: str) -> None:
    values = CHART / "ci" / {"ringback": "offline-values.yaml"}.get(name, "fleet-values.yaml")
    text = (ROOT / "deploy" / "kubernetes" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.partition("\n")[2] == rendered(values).stdout, text.partition("\n")[0]


@pytest.mark.parametrize(
    "values, why",
    [
        ({"replicaCount": 2}, "more than one replica needs state.enabled"),
        ({"replicaCount": 2, "state": {"enabled": True}}, "more than one replica needs one CA"),
    ],
)
def test_replicas_that_would_disagree_are_refused(values: dict[str, Any], why: str, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(json.dumps(values))
    done = rendered(file)
    assert done.returncode != 0
    assert why in done.stderr


def test_the_chart_is_linted() -> None:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("there is no helm")
    for values in VALUES:
        command = [helm, "lint", "--strict", "-f", values, "--kube-version", f"{VERSION}.0", CHART]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout
    assert len(VALUES) >= 5


def test_the_chart_has_the_version_of_the_program() -> None:
    import ringback  # noqa: PLC0415 - its version alone

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert chart["appVersion"] == ringback.__version__


def test_the_dashboard_shows_metrics_that_exist() -> None:
    from ringback.responder import Responder  # noqa: PLC0415 - for one test
    from ringback.settings import Settings  # noqa: PLC0415 - as above

    responder = Responder.open(Settings())
    respond(responder, post("Messages", GOOD["Messages"]), _names())
    got = Control(responder).handle(Request("GET", "127.0.0.1", "/ringback/metrics"), "127.0.0.1")
    assert isinstance(got, Answer)
    known = set(re.findall(r"^# TYPE (\w+)", got.body.decode(), re.MULTILINE))
    board = json.loads((ROOT / "deploy" / "grafana" / "ringback.json").read_text(encoding="utf-8"))
    used = {
        re.sub(r"_bucket$", "", name)
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"ringback_\w+", target["expr"])
    }
    assert len(used) >= 8
    assert used <= known
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def _names() -> Any:
    from ringback.contract import Names  # noqa: PLC0415 - for one test

    return Names("api.twilio.com")


# -- the CA of a secret


def place(given: Path, home: Path) -> subprocess.CompletedProcess[str]:
    script = ROOT / "scripts" / "container" / "place_ca.py"
    return subprocess.run(
        [sys.executable, script, given],
        env={**os.environ, "RINGBACK_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def as_cert_manager(directory: Path, when: datetime) -> Path:
    """Write a chain as cert-manager's secret has it: key, intermediate, root."""
    blocks = re.findall(
        r"-----BEGIN [^-]+-----.*?-----END [^-]+-----", make_chain(when).for_mitmproxy().decode(), re.DOTALL
    )
    directory.mkdir()
    for name, block in zip(("tls.key", "tls.crt", "ca.crt"), blocks, strict=True):
        (directory / name).write_text(block)
    return directory


def test_the_ca_of_a_secret_is_taken_by_every_replica(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = as_cert_manager(tmp_path / "given", datetime.now(UTC))
    prints = set()
    for number in range(2):
        home = tmp_path / f"home-{number}"
        for _ in range(2):  # a container that starts again
            done = place(given, home)
            assert done.returncode == 0, done.stderr
        monkeypatch.setenv("RINGBACK_HOME", str(home))
        found = ensure_authority()
        assert found.warnings == ()
        assert found.directory.parent == default_directory()
        prints.add(found.fingerprint)
    assert len(prints) == 1
    again = place(found.directory, tmp_path / "home-3")  # a directory that `ringback ca` made
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("what", ["missing", "unlimited", "ending"])
def test_a_ca_that_cannot_be_used_stops_the_pod(what: str, tmp_path: Path) -> None:
    ending = datetime.now(UTC) - timedelta(days=380 if what == "ending" else 0)
    given = as_cert_manager(tmp_path / "given", ending)
    if what == "missing":
        (given / "ca.crt").unlink()
    elif what == "unlimited":
        (given / "ca.crt").write_text((given / "tls.crt").read_text())
    done = place(given, tmp_path / "home")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home" / "ca").exists()

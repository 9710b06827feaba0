"""The Helm chart, the manifests, the dashboard, and the script that places a CA."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
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
from support.namespaces import Network
from support.proxying import RINGBACK, environment, wait_ready

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "ringback"
PLAIN = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
VERSION = "1.32"  # of Kubernetes
CUSTOM = {"Certificate", "Issuer", "PrometheusRule", "ServiceMonitor"}  # defined by their own projects
# Where those projects define them, in the cache of Go modules.
DEFINITIONS = {
    "cert-manager.io": "github.com/cert-manager/cert-manager@v1.18.2/deploy/crds",
    "monitoring.coreos.com": (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0/example/prometheus-operator-crd"
    ),
}


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # libyaml, where it is there
    """YAML as Kubernetes reads it: `=` is a text."""


Loader.add_constructor("tag:yaml.org,2002:value", lambda _loader, node: node.value)


def documents(text: str) -> list[dict[str, Any]]:
    return [one for one in yaml.load_all(text, Loader) if one]


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
            for version in (VERSION, validate.latest_version()):
                validate.validate(one, version, strict=True)


def definition(group: str, kind: str) -> dict[str, Any]:
    """The schema of a custom resource, as its project defines it; what it does not name is refused."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no go, whose module cache has the definitions")
    cache = subprocess.run([go, "env", "GOMODCACHE"], capture_output=True, text=True, check=True, timeout=60)
    place = Path(cache.stdout.strip()) / DEFINITIONS[group]
    if not place.is_dir():
        pytest.skip(f"go mod download {'/'.join(DEFINITIONS[group].split('/')[:3])} brings the definitions")
    for file in sorted(place.glob(f"*{kind.lower()}s.yaml")):
        for one in documents(file.read_text(encoding="utf-8")):
            if one["spec"]["names"]["kind"] == kind:
                return closed(one["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    raise AssertionError(f"{group} has no {kind}")


def closed(schema: Any) -> Any:
    """The schema without what OpenAPI adds to JSON's, refusing fields that it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: closed(one) for name, one in schema.items() if not name.startswith("x-")}
    if "(?" in str(found.get("pattern")):  # Go's, and none of Python's
        del found["pattern"]
    if "properties" in schema and "x-kubernetes-preserve-unknown-fields" not in schema:
        found.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        found = {"type": ["integer", "string"]}
    return found


@pytest.mark.parametrize(
    "values, kinds",
    [
        ("reverse-values.yaml", {"Certificate", "Issuer"}),
        ("fleet-values.yaml", {"ServiceMonitor", "PrometheusRule"}),
    ],
)
def test_custom_resources_are_what_their_projects_define(values: str, kinds: set[str]) -> None:
    import jsonschema  # noqa: PLC0415 - for one test

    found = [one for one in everything(CHART / "ci" / values) if one["kind"] in CUSTOM]
    assert {one["kind"] for one in found} == kinds
    for one in found:
        schema = definition(one["apiVersion"].partition("/")[0], one["kind"])
        schema["properties"]["metadata"] = {"type": "object"}
        jsonschema.validate(one, schema)


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


# Hosts of the network that a policy is tried in: address, namespace and labels.
NEIGHBOURS = {
    "client": ("", "default", {"team": "checkout"}),
    "valkey": ("", "default", {"app": "valkey"}),
    "dns": ("", "kube-system", {"k8s-app": "kube-dns"}),
    "stranger": ("", "other", {"app": "valkey"}),
    "store": ("203.0.113.9", "", {}),
    "twilio": ("198.51.100.7", "", {}),
}
PORTS = (53, 443, 6379, 8080)


def firewall(policy: dict[str, Any], addresses: dict[str, str]) -> list[str]:
    """The rules of iptables that do in a host's namespace what the policy does to a pod."""
    rules = [f"-P {chain} DROP" for chain in ("INPUT", "OUTPUT", "FORWARD")]
    for chain, way in (("INPUT", "i"), ("OUTPUT", "o")):
        rules += [
            f"-A {chain} -{way} lo -j ACCEPT",
            f"-A {chain} -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        ]
    for chain, side, rule in [
        *(("INPUT", "s", rule) for rule in policy["ingress"]),
        *(("OUTPUT", "d", rule) for rule in policy["egress"]),
    ]:
        for peer in rule["from" if side == "s" else "to"]:
            for port in rule["ports"]:
                to = f"-p {port['protocol'].lower()} --dport {port['port']}"
                block = peer.get("ipBlock", {})
                name = f"RB{len(rules)}"
                rules += [f"-N {name}", f"-A {chain} {to} -j {name}"]
                rules += [f"-A {name} -{side} {one} -j RETURN" for one in block.get("except", ())]
                allowed = [block["cidr"]] if block else [addresses[one] for one in selected(peer)]
                rules += [f"-A {name} -{side} {one} -j ACCEPT" for one in allowed]
    return [*rules, *(f"-A {chain} -j REJECT" for chain in ("INPUT", "OUTPUT"))]  # a test need not wait


def selected(peer: dict[str, Any]) -> list[str]:
    """The neighbours that a peer of a policy in the namespace `default` means."""
    space = peer.get("namespaceSelector")
    wanted = peer.get("podSelector", {}).get("matchLabels", {})
    return [
        host
        for host, (_, namespace, labels) in NEIGHBOURS.items()
        if namespace
        and (
            namespace == "default"
            if space is None
            else space.get("matchLabels", {}).items() <= {"kubernetes.io/metadata.name": namespace}.items()
        )
        and wanted.items() <= labels.items()
    ]


@pytest.mark.parametrize(
    "source, out",
    [
        (ROOT / "deploy" / "kubernetes" / "ringback.yaml", set()),
        (
            ROOT / "deploy" / "kubernetes" / "fleet.yaml",
            {("dns", 53), ("valkey", 6379), ("store", 443)},
        ),
        (CHART / "ci" / "record-values.yaml", {("dns", 53), ("store", 443), ("twilio", 443)}),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else "",
)
def test_the_network_policy_by_packets(source: Path, out: set[tuple[str, int]], tmp_path: Path) -> None:
    why = Network.refused() or ("" if shutil.which("iptables") else "there is no iptables")
    if why:
        pytest.skip(why)
    [policy] = [one["spec"] for one in everything(source) if one["kind"] == "NetworkPolicy"]
    with Network.made() as network, contextlib.ExitStack() as stack:
        own = network.add("replica")
        for host, (public, _, _) in NEIGHBOURS.items():
            network.add(host, public)
            with network.inside(host):
                for port in PORTS:
                    listening = socket.create_server((network.addresses[host], port))
                    stack.enter_context(contextlib.closing(listening))

        def reached(here: str, there: str, port: int) -> bool:
            with network.inside(here), contextlib.suppress(OSError):
                socket.create_connection((network.addresses[there], port), timeout=20).close()
                return True
            return False

        assert all(reached("replica", host, port) for host in NEIGHBOURS for port in PORTS)
        for rule in firewall(policy, network.addresses):
            command = network.command("replica", "iptables", "-w", *rule.split())
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        assert {
            (host, port) for host in NEIGHBOURS for port in PORTS if reached("replica", host, port)
        } == out
        ready, log = tmp_path / "ready.json", tmp_path / "log.txt"
        serving = [*RINGBACK, "serve", "--host", own, "--port", "8080", "--ready-file", str(ready)]
        environ = environment(tmp_path / "home", {"RINGBACK_PROXY_PASSWORD": "of-the-fleet"})
        with log.open("wb") as told:
            process = subprocess.Popen(network.command("replica", *serving), env=environ, stderr=told)
        try:
            wait_ready(process, ready, log)
            assert [host for host in NEIGHBOURS if reached(host, "replica", 8080)] == ["client", "valkey"]
            with network.inside("client"):
                for given, status in (({"Authorization": "Bearer of-the-fleet"}, 200), ({}, 401)):
                    connection = http.client.HTTPConnection(own, 8080, timeout=60)
                    connection.request("GET", "/ringback/metrics", headers=given)
                    answer = connection.getresponse()
                    assert answer.status == status, "Prometheus scrapes by the ServiceMonitor's Bearer token"
                    assert (b"ringback_answers_total" in answer.read()) == (status == 200)
                    connection.close()
        finally:
            process.terminate()
            process.wait(60)


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


def metrics() -> set[str]:
    """The names of all metrics that there are."""
    from ringback.drift.history import as_metrics, timeline  # noqa: PLC0415 - for some tests
    from ringback.responder import Responder  # noqa: PLC0415 - for one test
    from ringback.settings import Settings  # noqa: PLC0415 - as above

    responder = Responder.open(Settings())
    respond(responder, post("Messages", GOOD["Messages"]), _names())
    got = Control(responder).handle(Request("GET", "127.0.0.1", "/ringback/metrics"), "127.0.0.1")
    assert isinstance(got, Answer)
    text = got.body.decode() + as_metrics(timeline([]))
    return set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))


def test_the_dashboard_shows_metrics_that_exist() -> None:
    board = json.loads((ROOT / "deploy" / "grafana" / "ringback.json").read_text(encoding="utf-8"))
    used = {
        re.sub(r"_bucket$", "", name)
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"ringback_\w+", target["expr"])
    }
    assert len(used) >= 8
    assert used <= metrics()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


ALERTS = CHART / "rules.yaml"


def test_alerts_ask_for_metrics_that_exist() -> None:
    [group] = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    used = {name for rule in group["rules"] for name in re.findall(r"ringback_\w+", rule["expr"])}
    assert len(used) >= 4
    assert used <= metrics() | {"ringback_shared_state_up"}, "which is there with --state"


def test_alerts_fire(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool")

    def alerting(name: str, series: str, value: str, **labels: str) -> dict[str, Any]:
        return {
            "interval": "1h",
            "input_series": [{"series": series, "values": value}],
            "alert_rule_test": [
                {
                    "eval_time": "10d",
                    "alertname": name,
                    "exp_alerts": [{"exp_labels": {"severity": "warning", **labels}}] if labels else [],
                }
            ],
        }

    job = {"job_name": "ringback-drift-29", "namespace": "ci"}
    of_job = 'kube_job_status_failed{job_name="ringback-drift-29",namespace="ci"}'
    found = 'ringback_drift_findings{severity="error"}'
    up = 'ringback_shared_state_up{instance="r1"}'
    tests = [
        alerting("RingbackDriftJobFailed", of_job, "1x300", **job),
        alerting("RingbackDriftJobFailed", of_job, "0x300"),
        alerting("RingbackDrift", found, "2x300", severity="error"),
        alerting("RingbackDrift", found, "0x300"),
        alerting(
            "RingbackDriftNotLooked", "ringback_drift_last_run_timestamp_seconds", "0x300", severity="warning"
        ),
        alerting("RingbackLiveAnswersDiffer", "ringback_drift_total", "0+1x300", severity="info"),
        alerting("RingbackReplicaAlone", up, "0x300", instance="r1"),
        alerting("RingbackReplicaAlone", up, "1x300"),
    ]
    for one in tests:
        for wanted in one["alert_rule_test"]:
            for alert in wanted["exp_alerts"]:
                alert["exp_annotations"] = annotations(wanted["alertname"], alert["exp_labels"])
    # The rules' own severity stands above a label of the same name.
    tests[2]["alert_rule_test"][0]["exp_alerts"][0]["exp_labels"]["severity"] = "warning"
    file = tmp_path / "tests.yaml"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1h", "tests": tests}))
    for command in (["check", "rules", str(ALERTS)], ["test", "rules", str(file)]):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def annotations(name: str, labels: dict[str, str]) -> dict[str, str]:
    """The texts of an alert as Prometheus fills them in."""
    [group] = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    [rule] = [one for one in group["rules"] if one["alert"] == name]
    known = {"{{ $value }}": "2"} | {f"{{{{ $labels.{label} }}}}": value for label, value in labels.items()}
    shown = re.compile("|".join(map(re.escape, known)))
    return {key: shown.sub(lambda found: known[found[0]], text) for key, text in rule["annotations"].items()}


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

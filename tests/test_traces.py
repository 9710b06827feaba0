"""Spans of answers, exported to a collector on loopback."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from ringback.contract import Answer, Names, Source
from ringback.responder import Responder, SetupError
from ringback.settings import Settings
from ringback.traces import Traces
from support.clients import ACCOUNT, GOOD, TOKEN, post, respond

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ringback.exchange import Request

pytest.importorskip("opentelemetry.sdk", reason="the extra `traces` is not installed")

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BAD = {**GOOD["Messages"], "To": "+15005550001"}


class Collector:
    """The requests that a collector got."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.url = ""

    def spans(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 - an extra
            ExportTraceServiceRequest,
        )

        found = []
        for body in self.bodies:
            request = ExportTraceServiceRequest()
            request.ParseFromString(body)
            for resource in request.resource_spans:
                names = {one.key: one.value.string_value for one in resource.resource.attributes}
                assert names["service.name"] == "ringback"
                for scope in resource.scope_spans:
                    found += scope.spans
        return found


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    for name in ("OTEL_SERVICE_NAME", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def ask(responder: Responder, form: dict[str, str], *fields: tuple[str, str]) -> Answer:
    request: Request = post("Messages", form)

    request = replace(request, headers=(*request.headers, *fields))
    return respond(responder, request, Names("api.twilio.com"), "checkout")


def attributes(span: Any) -> dict[str, Any]:
    return {
        one.key: one.value.string_value if one.value.HasField("string_value") else one.value.int_value
        for one in span.attributes
    }


def test_each_answer_is_a_span_with_the_clients_parent(collector: Collector, tmp_path: Path) -> None:
    responder = Responder.open(Settings(traces=True, cassettes=tmp_path))
    assert ask(responder, GOOD["Messages"], ("traceparent", PARENT)).status == 201
    assert ask(responder, BAD).status == 400
    responder.close()
    first, second = sorted(collector.spans(), key=lambda span: span.start_time_unix_nano)
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (PARENT[3:35], PARENT[36:52])
    assert second.parent_span_id == b""
    assert (first.name, first.kind) == ("POST Messages", 2)
    known = attributes(first)
    assert known["ringback.source"] == "contract"
    assert known["ringback.rule"].startswith("Messages.")
    assert known["ringback.session"] == "checkout"
    assert (known["twilio.resource"], known["http.response.status_code"]) == ("Messages", 201)
    assert attributes(second)["twilio.error_code"] == 21211
    assert first.end_time_unix_nano > first.start_time_unix_nano
    sent = b"".join(collector.bodies)
    for secret in (ACCOUNT, TOKEN, GOOD["Messages"]["To"], GOOD["Messages"]["Body"]):
        assert secret.encode() not in sent


def test_a_collector_that_is_away_costs_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("ringback.traces._TIME_LIMIT", 0.2)
    responder = Responder.open(Settings(traces=True, cassettes=tmp_path))
    assert ask(responder, GOOD["Messages"], ("traceparent", "nonsense")).status == 201
    responder.close()


def test_a_path_is_no_resource() -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # noqa: PLC0415 - an extra
        InMemorySpanExporter,
    )

    exporter = InMemorySpanExporter()
    traces = Traces("offline", exporter)

    request = replace(post("Messages"), target="/v1/+14105550100/secret")
    traces.add(
        request, Answer(404, "NOT FOUND", (), b"", Source("gate", "resource.unknown")), "default", None
    )
    traces.close()
    [span] = exporter.get_finished_spans()
    assert span.name == "POST other"
    assert "secret" not in str(dict(span.attributes or {}))


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SetupError, match=r"pip install 'ringback\[traces\]'"):
        Responder.open(Settings(traces=True))


def test_nothing_is_imported_without_the_option() -> None:
    program = (
        "import sys; from ringback.responder import Responder; from ringback.settings import Settings; "
        "Responder.open(Settings()).close(); "
        "print([name for name in sys.modules if 'opentelemetry' in name or name == 'ringback.traces'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"

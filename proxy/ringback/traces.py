"""Traces: a span for each answer, by the OpenTelemetry SDK (extra `traces`).

The standard variables configure it: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`
and so on. A span has no path, form, credential or number: those may tell who was written to.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final

from ringback import __version__
from ringback.exchange import error_code
from ringback.records import resource_of

if TYPE_CHECKING:
    from ringback.exchange import Answer, Request

_TIME_LIMIT: Final = 5  # seconds of one export, and of the last one at the end
_CONTEXT: Final = ("traceparent", "tracestate")  # the header fields of W3C's trace context


class TracesError(Exception):
    """Traces cannot be made; the message says what is missing."""


class Traces:
    """Makes and exports spans; an exporter that is away costs spans, never an answer.

    Args:
        mode: The mode, which every span names.
        exporter: Takes the spans in place of OTLP over HTTP; for tests.

    Raises:
        TracesError: The extra is not installed, or a variable is not understood.
    """

    def __init__(self, mode: str, exporter: Any = None) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - as above
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above
            from opentelemetry.trace import SpanKind  # noqa: PLC0415 - as above
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - as above
        except ImportError:
            raise TracesError("traces need the extra `traces`: pip install 'ringback[traces]'") from None
        name = os.environ.get("OTEL_SERVICE_NAME") or "ringback"
        resource = Resource.create({"service.name": name, "service.version": __version__})
        try:
            self._provider: Any = TracerProvider(resource=resource, shutdown_on_exit=False)
            processor = BatchSpanProcessor(exporter or OTLPSpanExporter(timeout=_TIME_LIMIT))
        except ValueError as error:
            raise TracesError(f"traces: {error}") from None
        self._provider.add_span_processor(processor)
        self._tracer: Any = self._provider.get_tracer("ringback", __version__)
        self._extract: Any = TraceContextTextMapPropagator().extract
        self._kind: Any = SpanKind.SERVER
        self._mode = mode

    def add(self, request: Request, answer: Answer, session: str, seconds: float | None) -> None:
        """Make the span of an answer.

        Args:
            request: The request; its trace context is the span's parent.
            answer: The answer.
            session: The cassette's name that the client gave, or the default one.
            seconds: How long the answer took, or None if that is not known.
        """
        carrier = {name: value for name in _CONTEXT if (value := request.header(name))}
        resource, source = resource_of(request.target), answer.source
        if "/" in resource:  # a path
            resource = "other"
        code = error_code(answer.body) if answer.status >= 400 else None
        known = {
            "http.request.method": request.method,
            "http.response.status_code": answer.status,
            "server.address": request.host,
            "ringback.mode": self._mode,
            "ringback.session": session,
            "ringback.source": source.kind,
            "ringback.rule": source.rule,
            "ringback.basis": source.basis,
            "twilio.resource": resource,
            "twilio.error_code": code,
        }
        now = time.time_ns()
        span = self._tracer.start_span(
            f"{request.method} {resource}",
            context=self._extract(carrier) if carrier else None,
            kind=self._kind,
            attributes={name: value for name, value in known.items() if value not in (None, "")},
            start_time=now - int((seconds or 0.0) * 1e9),
        )
        span.end(now)

    def close(self) -> None:
        """Export what is left, and end."""
        self._provider.force_flush(_TIME_LIMIT * 1000)
        self._provider.shutdown()

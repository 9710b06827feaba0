"""A content view for Twilio's requests in mitmweb and mitmproxy: the form, the input that decided, and why.

One class serves mitmproxy 11, which calls a view, and mitmproxy 12, which calls its `prettify`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mitmproxy import contentviews, http

from ringback.exchange import Answer, Request, Source
from ringback.records import record_of, row_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ringback.contract import Contract
    from ringback.records import Record

# Emoji's names by which mitmproxy calls marks. They are characters of ordinary fonts, too.
MARKS: Final = {
    "contract": ":ballot_box_with_check:",
    "cassette": ":recycle:",
    "live": ":left_right_arrow:",
    "gate": ":heavy_multiplication_x:",
}
LEGEND: Final = {
    "contract": ("\N{BALLOT BOX WITH CHECK}", "answered by the documented contract"),
    "cassette": ("\N{BLACK UNIVERSAL RECYCLING SYMBOL}", "replayed from a cassette"),
    "live": ("\N{LEFT RIGHT ARROW}", "answered by the live API"),
    "gate": (
        "\N{HEAVY MULTIPLICATION X}",
        "refused: test credentials cannot do this, or a cassette missed it",
    ),
}
SOURCE: Final = "ringback"  # where a flow's metadata has the answer's source
_PREFERRED: Final = 2.0  # over the views for forms and JSON, which have 1


class TwilioView:
    """The content view.

    Attributes:
        name: Its name in the list of views.
        contract: The contract in force; None before the addon is configured.
    """

    name = "Twilio"
    syntax_highlight: Any = "none"

    def __init__(self) -> None:
        self.contract: Contract | None = None

    def prettify(self, data: bytes, metadata: Any) -> str:  # noqa: ARG002 - mitmproxy's signature
        """Return the view's text (mitmproxy 12).

        Raises:
            ValueError: The flow is none that Ringback answered.
        """
        text = self.text(metadata.flow)
        if text is None:
            raise ValueError("Ringback did not answer this")
        return text

    def __call__(self, data: bytes, **known: Any) -> tuple[str, Iterator[list[tuple[str, str]]]]:
        """Return the view's name and lines (mitmproxy 11)."""
        text = self.text(known.get("flow"))
        lines = (text or data.decode("utf-8", "replace")).splitlines()
        return self.name, iter([[("text", line)] for line in lines])

    def render_priority(self, data: bytes, metadata: Any = None, **known: Any) -> float:  # noqa: ARG002 - as above
        """Return how well the view fits: it is chosen for what Ringback answered."""
        flow = metadata.flow if metadata is not None else known.get("flow")
        return _PREFERRED if _source(flow) is not None else -1

    def __lt__(self, other: Any) -> bool:
        return bool(self.name < other.name)

    def text(self, flow: Any) -> str | None:
        """Describe a flow that Ringback answered, in lines of a name and a value; None for others."""
        source = _source(flow)
        if source is None or flow.response is None:
            return None
        record = _record(flow, source)
        parts = [*_asked(record), [], *_answered(record), *self._decided(record), [], *_legend()]
        width = max(len(part[0]) for part in parts if part)
        return "\n".join(f"{part[0]:<{width}}  {part[1]}".rstrip() if part else "" for part in parts)

    def _decided(self, record: Record) -> Iterator[tuple[str, str]]:
        row = row_of(self.contract, record) if self.contract is not None else None
        if row is not None:
            error = row["error"] or "success"
            yield "magic input", f"{row['parameter']} = {row['value']} gives {error}"
        yield "rule", f"{record.rule} ({record.basis})" if record.basis else record.rule or record.source
        if record.reason:
            yield "why", record.reason
        for name, value in (
            ("against the contract", record.contract),
            ("recorded", record.recorded),
            ("in the live API's place", record.fallback),
        ):
            if value:
                yield name, value


def _source(flow: Any) -> Source | None:
    found = flow.metadata.get(SOURCE) if isinstance(flow, http.HTTPFlow) else None
    return found if isinstance(found, Source) else None


def _record(flow: http.HTTPFlow, source: Source) -> Record:
    asked, got = flow.request, flow.response
    assert got is not None
    headers = tuple(asked.headers.items(multi=True))
    request = Request(asked.method, asked.pretty_host, asked.path, headers, asked.raw_content or b"")
    fields = tuple(got.headers.items(multi=True))
    return record_of(request, Answer(got.status_code, got.reason, fields, got.raw_content or b"", source))


def _asked(record: Record) -> Iterator[tuple[str, str]]:
    yield "request", f"{record.method} {record.resource}"
    if record.form is None:
        yield "body", record.body or ""
    for name, value in record.form or ():
        yield name, value.replace("\n", "\n  ")


def _answered(record: Record) -> Iterator[tuple[str, str]]:
    code = f", error {record.code}: {record.message}" if record.code is not None else ""
    yield "answer", f"{record.status}{code}"
    if record.sid:
        yield "sid", record.sid


def _legend() -> Iterator[tuple[str, str]]:
    for at, (mark, meaning) in enumerate(LEGEND.values()):
        yield "" if at else "marks", f"{mark} {meaning}"


_VIEW: Final = TwilioView()


def register(contract: Contract) -> None:
    """Offer the view, which speaks of `contract` from now on."""
    if _VIEW.contract is None:
        view: Any = _VIEW  # it fits both versions by its methods
        contentviews.add(view)
    _VIEW.contract = contract

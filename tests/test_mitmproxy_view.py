"""The content view for Twilio's requests, and marks that ordinary fonts have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ringback.contract import Names, load
from ringback.mitmproxy_flows import to_response
from ringback.mitmproxy_view import LEGEND, MARKS, SOURCE, TwilioView
from ringback.responder import Responder
from support.clients import MAGIC, post, respond
from support.mitm import tflow

if TYPE_CHECKING:
    from mitmproxy.http import HTTPFlow

    from ringback.contract import Request

NAMES = Names("api.twilio.com")


@pytest.fixture
def view() -> TwilioView:
    made = TwilioView()
    made.contract = load()
    return made


def flow_of(request: Request) -> HTTPFlow:
    """The flow of a request that Ringback answered."""
    made = tflow.tflow(resp=True)
    made.request.method, made.request.host, made.request.path = request.method, request.host, request.target
    made.request.headers.clear()
    for name, value in request.headers:
        made.request.headers.add(name, value)
    made.request.raw_content = request.body
    answer = respond(Responder(load()), request, NAMES)
    made.response = to_response(answer)
    made.metadata[SOURCE] = answer.source
    return made


def both(view: TwilioView, flow: Any) -> str:
    """The text, as mitmproxy 12 asks for it and as mitmproxy 11 does."""
    text = view.prettify(b"", SimpleNamespace(flow=flow))
    name, lines = view(b"", flow=flow, content_type="x")
    assert name == view.name == "Twilio"
    assert "\n".join("".join(part for _, part in line) for line in lines) == text
    return text


def test_a_refused_message(view: TwilioView) -> None:
    text = both(view, flow_of(post("Messages", {"From": MAGIC, "To": "+15005550009", "Body": "one\ntwo"})))
    lines = [line.split("  ", 1) for line in text.splitlines() if line.strip()]
    found = {name.strip(): rest[0].strip() for name, *rest in lines if rest}
    assert found["request"] == "POST Messages"
    assert found["To"] == "+15005550009"
    assert found["answer"].startswith("400, error 21614: ")
    assert found["magic input"] == "To = +15005550009 gives 21614"
    assert found["rule"].startswith("Messages.to.")
    assert found["rule"].endswith(" (documented)")
    assert "Body         one\n" in text


def test_a_success_and_a_refusal_of_the_gate(view: TwilioView) -> None:
    text = both(view, flow_of(post("Messages", {"From": MAGIC, "To": "+14105550101", "Body": "hello"})))
    assert "answer       201\n" in text
    assert "From = +15005550006 gives success" in text
    text = both(view, flow_of(post("Recordings", {"To": "x"})))
    assert "error 20008" in text
    assert "magic input" not in text
    assert "why" in text


def test_it_is_chosen_for_what_ringback_answered_alone(view: TwilioView) -> None:
    ours, other = flow_of(post("Messages", {"Body": "x"})), tflow.tflow(resp=True)
    for flow, chosen in ((ours, True), (other, False), (None, False)):
        newer = view.render_priority(b"", SimpleNamespace(flow=flow))
        older = view.render_priority(b"", flow=flow, content_type=None, http_message=None)
        assert (newer > 1) is (older > 1) is chosen
    with pytest.raises(ValueError, match="did not answer"):
        view.prettify(b"x", SimpleNamespace(flow=other))


def test_marks_have_a_legend_and_are_characters_of_ordinary_fonts(view: TwilioView) -> None:
    from mitmproxy.utils import emoji  # noqa: PLC0415 - mitmproxy warns at import, see support.mitm

    assert {kind: emoji.emoji[name] for kind, name in MARKS.items()} == {
        kind: mark for kind, (mark, _) in LEGEND.items()
    }
    assert all(len(mark) == 1 and 0x2190 <= ord(mark) <= 0x27BF for mark, _ in LEGEND.values())
    text = both(view, flow_of(post("Messages", {"Body": "x"})))
    assert [meaning for _, meaning in LEGEND.values() if meaning not in text] == []

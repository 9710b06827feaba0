"""Ways to change an answer, the same in JSON and XML."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ringback.contract import Answer, Format

Change: TypeAlias = "Callable[[Answer, Format], Answer]"
Edit: TypeAlias = "Callable[[dict[str, Any], str, Format], None]"

HEAD: Final = b"<?xml version='1.0' encoding='UTF-8'?>\n"


def fail(code: int, status: int = 400) -> Change:
    """Another error."""

    def change(_: Answer, form: Format) -> Answer:
        link = f"https://www.twilio.com/docs/errors/{code}"
        values = {"code": code, "message": "Something else", "more_info": link, "status": status}
        if form == "json":
            body = json.dumps(values).encode()
        else:
            names = ("Code", "Message", "MoreInfo", "Status")
            inner = "".join(f"<{n}>{v}</{n}>" for n, v in zip(names, values.values(), strict=True))
            text = f"<TwilioResponse><RestException>{inner}</RestException></TwilioResponse>"
            body = HEAD + text.encode()
        return replace(_, status=status, reason="BAD REQUEST", body=body)

    return change


def edit(pointer: str, names: Sequence[str], how: Edit) -> Change:
    """Change the field at `pointer`, whose XML elements are `names`, by `how(object, name, format)`."""

    def change(answer: Answer, form: Format) -> Answer:
        if form == "json":
            tree = json.loads(answer.body)
            _reach(tree, pointer.strip("/").split("/"), how, form)
            return replace(answer, body=json.dumps(tree).encode())
        root = ET.fromstring(answer.body)  # noqa: S314 - our own answer
        tree = _mapping(root[0])
        _reach(tree, names, how, form)
        del root[0][:]
        _fill(root[0], tree)
        return replace(answer, body=HEAD + ET.tostring(root))

    return change


def _reach(
    tree: dict[str, Any],
    steps: Sequence[str],
    how: Edit,
    form: Format,
) -> None:
    for step in steps[:-1]:
        tree = tree[step]
    how(tree, steps[-1], form)


def _mapping(element: ET.Element) -> dict[str, Any]:
    return {child.tag: _mapping(child) if len(child) else (child.text or "") for child in element}


def _fill(element: ET.Element, tree: dict[str, Any]) -> None:
    for name, value in tree.items():
        child = ET.SubElement(element, name)
        if isinstance(value, dict):
            _fill(child, value)
        else:
            child.text = _text(value)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (bool, list)) else str(value)


def put(value: Any) -> Edit:
    """Give a field another value."""

    def how(inner: dict[str, Any], name: str, _: Format) -> None:
        inner[name] = value

    return how

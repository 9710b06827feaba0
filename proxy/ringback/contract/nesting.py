"""How deeply a YAML text is nested, found out before a parser that recurses in C is given it."""

from __future__ import annotations

import re
from typing import Final

import yaml

DEEPEST: Final = 200  # a cassette has about 6 levels, a contract file 4
_MANY: Final = 5_000  # so many opening marks are worth a closer look; the parser's stack ends at some 30,000
_DASHES = re.compile(r"(?:[-?:] ){200}")
_STARTS = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
_ENDS = (yaml.SequenceEndEvent, yaml.MappingEndEvent)


def too_deep(text: str) -> bool:
    """Whether `text` is nested deeper than any file of ours, so deep that libyaml's stack could end.

    Almost every text is passed by two quick searches; only one with very many brackets is read by PyYAML's
    parser of events, which does not recurse.
    """
    if text.count("[") + text.count("{") < _MANY and not _DASHES.search(text) and not _steep(text):
        return False
    depth = 0
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, _STARTS):
                depth += 1
                if depth > DEEPEST:
                    return True
            elif isinstance(event, _ENDS):
                depth -= 1
    except yaml.YAMLError as error:
        # PyYAML 6.0.4 and newer bring a libyaml that ends at a depth of 1,000 by itself, before the events
        # of a text's first brackets. Any other mistake is told better by the real parser.
        return "nesting depth" in str(getattr(error, "problem", ""))
    return False


def _steep(text: str) -> bool:
    """Whether some line is indented so far that its depth could come from indentation alone."""
    return re.search(rf"^ {{{DEEPEST}}}", text, re.MULTILINE) is not None

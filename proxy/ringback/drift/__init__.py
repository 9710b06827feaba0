"""Drift: differences between what the documentation says and what the live API answers.

The documentation is a `ClaimSet`, one exchange with the API is an `Observation`. `compare` holds an
observation against the claims, `collect_findings` makes one `DriftFinding` for each cause of a difference,
and `report.builder` makes a `Report` of them. `sources` asks the API and reads cassettes, and
`monitor` observes the answers that pass through the proxy.
"""

from typing import Final

# The forms of a report by the ending of its file.
REPORT_FORMS: Final = {
    ".json": "json",
    ".html": "html",
    ".xml": "junit",
    ".sarif": "sarif",
    ".txt": "terminal",
}

ACCEPTED_FILE: Final = "drift-accepted.yaml"

"""Reports of a drift run: for a terminal, as JSON, JUnit, SARIF, and one HTML page."""

from ringback.drift.report.formats import FORMATS, write
from ringback.drift.report.model import Known, Report, Unlooked

__all__ = ["FORMATS", "Known", "Report", "Unlooked", "write"]

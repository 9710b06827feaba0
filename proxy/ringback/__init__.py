"""Ringback: a record/replay HTTPS proxy that answers like Twilio's test credentials."""

__version__ = "0.1.0"

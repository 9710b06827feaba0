"""The constant that every peer answers: as many bytes as a message has."""

from __future__ import annotations

BODY = b'{"sid": "SM' + b"0" * 32 + b'", "body": "' + b"x" * 700 + b'"}'

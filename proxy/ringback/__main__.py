"""The `ringback` command."""

from __future__ import annotations

from ringback.cli import ringback


def main() -> None:
    """Run the command line; exits with the command's exit code."""
    ringback(prog_name="ringback")


if __name__ == "__main__":
    main()

"""Benchmarks of Ringback beside what somebody would use instead: `python -m benchmarks`."""

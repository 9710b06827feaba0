"""How fast Ringback answers, beside what somebody would use instead: `python -m benchmarks`."""

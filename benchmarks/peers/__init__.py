"""Programs that run in the measured processes."""

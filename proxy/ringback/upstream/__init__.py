"""The way to the live API: routes, connections, the proof of test credentials, and forwarding."""

"""Launching of programs through the proxy: the CA, trust stores, environment variables, and diagnosis."""

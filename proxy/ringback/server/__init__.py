"""The proxy's own server: listeners, TLS, HTTP/1 and tunnels, the same in every mode, without mitmproxy."""

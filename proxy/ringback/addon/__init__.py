"""The mitmproxy side: the only package that imports mitmproxy."""

"""What a child process needs so that none of its clients gets past the proxy: CA, trust, variables."""

from support.launching import authority, launcher, proxy

__all__ = ["authority", "launcher", "proxy"]

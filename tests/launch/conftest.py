from support.jvm import classes, java
from support.launching import authority, launcher, proxy

__all__ = ["authority", "classes", "java", "launcher", "proxy"]

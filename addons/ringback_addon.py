"""Ringback for mitmproxy's own programs: `mitmdump -s addons/ringback_addon.py`."""

from ringback.addon.handlers import RingbackAddon

addons = [RingbackAddon()]

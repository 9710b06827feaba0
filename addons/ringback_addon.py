"""Ringback for mitmproxy's own programs: `mitmdump -s addons/ringback_addon.py`."""

from ringback.mitmproxy_addon import RingbackAddon

addons = [RingbackAddon()]

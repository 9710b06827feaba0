"""The mitmproxy side: the only package that imports mitmproxy."""

from ringback.addon.later import put_in_place

put_in_place()  # here, because it has to come before the first module of mitmproxy

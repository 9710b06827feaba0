from __future__ import annotations

from support.mitm import loaded  # noqa: F401 - imports mitmproxy with its dependencies' warnings off

from ringback.addon import plumbing  # isort: skip - after the import above


def test_what_a_proxy_needs_is_mitmproxys_own() -> None:
    found = [getattr(plumbing, name) for name in plumbing.__all__]
    assert all(one.__module__.startswith("mitmproxy.") for one in found)
    assert [one.__name__ for one in found] == plumbing.__all__

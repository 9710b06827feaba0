"""Ringback's proxy with the ordinary way of answering: every request is a mitmproxy flow."""

from __future__ import annotations

import asyncio
import json

from ringback.addon.server import Listen, serve
from ringback.launch.ca import ensure_authority


async def _main() -> None:
    authority = ensure_authority()
    async with serve(
        Listen(authority.directory, flows=True, options={"ringback_mode": "offline"})
    ) as running:
        print(json.dumps({"port": running.port, "ca": str(authority.root_pem)}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())

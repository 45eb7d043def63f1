"""The all-in-one as an ASGI app, for any ASGI server: `uvicorn pulse.main:app`.

It takes its options from the environment: PULSE_STATE_DIR, MARKET_FEED, FEED_SPEED. `pulse up` is the same
with a banner.
"""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import Any

from pulse.all_in_one import AllInOne, open_all
from pulse.state import load_or_create_secrets, state_folder


class LazyAllInOne:
    """Start everything at the lifespan's start, so that importing this module opens nothing."""

    def __init__(self) -> None:
        self._opened: AllInOne | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            assert self._opened is not None, "the server must support the lifespan protocol"
            await self._opened.app(scope, receive, send)
            return
        async with AsyncExitStack() as stack:
            folder = state_folder(os.environ)
            try:
                self._opened = await stack.enter_async_context(
                    open_all(
                        os.environ,
                        load_or_create_secrets(folder),
                        folder,
                        feed=os.environ.get("MARKET_FEED") or "synthetic",
                        feed_speed=float(os.environ.get("FEED_SPEED") or 1.0),
                    )
                )
            except Exception as error:
                # The server prints this one line and ends.
                await receive()
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            watch = asyncio.create_task(self._end_on_failure(self._opened))
            try:
                await self._opened.app(scope, receive, send)
            finally:
                watch.cancel()

    async def _end_on_failure(self, opened: AllInOne) -> None:
        await opened.failed.wait()
        # The server's own way of ending; whoever started it starts it again.
        signal.raise_signal(signal.SIGTERM)


app = LazyAllInOne()

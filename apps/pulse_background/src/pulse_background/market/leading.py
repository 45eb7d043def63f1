"""One market desk works at a time, in whatever process."""

import asyncio

import structlog

from pulse_background.market.desk import MarketDesk
from pulse_background.scheduler import Leadership
from pulse_domain.errors import PulseError
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

_CHECK_S = 1.0
# A database that restarts takes the lock with it. Two desks for a moment are harmless: keys make one order of
# what both ask for.
_WITHOUT_S = 10.0


class LeadLost(PulseError):
    """Another market desk works: this one has ended."""


async def lead(leadership: Leadership, desk: MarketDesk, clock: Clock) -> None:
    """Work as long as this process leads.

    Raises:
        LeadLost: it does not any more, and has not for a while; a desk begins anew with its process.
    """
    try:
        while not await leadership.hold():
            await clock.sleep(_CHECK_S)
        log.info("leading")
        working = asyncio.create_task(desk.run(), name="desk")
        try:
            held_at = clock.monotonic()
            while clock.monotonic() - held_at < _WITHOUT_S:
                done, _ = await asyncio.wait({working}, timeout=_CHECK_S)
                if done:
                    await working
                    return
                if await leadership.hold():
                    held_at = clock.monotonic()
            raise LeadLost
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
    finally:
        await leadership.release()

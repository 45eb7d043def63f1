"""Know the day's circuit limits of instruments, as the broker tells them."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from msgspec import Struct

from pulse_background.wakeup import Wakeup
from pulse_domain.candles import HoursAt
from pulse_domain.errors import PulseError
from pulse_domain.instruments import Instrument
from pulse_domain.orders.execution import trading_day_start
from pulse_domain.ports.circuit_reads import CircuitLimits, CircuitReads
from pulse_domain.ports.clock import Clock
from service_kit import bound

log = structlog.get_logger(__name__)

_DAY = timedelta(days=1)
# What is told before the open may be of the day before: it has to be told again within the session.
_BEFORE_OPEN = timedelta(minutes=15)


class _Known(Struct, frozen=True):
    limits: CircuitLimits
    until: datetime


class CircuitKeeper:
    """Asks for what is subscribed to, at once and then every `every_s`: limits are moved within a day.

    What cannot be read again stands as it was last told, to the end of the day and no longer.

    again_s: until it is asked for again after a failure.
    """

    def __init__(
        self,
        reads: CircuitReads,
        clock: Clock,
        hours_at: HoursAt,
        *,
        every_s: float = 180.0,
        again_s: float = 30.0,
    ) -> None:
        self._reads = reads
        self._clock = clock
        self._hours_at = hours_at
        self._every_s = every_s
        self._again_s = again_s
        self._wakeup = Wakeup(clock)
        self._wanted: frozenset[Instrument] = frozenset()
        self._known: dict[Instrument, _Known] = {}
        self._has_failed = False

    def get(self, instrument: Instrument) -> CircuitLimits | None:
        """The limits of now, where they are known."""
        known = self._known.get(instrument)
        return known.limits if known is not None and self._clock.now() < known.until else None

    def subscribe(self, instruments: Iterable[Instrument]) -> None:
        """Ask for these from now on, and for no others."""
        wanted = frozenset(instruments)
        has_more = bool(wanted - self._wanted)
        self._wanted = wanted
        for instrument in self._known.keys() - wanted:
            del self._known[instrument]
        if has_more:
            self._wakeup.call()

    async def run(self) -> None:
        """Ask until cancelled."""
        with bound(worker="circuits"):
            while True:
                await self._wakeup.wait(await self._read())

    async def _read(self) -> float | None:
        """Ask once. Returns the seconds until the next time, or None where there is nothing to ask for."""
        if not (wanted := self._wanted):
            return None
        # By the clock before the answer: it may come after midnight.
        now = self._clock.now()
        try:
            told = await self._reads.read_circuits(wanted)
        except Exception as error:  # whatever a broker's client raises, prices go on
            if not self._has_failed:
                # Once, and not every time until it is over.
                reason = error.message if isinstance(error, PulseError) else type(error).__name__
                log.warning("circuit limits cannot be read", reason=reason, instruments=len(wanted))
            self._has_failed = True
            return self._again_s
        if self._has_failed:
            log.info("circuit limits are read again")
        self._has_failed = False
        for instrument in wanted & told.keys() & self._wanted:
            self._known[instrument] = _Known(told[instrument], self._until(instrument, now))
        return self._every_s

    def _until(self, instrument: Instrument, now: datetime) -> datetime:
        ends = trading_day_start(now) + _DAY
        return ends if self._hours_at(instrument, now) is not None else min(ends, now + _BEFORE_OPEN)

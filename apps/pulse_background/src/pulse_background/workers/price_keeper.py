"""Show the last prices where the risk gate of any process finds them; that of this one need not look there."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import structlog
from msgspec import Struct

from pulse_background.wakeup import Wakeup
from pulse_domain.errors import DomainError, StorageRejected, StorageUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.matching.values import check_tick
from pulse_domain.minute_vwap import MinuteVwap
from pulse_domain.ports.circuit_reads import CircuitLimits
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.price_board import PriceBoard
from pulse_domain.risk import PriceFacts
from service_kit import bound

log = structlog.get_logger(__name__)

# What claims to be further ahead would hide the prices that come until then.
_AHEAD_MAX = timedelta(seconds=60)


class PriceFigures(Struct, frozen=True, kw_only=True):
    """taken: ticks that counted. refused: those that are none, or claim to be of the future; late: those that
    came more than a minute after a later one. published: prices shown. failures: batches that were not."""

    taken: int
    refused: int
    late: int
    published: int
    failures: int


class PriceKeeper:
    """Keeps the last price and the minute's average of instruments; `take` is meant as a handler of the bus.

    What changed is published every `publish_s`. A batch that fails is given up: the next has what is newer, and
    what did not change is told again.

    circuits: the limits of the day, where somebody knows.
    """

    def __init__(
        self,
        board: PriceBoard,
        clock: Clock,
        *,
        publish_s: float = 1.0,
        circuits: Callable[[Instrument], CircuitLimits | None] = lambda instrument: None,
    ) -> None:
        self._board = board
        self._clock = clock
        self._publish_s = publish_s
        self._circuits = circuits
        self._wakeup = Wakeup(clock)
        self._kept: dict[Instrument, MinuteVwap] = {}
        self._changed: set[Instrument] = set()
        self._taken = self._refused = self._late = self._published = self._failures = 0
        self._stopping = False

    async def take(self, ticks: Sequence[Tick]) -> None:
        self.append(ticks)

    def append(self, ticks: Sequence[Tick]) -> None:
        """Take ticks; never waits and never raises."""
        until = self._clock.now() + _AHEAD_MAX
        for tick in ticks:
            try:
                check_tick(tick)
                counted = _is_good(tick) and tick.at <= until
                if counted:
                    kept = self._kept.setdefault(tick.instrument, MinuteVwap())
                    in_time = kept.on_tick(tick)
            except DomainError:
                counted = False
            if not counted:
                self._refused += 1
            elif not in_time:
                self._late += 1
            else:
                self._taken += 1
                self._changed.add(tick.instrument)

    def fresh(self, instrument: Instrument) -> PriceFacts | None:
        """What is known here of an instrument, if that is newer than what may be shown of it elsewhere."""
        kept = self._kept.get(instrument)
        if kept is None or kept.last is None:
            return None
        age_s = (self._clock.now() - kept.last.at).total_seconds()
        return self._facts(instrument, kept) if age_s < self._publish_s else None

    def figures(self) -> PriceFigures:
        """From any thread."""
        return PriceFigures(
            taken=self._taken,
            refused=self._refused,
            late=self._late,
            published=self._published,
            failures=self._failures,
        )

    def stop(self) -> None:
        """Let `run` publish what has changed, and return."""
        self._stopping = True
        self._wakeup.call()

    async def run(self) -> None:
        """Publish until `stop`."""
        with bound(worker="prices"):
            while not self._stopping:
                await self._wakeup.wait(self._publish_s)
                await self._publish()

    async def _publish(self) -> None:
        changed, self._changed = self._changed, set()
        prices = {
            instrument: facts
            for instrument in changed
            if (facts := self._facts(instrument, self._kept[instrument])) is not None
        }
        if not prices:
            return
        try:
            await self._board.publish(prices)
        except StorageUnavailable as error:
            self._failures += 1
            self._changed |= changed
            log.warning("prices are not shown", error=error.message, instruments=len(prices))
        except StorageRejected as error:
            self._failures += 1
            log.error("prices are refused by the board", error=error.message, instruments=len(prices))
        else:
            self._published += len(prices)

    def _facts(self, instrument: Instrument, kept: MinuteVwap) -> PriceFacts | None:
        if kept.last is None:
            return None
        lower, upper = self._circuits(instrument) or (None, None)
        return PriceFacts(
            at=kept.last.at,
            last_price=kept.last.price,
            minute_vwap=kept.vwap,
            lower_circuit=lower,
            upper_circuit=upper,
        )


class FreshPrices:
    """Implements `PriceBoard`: what this process has just seen, else what is shown."""

    def __init__(self, keeper: PriceKeeper, board: PriceBoard) -> None:
        self._keeper = keeper
        self._board = board

    async def publish(self, prices: Mapping[Instrument, PriceFacts]) -> None:
        await self._board.publish(prices)

    async def price(self, instrument: Instrument) -> PriceFacts | None:
        return self._keeper.fresh(instrument) or await self._board.price(instrument)

    async def prices(self) -> Mapping[Instrument, PriceFacts]:
        return await self._board.prices()


def _is_good(tick: Tick) -> bool:
    """A price outside the day's range is a bad tick, as it is in matching."""
    return (tick.day_low is None or tick.price >= tick.day_low) and (
        tick.day_high is None or tick.price <= tick.day_high
    )

"""Orders on their way into a run: checked as a gateway checks them, planned as the splitter plans them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from msgspec.structs import replace

from pulse_domain.account import Ledger
from pulse_domain.backtest.history import order_id_of, plan_source
from pulse_domain.backtest.lanes import Lane
from pulse_domain.backtest.tracking import TrackedExecution, TrackedOrder
from pulse_domain.backtest.values import BacktestSettings, TimedOrder
from pulse_domain.errors import (
    CannotSplit,
    InvalidOrder,
    PulseError,
    UnknownInstrument,
)
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import CandleEntry, MatchingSettings
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Side, Validity, check_start
from pulse_domain.splitting import Part, Window, chunks, twap
from pulse_domain.units import DAY_US, day_end_us, to_time, to_units, to_us

_MINUTE_US = 60_000_000


class Intake:
    """Makes tracked orders of requests."""

    def __init__(
        self, settings: BacktestSettings, seed: int, lanes: Mapping[Instrument, Lane], ledger: Ledger
    ) -> None:
        self._seed = seed
        self._lanes = lanes
        self._terms_of = {
            instrument: settings.terms.get(instrument, settings.default_terms) for instrument in lanes
        }
        self._ledger = ledger
        self._fills_at_open = _fills_at_open(settings.matching)

    def arrivals(
        self, orders: Iterable[TimedOrder | OrderRequest], first_us: int, over_us: int
    ) -> list[tuple[int, int, TimedOrder]]:
        """Sort a list of orders by arrival: (time in us, place in the list, order).

        Raises:
            InvalidOrder: an order cannot be used; `details` carry its place, `order`, from 1.
        """
        rows, keys = [], set()
        opens_us = day_end_us(first_us) - DAY_US
        for place, order in enumerate(orders):
            try:
                timed = _timed(order)
                at_us = to_us(_arrival(timed))
                if not opens_us <= at_us < over_us:
                    raise InvalidOrder(
                        f"it arrives at {to_time(at_us).isoformat()}, outside of the data, "
                        f"{to_time(first_us).isoformat()} to {to_time(over_us).isoformat()}",
                        field="at",
                    )
                _check_schedule(timed)
                self._terms(timed.request)
                key = _key(timed, place)
                if key in keys:
                    raise InvalidOrder(f"the key {key} is used twice", field="order_unique_key")
            except PulseError as error:
                raise _at_place(error, place) from None
            keys.add(key)
            rows.append((at_us, place, timed))
        rows.sort(key=lambda row: row[:2])
        return rows

    def track(self, timed: TimedOrder, now_us: int, number: int, place: int) -> TrackedOrder:
        """Plan an order of the list that has arrived.

        Raises:
            CannotSplit: no schedule fits it; `details` carry its place, `order`, from 1.
        """
        key = _key(timed, place)
        try:
            # It has been checked with the others, before the run.
            return self._track(
                timed.request, self._terms_of[timed.request.instrument], now_us, number, key, timed
            )
        except PulseError as error:
            raise _at_place(error, place) from None

    def track_closing(self, request: OrderRequest, now_us: int, number: int) -> TrackedOrder:
        """An order that squares a position off, which may be any part of a lot."""
        terms = self._terms_of[request.instrument]
        return self._track(
            request, replace(terms, lot_size=1), now_us, number, f"square-off-{number + 1}", None
        )

    def track_request(self, request: OrderRequest, now_us: int, number: int) -> TrackedOrder:
        """Check and plan an order that was handed in just now.

        Raises:
            InvalidOrder: a field is out of range, off the lot or off the tick.
            CannotSplit: no schedule fits it.
        """
        return self._track(request, self._terms(request), now_us, number, f"order-{number + 1}", None)

    def _track(
        self,
        request: OrderRequest,
        terms: InstrumentTerms,
        now_us: int,
        number: int,
        key: str,
        timed: TimedOrder | None,
    ) -> TrackedOrder:
        price, at_open = 0, self._fills_at_open
        if request.order_type is not OrderType.MARKET:
            request = request.normalised()
            named = request.limit_price or request.trigger_price
            price = 0 if named is None else to_units(named)
            is_ioc_limit = request.order_type is OrderType.LIMIT and request.validity is Validity.IOC
            at_open = at_open and is_ioc_limit
        elif request.product is None:
            request = request.normalised()
        starts_us = now_us
        if request.start_at is not None:
            check_start(request, to_time(now_us))
            starts_us = to_us(request.start_at)
        if timed is None and request.split_config is None and terms.freeze_quantity is None:
            executions: tuple[TrackedExecution, ...] = (
                TrackedExecution(number, 1, 0, request.total_quantity, starts_us),
            )
            ends_us, is_whole = starts_us, True
        else:
            if timed is not None and timed.schedule is not None:
                starts_us = now_us
            parts = self._parts(request, terms, now_us, starts_us, number, timed)
            executions = _executions(parts, starts_us, number, terms)
            ends_us, is_whole = starts_us + parts[-1].offset_us, len(executions) == len(parts)
        lane = self._lanes[request.instrument]
        return TrackedOrder(
            number,
            key,
            request,
            terms,
            lane.number,
            1 if request.side is Side.BUY else -1,
            self._ledger.book(request.instrument, request.product or Product.CNC),
            price,
            lane.last_price(now_us),
            at_open,
            is_whole,
            now_us,
            starts_us,
            ends_us,
            executions,
            [],
            len(executions),
        )

    def terms_of(self, instrument: Instrument) -> InstrumentTerms:
        """Raises: UnknownInstrument: there is no data for it."""
        terms = self._terms_of.get(instrument)
        if terms is None:
            raise UnknownInstrument(f"there is no data for {instrument}", field="instrument")
        return terms

    def _terms(self, request: OrderRequest) -> InstrumentTerms:
        request.check_shape()
        terms = self.terms_of(request.instrument)
        request.check_terms(terms)
        return terms

    def _parts(
        self,
        request: OrderRequest,
        terms: InstrumentTerms,
        now_us: int,
        starts_us: int,
        number: int,
        timed: TimedOrder | None,
    ) -> Sequence[Part]:
        quantity, lot_size, split = request.total_quantity, terms.lot_size, request.split_config
        if timed is not None and timed.schedule is not None and timed.ends_at is not None:
            rng = plan_source(order_id_of(self._seed, now_us, number)) if timed.randomize else None
            window = Window(to_time(now_us), timed.ends_at, timed.sessions)
            parts = timed.schedule.parts(quantity, window, lot_size=lot_size, rng=rng)
            _check_parts(parts, quantity, lot_size)
            return parts
        if split is None:
            return [Part(0, quantity)]
        rng = plan_source(order_id_of(self._seed, now_us, number)) if split.randomize else None
        return twap(quantity, split.num_splits, split.duration_minutes * _MINUTE_US, lot_size=lot_size, rng=rng)


def _timed(order: object) -> TimedOrder:
    timed = TimedOrder(request=order) if isinstance(order, OrderRequest) else order
    if not isinstance(timed, TimedOrder) or not isinstance(timed.request, OrderRequest):
        raise InvalidOrder(f"it must be a TimedOrder or an OrderRequest, not {type(order).__name__}")
    return timed


def _key(timed: TimedOrder, place: int) -> str:
    key: object = f"order-{place + 1}" if timed.order_unique_key is None else timed.order_unique_key
    if not isinstance(key, str) or not key:
        raise InvalidOrder(f"the order_unique_key must be a text, not {key!r}", field="order_unique_key")
    return key


def _arrival(timed: TimedOrder) -> datetime:
    at: object = timed.request.start_at if timed.at is None else timed.at
    if at is None:
        raise InvalidOrder("it needs a time: `at`, or the request's `start_at`", field="at")
    return _instant("at", at)


def _instant(field: str, at: object) -> datetime:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise InvalidOrder(f"{field} must be a datetime with an offset from UTC, not {at!r}", field=field)
    return at


def _check_schedule(timed: TimedOrder) -> None:
    if timed.schedule is None:
        for field in ("ends_at", "sessions"):
            if getattr(timed, field) is not None:
                raise InvalidOrder(f"{field} goes with a schedule", field=field)
        return
    if timed.request.split_config is not None or timed.request.start_at is not None:
        raise InvalidOrder(
            "a schedule begins when the order arrives: leave split_config and start_at out", field="schedule"
        )
    if timed.ends_at is None:
        raise InvalidOrder("a schedule needs an end", field="ends_at")
    _instant("ends_at", timed.ends_at)
    if isinstance(timed.schedule, type) or not callable(getattr(timed.schedule, "parts", None)):
        raise InvalidOrder(f"{timed.schedule!r} is no schedule", field="schedule")
    if timed.sessions is None:
        return
    try:
        pairs = [(start, end) for start, end in timed.sessions]
    except (TypeError, ValueError):
        raise InvalidOrder("sessions are pairs of a start and an end", field="sessions") from None
    for pair in pairs:
        for at in pair:
            _instant("sessions", at)


def _check_parts(parts: Sequence[Part], quantity: int, lot_size: int) -> None:
    """A schedule of the caller's own may say anything."""
    offsets = [0, *(part.offset_us for part in parts)]
    if not parts or sum(part.quantity for part in parts) != quantity:
        raise CannotSplit(f"the schedule's parts are not {quantity} together")
    if any(part.quantity < 1 or part.quantity % lot_size for part in parts):
        raise CannotSplit(f"the schedule has a part that is not in whole lots of {lot_size}", lot_size=lot_size)
    if any(after < before for before, after in pairwise(offsets)):
        raise CannotSplit("the schedule's parts go back in time")


def _executions(
    parts: Sequence[Part], starts_us: int, number: int, terms: InstrumentTerms
) -> tuple[TrackedExecution, ...]:
    freeze = terms.freeze_quantity
    if freeze is None:
        return tuple(
            [
                TrackedExecution(number, seq, 0, part.quantity, starts_us + part.offset_us)
                for seq, part in enumerate(parts, start=1)
            ]
        )
    return tuple(
        TrackedExecution(number, seq, chunk, quantity, starts_us + part.offset_us)
        for seq, part in enumerate(parts, start=1)
        for chunk, quantity in enumerate(chunks(part.quantity, lot_size=terms.lot_size, freeze_quantity=freeze))
    )


def _fills_at_open(matching: MatchingSettings) -> bool:
    """Whether what takes a candle's open simply does so: in full, at that price, without delay."""
    return (
        matching.candle_entry is CandleEntry.NEXT_OPEN
        and matching.latency is None
        and matching.participation is None
        and matching.slippage is None
        and matching.fills_without_volume
    )


def _at_place(error: PulseError, place: int) -> PulseError:
    """The same error, saying which order of the list it is about."""
    kind = type(error) if isinstance(error, InvalidOrder | CannotSplit) else InvalidOrder
    return kind(f"order {place + 1}: {error.message}", **{**error.details, "order": place + 1})

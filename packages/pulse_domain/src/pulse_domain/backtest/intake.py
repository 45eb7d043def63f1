"""Orders on their way into a run: checked as a gateway checks them, planned as the splitter plans them."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from pulse_domain.account import Ledger
from pulse_domain.backtest.history import order_id_of, plan_source
from pulse_domain.backtest.lanes import Lane
from pulse_domain.backtest.tracking import TrackedExecution, TrackedOrder
from pulse_domain.backtest.values import BacktestSettings, TimedOrder
from pulse_domain.errors import CannotSplit, InvalidOrder, InvalidSettings, PulseError, UnknownInstrument
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
        _check_settings(settings)
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
                timed = order if isinstance(order, TimedOrder) else TimedOrder(request=order)
                at = timed.at or timed.request.start_at
                if at is None:
                    raise InvalidOrder("it needs a time: `at`, or the request's `start_at`", field="at")
                at_us = to_us(at)
                if not opens_us <= at_us < over_us:
                    raise InvalidOrder(
                        f"it arrives at {at.isoformat()}, outside of the data, "
                        f"{to_time(first_us).isoformat()} to {to_time(over_us).isoformat()}",
                        field="at",
                    )
                if timed.schedule is None and timed.ends_at is not None:
                    raise InvalidOrder("`ends_at` goes with a schedule", field="ends_at")
                if timed.schedule is not None and (timed.ends_at is None or timed.request.split_config):
                    raise InvalidOrder("a schedule needs `ends_at`, and no split_config", field="schedule")
                self._terms(timed.request)
                key = timed.order_unique_key or f"order-{place + 1}"
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
        key = timed.order_unique_key or f"order-{place + 1}"
        try:
            return self._track(timed.request, self._terms(timed.request), now_us, number, key, timed)
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
        if request.product is None or request.limit_price is not None or request.trigger_price is not None:
            request = request.normalised()
        starts_us = now_us
        if request.start_at is not None:
            check_start(request, to_time(now_us))
            starts_us = to_us(request.start_at)
        parts = self._parts(request, terms, now_us, starts_us, number, timed)
        if timed is not None and timed.schedule is not None:
            starts_us = now_us
        executions = _executions(parts, starts_us, number, terms)
        product = request.product or Product.CNC
        kind = request.order_type
        price = request.limit_price or request.trigger_price
        lane = self._lanes[request.instrument]
        at_open = kind is OrderType.MARKET or (kind is OrderType.LIMIT and request.validity is Validity.IOC)
        return TrackedOrder(
            number,
            key,
            request,
            terms,
            lane=lane.number,
            sign=1 if request.side is Side.BUY else -1,
            book=self._ledger.book(request.instrument, product),
            price=0 if price is None else to_units(price),
            arrival_price=lane.last_price(now_us),
            at_open=at_open and self._fills_at_open,
            arrived_us=now_us,
            starts_us=starts_us,
            ends_us=starts_us + parts[-1].offset_us,
            executions=executions,
            rows=[],
            open=len(executions),
        )

    def _terms(self, request: OrderRequest) -> InstrumentTerms:
        request.check_shape()
        terms = self._terms_of.get(request.instrument)
        if terms is None:
            raise UnknownInstrument(f"there is no data for {request.instrument}", field="instrument")
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
            return timed.schedule.parts(quantity, window, lot_size=lot_size, rng=rng)
        if split is None:
            return [Part(0, quantity)]
        rng = plan_source(order_id_of(self._seed, now_us, number)) if split.randomize else None
        return twap(quantity, split.num_splits, split.duration_minutes * _MINUTE_US, lot_size=lot_size, rng=rng)


def _check_settings(settings: BacktestSettings) -> None:
    at = settings.square_off_at
    if at is not None and (at.tzinfo is not None or at.microsecond):
        raise InvalidSettings(
            f"square_off_at must be a time of day in India, in whole seconds and without a zone, not {at}",
            field="square_off_at",
        )


def _executions(
    parts: Sequence[Part], starts_us: int, number: int, terms: InstrumentTerms
) -> list[TrackedExecution]:
    freeze = terms.freeze_quantity
    if len(parts) == 1 and freeze is None:
        return [TrackedExecution(number, 1, 0, parts[0].quantity, starts_us + parts[0].offset_us)]
    if freeze is None:
        return [
            TrackedExecution(number, seq, 0, part.quantity, starts_us + part.offset_us)
            for seq, part in enumerate(parts, start=1)
        ]
    return [
        TrackedExecution(number, seq, chunk, quantity, starts_us + part.offset_us)
        for seq, part in enumerate(parts, start=1)
        for chunk, quantity in enumerate(chunks(part.quantity, lot_size=terms.lot_size, freeze_quantity=freeze))
    ]


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

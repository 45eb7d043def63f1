"""A backtest in the plainest way: every instant goes over every candle, every tick and every order.

For comparison only. Times are datetimes, money is in fractions of a rupee, and nothing is left out because
nobody waits for it. Plans come from the splitting functions, prices from the naive matching engine.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from fractions import Fraction
from itertools import chain, pairwise
from random import Random
from typing import Any

from msgspec.structs import replace

from pulse_domain.backtest import BacktestSettings
from pulse_domain.matching import Candle, Tick, VenueOrder
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import Product, Side
from pulse_domain.orders.plan import plan_order
from pulse_domain.splitting import Window, schedule_slices
from pulse_domain.units import INDIA
from tests.unit.account.reference import Order, Position, Reference, Refused, Terms
from tests.unit.matching.naive import NaiveEngine


class Venue(NaiveEngine):
    """The naive engine; a fill also says at which time of the exchange it was."""

    now: Any = None

    def fill(self, row: Any, price: Any, bid: Any, ask: Any, candle: Any) -> None:
        before = len(self.out)
        super().fill(row, price, bid, ask, candle)
        at = self.now if candle is None else candle.start
        closing: Any = self.closes.get(row.order.instrument)
        if candle is not None and closing is candle:
            at = closing.end
        self.out[before:] = [(*said, at) if said[0] == "Filled" else said for said in self.out[before:]]


class Blocked(Order):
    """The money of one order, which is itself and no other that looks alike."""

    __eq__, __hash__ = object.__eq__, object.__hash__


class Child:
    """One order at the venue. `end` is why it ended; None while it works, and where it has filled."""

    def __init__(self, parent, seq, chunk, quantity, due):
        self.parent, self.seq, self.chunk, self.quantity, self.due = parent, seq, chunk, quantity, due
        self.sent, self.done, self.end, self.filled, self.money = False, False, None, 0, None


class Naive:
    """data: for each instrument its candles or ticks.

    order_id: the id of the n-th order to arrive; plans that are left to chance come from it.
    fills: (order, seq, chunk, time, quantity, price, when it was known).
    """

    def __init__(
        self,
        data: Sequence[list[Any]],
        settings: BacktestSettings,
        seed: int,
        order_id: Callable[[int], OrderId],
    ) -> None:
        self.settings, self.order_id = settings, order_id
        self.data: list[list[Any]] = [with_ends(rows) if isinstance(rows[0], Candle) else rows for rows in data]
        lots = {rows[0].instrument: self.terms(rows[0].instrument).lot_size for rows in data}
        ticks = {name: terms.tick_size for name, terms in settings.terms.items()}
        matching = settings.matching
        matching = replace(
            matching, lot_sizes=lots | matching.lot_sizes, tick_sizes=ticks | matching.tick_sizes
        )
        self.venue = Venue(matching, Random(seed))
        # What is due at the last tick's time still meets it; a candle's end is too late for it.
        self.over = max(
            row.at + timedelta.resolution if isinstance(row, Tick) else row.end
            for row in chain.from_iterable(self.data)
        )
        self.daily = {
            rows[0].instrument
            for rows in data
            if not isinstance(rows[0], Tick) and rows[0].end - rows[0].start >= timedelta(days=1)
        }
        self.parents: list[Parent] = []
        self.children: list[Child] = []
        self.fills: list[tuple[Any, ...]] = []
        names = {rows[0].instrument for rows in data} | {it.instrument for it in settings.holdings}
        places = [(name, product) for name in sorted(names) for product in Product]
        self.money = Reference(
            Fraction(settings.capital),
            {
                place: Terms(
                    1, Fraction(1), None if place[1] is Product.CNC else Fraction(1), place[1] == "CNC"
                )
                for place in places
            },
        )
        for it in settings.holdings:
            cost = it.quantity * Fraction(it.average_price)
            self.money.positions[it.instrument, Product.CNC] = Position(it.quantity, cost)
            self.money.capital += cost

    def terms(self, instrument):
        return self.settings.terms.get(instrument, self.settings.default_terms)

    def run(self, orders):
        """orders: (when it arrives, timed order), by time."""
        self.parents = [Parent(self, number, at, timed) for number, (at, timed) in enumerate(orders)]
        self.children = [child for parent in self.parents for child in parent.children]
        seen = {child.due for child in self.children}
        for row in chain.from_iterable(self.data):
            seen |= {row.at} if isinstance(row, Tick) else {row.end}
        days = {midnight(when) for when in seen | {at for at, _ in orders}}
        for now in sorted(seen | days):
            self.candles(now)
            if now in days:
                self.expire({rows[0].instrument for rows in self.data} - self.daily, sent_by=now, at=now)
            for child in self.children:
                if child.due == now and not child.done:
                    self.lapse(child.parent) if now >= self.over else self.send(child, now)
            self.ticks(now)
        self.expire({rows[0].instrument for rows in self.data}, sent_by=now)
        return self

    def candles(self, now):
        for rows in self.data:
            for row in rows:
                if not isinstance(row, Tick) and row.end == now:
                    self.take(self.venue.process_candle(row), now)
                    if row.instrument in self.daily or row.end > midnight(row.start):
                        self.expire({row.instrument}, sent_by=row.start)

    def ticks(self, now):
        for rows in self.data:
            for row in rows:
                if isinstance(row, Tick) and row.at == now:
                    self.venue.now = now
                    self.take(self.venue.process_tick(row), now)

    def expire(self, instruments, sent_by, at=None):
        """An order is for a day, or until the end of a candle that is open when the day ends and that it meets;
        where candles are as long as a day, until the end of the next one."""
        for child in self.children:
            ours = child.parent.request.instrument in instruments
            if ours and child.sent and not child.done and child.due <= sent_by and not self.is_met(child, at):
                self.venue.cancel(child)
                self.finish(child, "EXPIRED")

    def send(self, child, now):
        order = child.parent.request
        price = order.limit_price or order.trigger_price or self.last_price(order.instrument, now)
        sign = 1 if order.side is Side.BUY else -1
        money = Blocked((order.instrument, order.product), sign, child.quantity, Fraction(price))
        try:
            self.money.block(money)
        except Refused:
            child.done, child.end = True, "REJECTED"
            return
        child.sent, child.money = True, money
        told = VenueOrder(
            order_id=child, instrument=order.instrument, side=order.side, quantity=child.quantity,
            order_type=order.order_type, validity=order.validity, limit_price=order.limit_price,
            trigger_price=order.trigger_price,
        )  # fmt: skip
        self.take(self.venue.submit(told, at=now), now)

    def take(self, results, now):
        for kind, child, *what in list(results):
            if kind == "Filled":
                quantity, price, at = what
                self.fills.append((child.parent.number, child.seq, child.chunk, at, quantity, price, now))
                child.filled += quantity
                child.done = child.filled == child.quantity
                self.money.fill(child.money, quantity, Fraction(price))
            elif kind == "Cancelled":
                self.finish(child, "CANCELLED")

    def finish(self, child, end):
        child.done, child.end = True, end
        self.money.release(child.money)

    def is_met(self, child, at):
        """Whether an order meets a candle that is open at an instant."""
        rows = chain.from_iterable(self.data) if at else []
        return any(
            row.instrument == child.parent.request.instrument and child.due <= row.start < at < row.end
            for row in rows
            if not isinstance(row, Tick)
        )

    def lapse(self, parent):
        for child in parent.children:
            if not child.sent and not child.done:
                child.done, child.end = True, "LAPSED"

    def last_price(self, instrument, now):
        """The close of a candle that has ended, the open of one that began before, or a tick that was seen."""
        rows = next(rows for rows in self.data if rows[0].instrument == instrument)
        known = rows[0].open if isinstance(rows[0], Candle) else rows[0].price
        for row in rows:
            if isinstance(row, Tick):
                known = row.price if row.at < now else known
            elif row.start < now:
                known = row.close if row.end <= now else row.open
        return known


class Parent:
    def __init__(self, naive, number, at, timed):
        terms = naive.terms(timed.request.instrument)
        self.number, self.request = number, timed.request.normalised()
        if timed.schedule is None:
            start = timed.request.start_at or at
            plan = plan_order(naive.order_id(number), timed.request, terms, start, "BT")
            parts = [(it.scheduled_at, tuple(chunk.quantity for chunk in it.executions)) for it in plan]
        else:
            rng = Random(naive.order_id(number)) if timed.randomize else None
            window = Window(at, timed.ends_at, timed.sessions)
            slices = schedule_slices(
                timed.schedule, timed.request.total_quantity, window,
                lot_size=terms.lot_size, freeze_quantity=terms.freeze_quantity, rng=rng,
            )  # fmt: skip
            parts = [(it.at, it.chunks) for it in slices]
        self.children = [
            Child(self, seq, chunk, quantity, max(due, at))
            for seq, (due, chunks) in enumerate(parts, start=1)
            for chunk, quantity in enumerate(chunks)
        ]

    @property
    def state(self):
        filled, ends = sum(child.filled for child in self.children), {child.end for child in self.children}
        if filled == self.request.total_quantity:
            return "FILLED"
        if filled:
            return "PARTIALLY_FILLED"
        if "REJECTED" in ends:
            return "REJECTED"
        return "EXPIRED" if ends & {"EXPIRED", "LAPSED"} else "CANCELLED"


def with_ends(candles: list[Any]) -> list[Any]:
    """A candle ends after its interval, or where the next one starts if that is sooner."""
    ends = [min(row.end, after.start) for row, after in pairwise(candles)] + [candles[-1].end]
    return [replace(row, end=end) for row, end in zip(candles, ends, strict=True)]


def midnight(when: datetime) -> datetime:
    """The one after an instant, in India."""
    return datetime.combine(when.astimezone(INDIA).date() + timedelta(days=1), time(), INDIA)

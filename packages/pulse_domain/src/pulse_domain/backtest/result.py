"""What a run gives back: the facts at once, and what follows from them when it is asked for."""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from functools import cached_property
from sys import byteorder
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

import msgspec

from pulse_domain.account import Funds, Position, Working
from pulse_domain.backtest.equity import Worth, equity_points, rupees, worth_over_time
from pulse_domain.backtest.history import accepted_order, journal_of, order_id_of, trade_id
from pulse_domain.backtest.quality import Market, quality_of
from pulse_domain.backtest.run import Run
from pulse_domain.backtest.series import CandleSeries, TickSeries
from pulse_domain.backtest.statistics import statistics_of
from pulse_domain.backtest.tracking import FillRow, TrackedOrder
from pulse_domain.backtest.values import (
    BacktestFill,
    BacktestSettings,
    EquityPoint,
    ExecutionQuality,
    Statistics,
)
from pulse_domain.errors import OutOfBalance
from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import JournalEntry
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.journal import OrderHistory, replay
from pulse_domain.orders.model import OrderRequest, Side
from pulse_domain.orders.slices import Slice
from pulse_domain.orders.summary import OrderSummary, summarise_history
from pulse_domain.units import day_number, to_price, to_time

if TYPE_CHECKING:  # each costs milliseconds, and only a report needs them
    from os import PathLike
    from pathlib import Path

ItemT = TypeVar("ItemT")
_encode = msgspec.json.Encoder(order="deterministic").encode


class LazySequence(Sequence[ItemT], Generic[ItemT]):
    """Items that are made when they are looked at."""

    def __init__(self, length: int, make: Any) -> None:
        self._length = length
        self._make = make

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> ItemT: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ItemT]: ...
    def __getitem__(self, index: int | slice) -> ItemT | Sequence[ItemT]:
        if isinstance(index, slice):
            return [self._make(i) for i in range(*index.indices(self._length))]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        made: ItemT = self._make(index % self._length)
        return made

    def __iter__(self) -> Iterator[ItemT]:
        return map(self._make, range(self._length))


class BacktestOrder:
    """One order of a run and everything that happened to it."""

    def __init__(self, result: "BacktestResult", tracked: TrackedOrder) -> None:
        self._result = result
        self._tracked = tracked

    def __repr__(self) -> str:
        return f"<BacktestOrder {self.order_unique_key} {self.summary.state}>"

    @property
    def order_unique_key(self) -> str:
        return self._tracked.key

    @property
    def request(self) -> OrderRequest:
        return self._tracked.request

    @cached_property
    def order_id(self) -> OrderId:
        return order_id_of(self._result.seed, self._tracked.arrived_us, self._tracked.number)

    @cached_property
    def journal(self) -> tuple[JournalEntry, ...]:
        """As the store keeps it live; the times are those at which the run knew."""
        return journal_of(self._tracked, self.order_id, self._result.fill_rows)

    @cached_property
    def history(self) -> OrderHistory:
        """The journal folded by the state machine."""
        return replay(accepted_order(self._tracked, self.order_id), self.journal)

    @property
    def slices(self) -> tuple[Slice, ...]:
        return self.history.slices

    @cached_property
    def summary(self) -> OrderSummary:
        return summarise_history(self.history)

    @cached_property
    def fills(self) -> tuple[BacktestFill, ...]:
        fills = self._result.fills
        return tuple([fills[n] for n in self._result.fill_numbers(self._tracked)])

    @cached_property
    def quality(self) -> ExecutionQuality:
        result = self._result
        rows = [result.fill_rows[n] for n in result.fill_numbers(self._tracked)]
        return quality_of(self._tracked, result.market(self._tracked.lane), rows)


class BacktestResult:
    """settings, seed, series: what the run was given."""

    def __init__(self, run: Run, settings: BacktestSettings, seed: int) -> None:
        self._run = run
        self.settings = settings
        self.seed = seed
        self._markets: dict[int, Market] = {}

    @property
    def series(self) -> tuple[CandleSeries | TickSeries, ...]:
        return tuple(lane.series for lane in self._run.lanes)

    @property
    def orders(self) -> Sequence[BacktestOrder]:
        """By their arrival."""
        tracked = self._run.orders
        return LazySequence(len(tracked), lambda i: BacktestOrder(self, tracked[i]))

    @property
    def fills(self) -> Sequence[BacktestFill]:
        """In the order in which they became known."""
        return LazySequence(len(self._run.fills), self._fill)

    @property
    def fill_rows(self) -> Sequence[FillRow]:
        """The fills as numbers, for what has to be fast."""
        return self._run.fills

    @cached_property
    def equity(self) -> tuple[EquityPoint, ...]:
        """At the start, after each fill, and at each price of an instrument while it is held."""
        return equity_points(self._worths)

    @property
    def funds(self) -> Funds:
        return self._run.ledger.funds()

    @cached_property
    def positions(self) -> tuple[Position, ...]:
        """Those open or closed, at the last prices."""
        return self._run.ledger.positions(self._marks)

    @cached_property
    def statistics(self) -> Statistics:
        lanes = self._run.lanes
        days: set[int] = set()
        for lane in lanes:
            days.update(map(day_number, lane.times))
        return statistics_of(
            ledger=self._run.ledger,
            unrealised=rupees(self._run.ledger.unrealised(self._marks)),
            worths=self._worths,
            points=self.equity,
            days=sorted(days),
            first_us=min(lane.first_us for lane in lanes),
            last_us=max(lane.last_us for lane in lanes),
            orders=self._run.orders,
            fills=self._run.fills,
        )

    @property
    def tracked_orders(self) -> Sequence[TrackedOrder]:
        """The orders as the run kept them, likewise."""
        return self._run.orders

    def fills_digest(self) -> str:
        """The sha256, in hex, of all fills.

        Of each it takes the exchange's time in us, the number of its series from 0, the quantity (negative for
        a sale) and the price in ten-thousandths of a rupee, as little-endian integers of 64 bits.
        """
        rows = self._run.fills
        numbers = array("q", [n for row in rows for n in (row.at_us, row.lane, row.quantity, row.price)])
        if byteorder == "big":
            numbers.byteswap()
        return hashlib.sha256(numbers).hexdigest()

    def digest(self) -> str:
        """The sha256, in hex, of `to_json`."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def to_json(self) -> bytes:
        """Everything that happened; the same input gives the same bytes."""
        return _encode(
            {
                "seed": self.seed,
                "series": [
                    {"instrument": str(it.instrument), "rows": len(it), "dropped": it.dropped}
                    for it in self.series
                ],
                "orders": [
                    {
                        "order_id": order.order_id,
                        "order_unique_key": order.order_unique_key,
                        "request": order.request,
                        "summary": order.summary,
                        "journal": order.journal,
                        "quality": order.quality,
                    }
                    for order in self.orders
                ],
                "fills": list(self.fills),
                "equity": self.equity,
                "funds": self.funds,
                "positions": self.positions,
                "statistics": self.statistics,
            }
        )

    def check(self) -> None:
        """Add everything up again: quantities of every order, and money to the last unit.

        Raises:
            OutOfBalance: something does not add up; `details` carry both sides.
        """
        ledger = self._run.ledger
        working, filled = [], dict[Any, int]()
        for order in self._run.orders:
            executions = order.executions
            _expect("planned", sum(it.quantity for it in executions), order.request.total_quantity)
            rows = [self._run.fills[n] for n in self.fill_numbers(order)]
            _expect("filled", sum(row.quantity for row in rows), order.sign * order.filled)
            _expect("open", sum(not it.done for it in executions), order.open)
            key = (order.book.instrument, order.book.product)
            filled[key] = filled.get(key, 0) + order.sign * order.filled
            working += [
                Working(order.book, order.sign, it.quantity - it.filled, it.blocked_price)
                for it in executions
                if it.number and not it.done
            ]
        traded = sum(row.quantity for row in self._run.fills)
        _expect("fills", traded, sum(order.sign * order.filled for order in self._run.orders))
        tabs = [it.tab.charges for order in self._run.orders for it in order.executions if it.tab]
        ledger.check(working, filled=filled, order_charges=sum(tabs, rupees(0)))
        equity = rupees(ledger.capital + ledger.realised - ledger.charges + ledger.unrealised(self._marks))
        _expect("equity", self.equity[-1].equity, equity)

    def report(self, path: "str | PathLike[str]", *, title: str | None = None) -> "Path":
        """Write the run as one HTML page that needs nothing else.

        Raises:
            MissingExtra: the extra `report` is not installed.
        """
        from pulse_domain.backtest.report import write_report

        return write_report(self, path, title=title)

    def market(self, lane: int) -> Market:
        """The sums over a series that qualities are measured by."""
        if lane not in self._markets:
            self._markets[lane] = Market(self._run.lanes[lane])
        return self._markets[lane]

    def fill_numbers(self, tracked: TrackedOrder) -> Sequence[int]:
        return self._numbers.get(tracked.number, ())

    @cached_property
    def _numbers(self) -> dict[int, list[int]]:
        numbers: dict[int, list[int]] = {}
        for n, row in enumerate(self._run.fills):
            numbers.setdefault(row.order, []).append(n)
        return numbers

    @cached_property
    def _marks(self) -> dict[Instrument, int]:
        return {lane.instrument: lane.final_price for lane in self._run.lanes}

    @cached_property
    def _worths(self) -> list[Worth]:
        run = self._run
        return worth_over_time(run.ledger, run.lanes, run.fills, self.settings)

    def _fill(self, n: int) -> BacktestFill:
        row = self._run.fills[n]
        order = self._run.orders[row.order]
        return BacktestFill(
            trade_id=trade_id(n),
            at=to_time(row.at_us),
            order_unique_key=order.key,
            instrument=order.request.instrument,
            side=Side.BUY if row.quantity > 0 else Side.SELL,
            quantity=abs(row.quantity),
            price=to_price(row.price),
            seq=row.seq,
            chunk=row.chunk,
        )


def _expect(what: str, one: Any, other: Any) -> None:
    if one != other:
        raise OutOfBalance(f"{what}: {one} is not {other}", **{what: (str(one), str(other))})

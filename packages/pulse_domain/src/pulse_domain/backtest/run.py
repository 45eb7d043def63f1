"""One run: a simulated clock that jumps from what happens to what happens next.

At one instant candles that end come first, then the end of the day and the hour of squaring off, then
orders that arrive, then slices that are due, then ticks. So what is sent when a candle has closed, or is due
just then, meets the next one; and what is due at the time of a tick meets that tick.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from heapq import heappop, heappush, heapreplace, merge
from itertools import groupby
from operator import itemgetter
from random import Random

from pulse_domain.account import Ledger, Tab, refusal_code
from pulse_domain.backtest.equity import rupees
from pulse_domain.backtest.intake import Intake
from pulse_domain.backtest.lanes import NEVER, CandleLane, Lane, TickLane
from pulse_domain.backtest.series import CandleSeries, TickSeries
from pulse_domain.backtest.tracking import Fact, FillRow, Sent, TrackedExecution, TrackedOrder, value_of
from pulse_domain.backtest.values import BacktestSettings, TimedOrder, matching_of
from pulse_domain.errors import (
    AccountError,
    InvalidSettings,
    NotFound,
    PulseError,
    StrategyFailed,
)
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import (
    Cancelled,
    Candle,
    CandleEntry,
    Filled,
    MatchingEngine,
    Result,
    Tick,
    Triggered,
    VenueOrder,
)
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Side
from pulse_domain.orders.status import OrderState
from pulse_domain.strategy import OrderUpdate, Strategy
from pulse_domain.units import DAY_US, PRICE_UNITS, day_end_us, to_price, to_time, to_units, to_us

_CANDLE, _DAY, _ARRIVAL, _SLICE, _TICK = range(5)  # what comes first at one instant
_ROWS = (_CANDLE, _TICK)
_MINUTE_US = 60_000_000
_BLOCK = 1024  # candles that are made at a time
_SQUARE_OFF, _DAY_END, _CATCH_UP = range(3)

_SENT, _FILLED, _REFUSED = Fact.SENT, Fact.FILLED, Fact.REFUSED

# Where nothing was filled, the gravest end of an execution names the order.
_GRAVITY = {
    Fact.REFUSED: 3, Fact.EXPIRED: 2, Fact.LAPSED: 2, Fact.CANCELLED: 1, Fact.WITHDRAWN: 1, 0: 0,
}  # fmt: skip
_STATES = {3: OrderState.REJECTED, 2: OrderState.EXPIRED, 1: OrderState.CANCELLED}

_PROGRESS_STEP = 0.001
_ANSWERS_MAX = 100_000  # updates at one instant, by which a strategy has surely lost itself
_FINEST = Decimal("0.0001")
_NOTHING: int | Decimal = 0


class Run:
    """The state of a run, and the desk of its strategy."""

    def __init__(
        self,
        data: Sequence[CandleSeries | TickSeries],
        settings: BacktestSettings,
        seed: int,
        strategy: Strategy | None,
        on_progress: Callable[[float], None] | None,
    ) -> None:
        matching = matching_of(settings, [series.instrument for series in data])
        _check_candles(strategy, data)
        hears_candles = _overrides(strategy, "on_candle")
        hears_ticks = _overrides(strategy, "on_tick")
        self._strategy = strategy
        self._hears_updates = _overrides(strategy, "on_order_update")
        self._progress = on_progress
        self._told_done = 0.0
        self._settings = settings
        self._engine = MatchingEngine(matching, rng=Random(seed))  # noqa: S311 (chance in a simulation)
        self._touch = matching.fill_on_touch
        meets_close = matching.candle_entry is CandleEntry.SAME_CLOSE
        self.lanes: list[Lane] = [
            CandleLane(number, series, self._engine, listened=hears_candles, meets_close=meets_close)
            if isinstance(series, CandleSeries)
            # The volume of ticks counts from the session's start: none may be left out where it matters.
            else TickLane(number, series, self._engine, listened=hears_ticks, every=matching.needs_volume)
            for number, series in enumerate(data)
        ]
        if matching.latency is not None and any(lane.is_daily for lane in self.lanes):
            raise InvalidSettings(
                "leave latency out with candles of a day or longer: where they open is not known that well",
                field="latency",
            )
        self._lane_of = {lane.instrument: lane for lane in self.lanes}
        self.ledger = Ledger(settings.account)
        self.ledger.open(settings.capital, settings.holdings)
        self._first_us = min(lane.first_us for lane in self.lanes)
        # What is sent at this instant or later meets nothing any more.
        self._over_us = max(lane.over_us for lane in self.lanes)
        self.now_us = self._first_us
        self.intake = Intake(settings, seed, self._lane_of, self.ledger)
        self.orders: list[TrackedOrder] = []
        self.fills: list[FillRow] = []
        self._by_key: dict[str, TrackedOrder] = {}
        self._arrivals: list[tuple[int, int, TimedOrder]] = []
        self._heap: list[tuple[int, int, int, int]] = []
        self._at_venue: dict[str, TrackedExecution] = {}
        self._last_number = 0
        self._today: list[Sent] = []
        self._day_ends_us = -1
        self._trade_day: tuple[int, date] = (-1, date.min)
        self._squares_off = settings.square_off_at is not None
        self._square_off_us = -1
        self._updates: deque[OrderUpdate] = deque()

    # --- the clock ---------------------------------------------------------------------------------

    def execute(self, orders: Iterable[TimedOrder | OrderRequest]) -> None:
        """Go through the data and bring every order to its end."""
        self._arrivals = self.intake.arrivals(orders, self._first_us, self._over_us)
        if self._arrivals:
            heappush(self._heap, (self._arrivals[0][0], _ARRIVAL, 0, 0))
        if self._strategy is not None:
            if self._strategy.instruments == ():
                self._strategy.instruments = tuple(self._lane_of)
            self._strategy.desk = _Desk(self)
            self._call(self._strategy.on_start)
            self._tell()
        listened = [lane for lane in self.lanes if lane.listened]
        if len(listened) == 1 and isinstance(listened[0], CandleLane):
            self._listen_to_candles(listened[0])
        elif listened:
            self._listen(listened)
        self._work_until(NEVER)
        self.now_us = max(self.now_us, self._over_us)
        for lane in self.lanes:
            lane.alive = self._expire([*lane.waiting, *lane.alive], NEVER)
        self._tell()
        if self._progress is not None:
            self._progress(1.0)

    def _listen_to_candles(self, lane: CandleLane) -> None:
        """The common case of `_listen`, without a row's detour through a merge."""
        assert self._strategy is not None
        heap, on_candle, updates = self._heap, self._strategy.on_candle, self._updates
        waiting, series, ends = lane.waiting, lane.series, lane.ends()
        for first in range(0, len(ends), _BLOCK):
            last = min(first + _BLOCK, len(ends))
            rows = zip(range(first, last), ends[first:last], series.candles(first, last), strict=True)
            for i, now_us, candle in rows:
                if heap and heap[0][0] <= now_us:
                    self._work_until(now_us)
                self.now_us = now_us
                if waiting or lane.resting:
                    self._match(lane, i)
                    if updates:
                        self._tell()
                try:
                    on_candle(candle)
                except Exception as error:
                    raise self._failed("on_candle", error) from error
                if updates:
                    self._tell()
            self._say_progress()

    def _listen(self, lanes: list[Lane]) -> None:
        strategy = self._strategy
        rows = merge(*[_rows(lane) for lane in lanes], key=itemgetter(0, 1))
        for (now_us, rank), together in groupby(rows, key=itemgetter(0, 1)):
            group = list(together)
            if self._heap and self._heap[0][0] <= now_us:
                self._work_until(now_us, max(rank, _DAY))
            self.now_us = now_us
            # Ticks of one instant come one by one, candles that end together are all matched first.
            for part in [group] if rank == _CANDLE else [[row] for row in group]:
                for _, _, number, i, _ in part:
                    self._match(self.lanes[number], i)
                if strategy is None:
                    continue
                self._tell()
                for _, _, _, _, price in part:
                    if rank == _CANDLE:
                        self._call(strategy.on_candle, price)
                    else:
                        self._call(strategy.on_tick, price)
                    self._tell()
            self._say_progress()

    def _work_until(self, until_us: int, until_rank: int = _DAY) -> None:
        """Work on what happens before an instant, or at it with a lower rank."""
        heap, orders, over_us = self._heap, self.orders, self._over_us
        updates, has_progress = self._updates, self._progress is not None
        while heap:
            now_us, rank, number, position = heap[0]
            if now_us > until_us or (now_us == until_us and rank >= until_rank):
                return
            if rank == _SLICE:
                order = orders[number]
                if now_us < over_us:
                    self.now_us = now_us
                    executions = order.executions
                    upcoming = position + 1 if order.is_whole else _slice_end(executions, position)
                    if upcoming < len(executions):
                        due_us = executions[upcoming].due_us
                        heapreplace(heap, (due_us if due_us > now_us else now_us, _SLICE, number, upcoming))
                    else:
                        heappop(heap)
                    for i in range(position, upcoming):
                        if not executions[i].done:  # it may have been cancelled meanwhile
                            self._send(order, executions[i])
                else:
                    heappop(heap)
                    self.now_us = max(self.now_us, over_us)
                    self._lapse(order)
            elif rank in _ROWS:
                heappop(heap)
                lane = self.lanes[number]
                if lane.wake != position:
                    continue  # an earlier row was due by then
                self.now_us = now_us
                lane.wake = NEVER
                self._match(lane, position)
                if lane.waiting or lane.resting:
                    self._wake(lane, lane.next_look(now_us))
            else:
                heappop(heap)
                self.now_us = now_us
                if rank == _ARRIVAL:
                    self._take_arrival(number)
                elif number == _DAY_END:
                    self._end_day()
                elif number == _SQUARE_OFF:
                    self._square_off()
                else:
                    self._close_intraday(self.lanes[position])
            if updates:
                self._tell()
            if has_progress:
                self._say_progress()

    def _say_progress(self) -> None:
        if self._progress is not None:
            done = (self.now_us - self._first_us) / (self._over_us - self._first_us)
            if done - self._told_done >= _PROGRESS_STEP:
                self._told_done = min(1.0, done)
                self._progress(self._told_done)

    def _wake(self, lane: Lane, i: int) -> None:
        """See to it that a lane to which nobody listens is looked at by row `i`."""
        if i < lane.wake:
            lane.wake = i
            rank = _CANDLE if isinstance(lane, CandleLane) else _TICK
            heappush(self._heap, (lane.due_us(i), rank, lane.number, i))

    # --- orders in ---------------------------------------------------------------------------------

    def _take_arrival(self, place: int) -> None:
        if place + 1 < len(self._arrivals):
            heappush(self._heap, (self._arrivals[place + 1][0], _ARRIVAL, place + 1, 0))
        _, position, timed = self._arrivals[place]
        self._add(self.intake.track(timed, self.now_us, len(self.orders), position))

    def submit(self, request: OrderRequest) -> str:
        """Take an order of the strategy."""
        order = self.intake.track_request(request, self.now_us, len(self.orders))
        self._add(order)
        return order.key

    def _add(self, order: TrackedOrder) -> None:
        self.orders.append(order)
        now_us = self.now_us
        due_us = order.starts_us if order.starts_us > now_us else now_us
        if now_us >= self._over_us:
            told = len(self._updates)
            self._lapse(order)
            # Not told: a strategy that answers with the next order would never come to an end.
            while len(self._updates) > told:
                self._updates.pop()
        elif due_us == now_us and not (self._heap and self._heap[0][0] <= due_us):
            executions = order.executions
            upcoming = 1 if order.is_whole else _slice_end(executions, 0)
            if upcoming < len(executions):
                due_us = max(executions[upcoming].due_us, now_us)
                heappush(self._heap, (due_us, _SLICE, order.number, upcoming))
            for i in range(upcoming):
                self._send(order, executions[i])
        else:
            heappush(self._heap, (due_us, _SLICE, order.number, 0))

    def _send(self, order: TrackedOrder, execution: TrackedExecution) -> None:
        now_us, lane = self.now_us, self.lanes[order.lane]
        if now_us >= self._day_ends_us:
            self._begin_day(now_us)
        price = order.price or order.arrival_price
        if not order.price and now_us != order.arrived_us:
            price = lane.last_price(now_us)
        try:
            if self._squares_off:
                self._check_cut_off(order, execution)
            self.ledger.block(order.book, order.sign, execution.quantity, price)
        except AccountError as error:
            self._refuse(order, execution, error)
            return
        self._last_number = execution.number = self._last_number + 1
        execution.blocked_price = price
        order.rows.append((now_us, _SENT, execution.seq, execution.chunk))
        if order.at_open and isinstance(lane, CandleLane):
            lane.waiting.append((now_us, execution))
            if not lane.listened:
                i = lane.opening_from(now_us)
                if i < lane.wake:
                    self._wake(lane, i)
        else:
            (lane.alive if lane.is_daily else self._today).append((now_us, execution))
            self._hand_over(order, execution, lane)
            if not lane.listened:
                self._wake(lane, lane.next_look(now_us))

    def _hand_over(self, order: TrackedOrder, execution: TrackedExecution, lane: Lane) -> None:
        """Give an execution to the matching engine."""
        if isinstance(lane, CandleLane):
            lane.settle(self.now_us)
        request = order.request
        venue_order = VenueOrder(
            order_id=str(execution.number),
            instrument=lane.instrument,
            side=request.side,
            quantity=execution.quantity,
            order_type=request.order_type,
            validity=request.validity,
            limit_price=request.limit_price,
            trigger_price=request.trigger_price,
        )
        self._at_venue[venue_order.order_id] = execution
        if request.order_type.has_trigger:
            order.rows.append((self.now_us, Fact.TRIGGER_PENDING, execution.seq, execution.chunk))
        self._take(lane, self._engine.submit(venue_order, at=to_time(self.now_us)))

    def _refuse(self, order: TrackedOrder, execution: TrackedExecution, error: AccountError) -> None:
        code = refusal_code(error)
        self._last_number = execution.number = self._last_number + 1
        order.reason_code = code
        self._finish(order, execution, _REFUSED, code, str(error))

    # --- what becomes of them ----------------------------------------------------------------------

    def _match(self, lane: Lane, i: int) -> None:
        """Let the orders of a lane meet a row."""
        if isinstance(lane, TickLane):
            lane.passed = i + 1
            if lane.resting or lane.every:
                self._take(lane, lane.process(i))
            return
        if lane.waiting:
            self._meet_open(lane, i)
        if lane.resting and lane.wants(i):
            self._take(lane, lane.process(i))
        if lane.alive:
            lane.alive = self._expire(lane.alive, lane.start[i])

    def _meet_open(self, lane: CandleLane, i: int) -> None:
        """Fill what takes a candle's open: a market order at it, a limit with IOC if it is within."""
        start_us, price = lane.start[i], lane.open[i]
        waiting = lane.waiting
        # They wait in the order in which they were sent.
        met = 0
        for sent_us, execution in waiting:
            if sent_us > start_us:
                break
            met += 1
            order = self.orders[execution.order]
            if order.request.order_type is not OrderType.MARKET:
                distance = (order.price - price) * order.sign
                if distance < 0 or (distance == 0 and not self._touch):
                    self._finish(order, execution, Fact.CANCELLED, "IOC")
                    continue
            self._fill(order, execution, start_us, execution.quantity, price)
        del waiting[:met]

    def _meet_opened(self, lane: Lane) -> None:
        """Fill what takes the open of a candle that has opened but not ended: whatever comes, came later."""
        if lane.waiting and isinstance(lane, CandleLane):
            i = lane.opened_by(self.now_us)
            if i != NEVER:
                self._meet_open(lane, i)

    def _take(self, lane: Lane, results: Sequence[Result]) -> None:
        """Note what the engine did."""
        for result in results:
            execution = self._at_venue[result.order_id]
            order = self.orders[execution.order]
            match result:
                case Filled():
                    at_us, price = to_us(result.at), to_units(result.price)
                    self._fill(order, execution, at_us, result.quantity, price)
                case Triggered():
                    order.rows.append((self.now_us, Fact.TRIGGERED, execution.seq, execution.chunk))
                case Cancelled():
                    self._finish(order, execution, Fact.CANCELLED, result.reason_code)
                case _:
                    pass
        lane.note()

    def _fill(
        self, order: TrackedOrder, execution: TrackedExecution, at_us: int, quantity: int, price: int
    ) -> None:
        now_us, ledger, book, signed, charged = (
            self.now_us,
            self.ledger,
            order.book,
            order.sign * quantity,
            _NOTHING,
        )
        closes = book.quantity * signed < 0
        if ledger.free:
            realised = ledger.fill(book, order.sign, quantity, price, execution.blocked_price, None, None)
        else:
            before = ledger.charges
            tab, day = self._charging(execution, at_us)
            realised = ledger.fill(book, order.sign, quantity, price, execution.blocked_price, tab, day)
            charged = ledger.charges - before
        seq, chunk, fills = execution.seq, execution.chunk, self.fills
        order.rows.append((now_us, _FILLED, seq, chunk, len(fills)))
        fills.append(
            FillRow(
                at_us, now_us, order.lane, signed, price, order.number, seq, chunk, realised, charged, closes
            )
        )
        execution.filled = filled = execution.filled + quantity
        if filled == execution.quantity:
            execution.done = True
            order.open -= 1
            if self._at_venue:
                self._at_venue.pop(str(execution.number), None)
        if self._hears_updates:
            self._updates.append(self.update_of(order, quantity, price))

    def _charging(self, execution: TrackedExecution, at_us: int) -> tuple[Tab, date]:
        if execution.tab is None:
            execution.tab = Tab()
        day_us = day_end_us(at_us)
        if self._trade_day[0] != day_us:
            self._trade_day = day_us, to_time(at_us).date()
        return execution.tab, self._trade_day[1]

    def _finish(self, order: TrackedOrder, execution: TrackedExecution, fact: int, *why: str) -> None:
        """End an execution that has not filled, and give back what it blocks."""
        order.rows.append((self.now_us, fact, execution.seq, execution.chunk, *why))
        rest = execution.quantity - execution.filled
        if execution.blocked_price:
            self.ledger.release(order.book, order.sign, rest, execution.blocked_price)
        execution.done = True
        order.open -= 1
        self._at_venue.pop(str(execution.number), None)
        if _GRAVITY[fact] > _GRAVITY[order.ended]:
            order.ended = fact
        if self._hears_updates:
            self._updates.append(self.update_of(order))

    def cancel(self, order: TrackedOrder, due_before_us: int = NEVER) -> None:
        """End what is open of an order: what works, and what is due before an instant."""
        self._meet_opened(self.lanes[order.lane])
        if not order.open:
            return
        if not order.cancelled and due_before_us == NEVER:
            order.cancelled = True
            order.rows.append((self.now_us, Fact.ORDER_CANCEL_REQUESTED, 0, 0))
        lane = self.lanes[order.lane]
        for execution in order.executions:
            if execution.done:
                continue
            if not execution.number:
                if execution.due_us < due_before_us:
                    self._finish(order, execution, Fact.WITHDRAWN)
                continue
            order.rows.append((self.now_us, Fact.CANCEL_REQUESTED, execution.seq, execution.chunk))
            self._take_back(lane, execution)
            self._finish(order, execution, Fact.CANCELLED, "REQUESTED")

    def _take_back(self, lane: Lane, execution: TrackedExecution) -> None:
        """Take an execution that works out of the market."""
        if str(execution.number) in self._at_venue:
            self._engine.cancel(str(execution.number))
            lane.note()
        elif isinstance(lane, CandleLane):
            lane.waiting[:] = [row for row in lane.waiting if row[1] is not execution]

    def _lapse(self, order: TrackedOrder) -> None:
        """The data has ended before all of an order was sent."""
        for execution in order.executions:
            if not execution.done and not execution.number:
                self._finish(order, execution, Fact.LAPSED)

    # --- the day -----------------------------------------------------------------------------------

    def _begin_day(self, now_us: int) -> None:
        self._day_ends_us = day_end_us(now_us)
        heappush(self._heap, (self._day_ends_us, _DAY, _DAY_END, 0))
        square_off_at = self._settings.square_off_at
        if square_off_at is not None:
            of_day = timedelta(
                hours=square_off_at.hour, minutes=square_off_at.minute, seconds=square_off_at.second
            )
            self._square_off_us = self._day_ends_us - DAY_US + of_day // timedelta.resolution
            if self._square_off_us > now_us:
                heappush(self._heap, (self._square_off_us, _DAY, _SQUARE_OFF, 0))

    def _end_day(self) -> None:
        """Orders are for a day: what works now has expired."""
        for lane in self.lanes:
            self._meet_opened(lane)
            if not lane.is_daily:
                self._expire(lane.waiting[:], self.now_us)
        ended = []
        for sent_us, execution in self._today:
            if execution.done:
                continue
            lane = self.lanes[self.orders[execution.order].lane]
            if isinstance(lane, CandleLane) and lane.opened_by(self.now_us, since_us=sent_us) != NEVER:
                # Its day ends with the candle: what happened in it before midnight is not known yet.
                lane.alive.append((sent_us, execution))
            else:
                ended.append((sent_us, execution))
        self._today = self._expire(ended, self.now_us)
        for lane in self.lanes:
            if lane.alive and not lane.listened:
                self._wake(lane, lane.next_look(self.now_us))
        if self._squares_off:
            self._catch_up_squaring_off()

    def _expire(self, sent: list[Sent], until_us: int) -> list[Sent]:
        """End what was sent by an instant and is not done; give what was sent later."""
        later = []
        for sent_us, execution in sent:
            if sent_us > until_us:
                later.append((sent_us, execution))
            elif not execution.done:
                order = self.orders[execution.order]
                self._take_back(self.lanes[order.lane], execution)
                self._finish(order, execution, Fact.EXPIRED)
        return later

    def _check_cut_off(self, order: TrackedOrder, execution: TrackedExecution) -> None:
        """Refuse to open an MIS position after the hour of squaring off."""
        book = order.book
        if book.product is not Product.MIS or self.now_us < self._square_off_us:
            return
        working = book.buys_units if order.sign > 0 else book.sells_units
        if execution.quantity + working > -order.sign * book.quantity:
            raise AccountError(
                "MIS positions are not opened after the hour of squaring off", code="MIS_CUT_OFF"
            )

    def _square_off(self) -> None:
        for order in self.orders:
            if order.open and order.request.product is Product.MIS:
                self.cancel(order, self._day_ends_us)
        for lane in self.lanes:
            self._close_intraday(lane)

    def _catch_up_squaring_off(self) -> None:
        """What could not be closed on its day is closed at the next price."""
        for lane in self.lanes:
            if self._held_intraday(lane) and (opens_us := lane.next_us(self.now_us)) != NEVER:
                heappush(self._heap, (opens_us, _DAY, _CATCH_UP, lane.number))

    def _close_intraday(self, lane: Lane) -> None:
        units = self._held_intraday(lane)
        if units:
            side = Side.SELL if units > 0 else Side.BUY
            request = OrderRequest(
                instrument=lane.instrument, side=side, total_quantity=abs(units), product=Product.MIS
            )
            self._add(self.intake.track_closing(request, self.now_us, len(self.orders)))

    def _held_intraday(self, lane: Lane) -> int:
        book = self.ledger.books.get((lane.instrument, Product.MIS))
        return book.quantity if book is not None else 0

    # --- what is told ------------------------------------------------------------------------------

    def find(self, key: str) -> TrackedOrder:
        for new in self.orders[len(self._by_key) :]:
            self._by_key[new.key] = new
        order = self._by_key.get(key)
        if order is None:
            raise NotFound(f"there is no order {key}")
        return order

    def update_of(self, order: TrackedOrder, last_quantity: int = 0, last_price: int = 0) -> OrderUpdate:
        return OrderUpdate(
            order_unique_key=order.key,
            at=to_time(self.now_us),
            instrument=order.request.instrument,
            side=order.request.side,
            state=_state(order),
            done=not order.open,
            total_quantity=order.request.total_quantity,
            filled_quantity=order.filled,
            average_price=average_price(order, self.fills),
            last_quantity=last_quantity,
            last_price=to_price(last_price) if last_price else None,
            reason_code=order.reason_code,
        )

    def position(self, instrument: Instrument) -> int:
        return sum(book.quantity for book in self.ledger.books.values() if book.instrument == instrument)

    def cash(self) -> Decimal:
        return rupees(self.ledger.cash)

    def equity(self) -> Decimal:
        ledger, marks = self.ledger, 0
        for book in ledger.books.values():
            lane = self._lane_of.get(book.instrument)
            if book.quantity and lane is not None:
                price = lane.last_price(self.now_us)
                marks += price * book.quantity * book.multiplier - book.cost
        return rupees(ledger.capital + ledger.realised - ledger.charges + marks)

    def _tell(self) -> None:
        told = 0
        while self._updates:
            told += 1
            if told > _ANSWERS_MAX:
                raise self._failed("on_order_update", RecursionError("it answers at one instant without end"))
            update = self._updates.popleft()
            if self._strategy is not None:
                self._call(self._strategy.on_order_update, update)

    def _call(self, callback: Callable[..., None], *told: object) -> None:
        try:
            callback(*told)
        except Exception as error:
            raise self._failed(callback.__name__, error) from error

    def _failed(self, callback: str, error: Exception) -> StrategyFailed:
        at = to_time(self.now_us)
        said = error.message if isinstance(error, PulseError) else f"{type(error).__name__}: {error}"
        return StrategyFailed(
            f"{type(self._strategy).__name__}.{callback} failed at {at.isoformat()}: {said}",
            callback=callback, at=at.isoformat(),
        )  # fmt: skip


class _Desk:
    """What a strategy sees of a run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def now(self) -> datetime:
        return to_time(self._run.now_us)

    def submit(self, request: OrderRequest) -> str:
        return self._run.submit(request)

    def cancel(self, order_unique_key: str) -> None:
        self._run.cancel(self._run.find(order_unique_key))

    def order(self, order_unique_key: str) -> OrderUpdate:
        return self._run.update_of(self._run.find(order_unique_key))

    def position(self, instrument: Instrument) -> int:
        return self._run.position(instrument)

    def cash(self) -> Decimal:
        return self._run.cash()

    def equity(self) -> Decimal:
        return self._run.equity()

    def terms(self, instrument: Instrument) -> InstrumentTerms:
        return self._run.intake.terms_of(instrument)


def _check_candles(strategy: Strategy | None, data: Sequence[CandleSeries | TickSeries]) -> None:
    if strategy is None or (minutes := strategy.candle_minutes) is None:
        return
    for series in data:
        if isinstance(series, CandleSeries) and series.interval_us != minutes * _MINUTE_US:
            raise InvalidSettings(
                f"{type(strategy).__name__} is set to candles of {minutes} min, "
                f"and those of {series.instrument} last {series.interval}: set candle_minutes to theirs",
                field="candle_minutes",
            )


def _overrides(strategy: Strategy | None, name: str) -> bool:
    return strategy is not None and getattr(type(strategy), name) is not getattr(Strategy, name)


def _rows(lane: Lane) -> Iterator[tuple[int, int, int, int, Candle | Tick]]:
    """(time in us, rank, lane, row, price) of every row, in order of time."""
    rank = _CANDLE if isinstance(lane, CandleLane) else _TICK
    prices: Iterable[Candle | Tick] = lane.series
    for i, price in enumerate(prices):
        yield lane.due_us(i), rank, lane.number, i, price


def _slice_end(executions: Sequence[TrackedExecution], first: int) -> int:
    """Where the next slice begins: a slice has an execution for each part that the exchange takes."""
    seq, end = executions[first].seq, first + 1
    while end < len(executions) and executions[end].seq == seq:
        end += 1
    return end


def _state(order: TrackedOrder) -> OrderState:
    """Where an order stands: what `summarise` says of its history."""
    if order.open:
        return OrderState.WORKING if order.is_sent else OrderState.SCHEDULED
    if order.filled >= order.request.total_quantity:
        return OrderState.FILLED
    return OrderState.PARTIALLY_FILLED if order.filled else _STATES[_GRAVITY[order.ended]]


def average_price(order: TrackedOrder, fills: Sequence[FillRow]) -> Decimal | None:
    """In rupees, to the ten-thousandth."""
    filled = order.filled
    if not filled:
        return None
    return (Decimal(value_of(order, fills)) / (filled * PRICE_UNITS)).quantize(_FINEST)

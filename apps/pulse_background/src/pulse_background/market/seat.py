"""Where a strategy sits: messages in, orders out. There is no clock and no I/O here, so it does not matter
whether it sits in a thread or in a process, and the same messages give the same answers.

Keys of orders are made of the strategy's name and version, the event that is answered, and a count within that
event. So who goes through the same events again after a crash asks for the same orders by the same keys.
"""

import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b

from msgspec.structs import replace

from pulse_background.market.kinds import make_kind
from pulse_background.market.messages import (
    Answer,
    Asked,
    Begin,
    CancelAsked,
    Candles,
    Failed,
    KnownOrder,
    Made,
    Make,
    Message,
    Money,
    Prepared,
    Remember,
    Remembered,
    SeatMemory,
    Ticks,
    Told,
)
from pulse_domain.candles import ClosedCandle
from pulse_domain.errors import LimitsExceeded, NotFound, PulseError, UnknownInstrument
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.model import OrderRequest, Product, Side
from pulse_domain.orders.plan import check_feasible
from pulse_domain.orders.status import OrderState
from pulse_domain.splitting import PaceLimits
from pulse_domain.strategy import OrderUpdate, Strategy

_ZERO = Decimal(0)
_KEY_MAX = 128
# Orders that are done and can still be asked for.
_DONE_MAX = 50
_KEY_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-")


class SeatFailed(Exception):
    """The strategy raised, or whoever runs it is gone; the text says what, in one line."""


class Seat:
    """answer: takes what the strategy asks for, at once."""

    def __init__(self, answer: Callable[[Answer], None]) -> None:
        self._answer = answer
        self._strategy: Strategy | None = None
        self._name, self._version = "", 0
        self._hears_candles = self._hears_ticks = self._hears_updates = False
        self._at = datetime.min.replace(tzinfo=UTC)
        self._event = ""
        self._asked_at: datetime | None = None
        self._asked: dict[str, int] = {}
        self._orders: dict[str, KnownOrder] = {}
        self._candles: dict[str, datetime] = {}
        self._marks: dict[Instrument, Decimal] = {}
        self._terms: dict[Instrument, InstrumentTerms] = {}
        self._money = Money(settled=_ZERO)

    def take(self, message: Message) -> None:
        """Work on a message.

        Raises:
            SeatFailed: the strategy raised; it is not to be called again.
        """
        try:
            self._take(message)
        except SeatFailed:
            raise
        except BaseException as error:
            # Whatever it is, SystemExit too, it is the strategy's own and ends nothing but the strategy.
            raise SeatFailed(self._said(message, error)) from error

    def _take(self, message: Message) -> None:
        match message:
            case Make():
                self._make(message)
            case Begin():
                self._begin(message)
            case Candles(closed=closed):
                for each in closed:
                    self._candle(each)
            case Ticks(ticks=ticks):
                for tick in ticks:
                    self._enter(tick.at, f"t.{tick.instrument}")
                    self._marks[tick.instrument] = tick.price
                    self._playing.on_tick(tick)
            case Told():
                self._told(message)
            case Prepared(terms=terms, money=money):
                if terms is not None:
                    self._terms = dict(terms)
                self._take_money(money)
            case Remember():
                self._answer(Remembered(at=self._at, memory=self._memory()))

    @property
    def is_cpu_bound(self) -> bool:
        """Whether the strategy says that it computes for long."""
        return self._playing.cpu_bound

    @property
    def _playing(self) -> Strategy:
        assert self._strategy is not None, "it is made first"
        return self._strategy

    def _make(self, message: Make) -> None:
        self._name, self._version = message.name, message.version
        strategy = make_kind(message.kind, message.instruments, message.parameters)
        self._strategy = strategy
        self._hears_candles = _overrides(strategy, "on_candle")
        self._hears_ticks = _overrides(strategy, "on_tick")
        self._hears_updates = _overrides(strategy, "on_order_update")
        self._answer(
            Made(
                candle_minutes=strategy.candle_minutes or 1,
                hears_candles=self._hears_candles,
                hears_ticks=self._hears_ticks,
                past_candles=strategy.past_candles,
            )
        )

    def _begin(self, message: Begin) -> None:
        self._terms, self._money = dict(message.terms), message.money
        self._orders = {known.update.order_unique_key: known for known in message.orders}
        strategy, memory = self._playing, message.memory
        strategy.desk = _Desk(self)
        self._enter(message.at, "s")
        if memory is None:
            strategy.on_start()
            for each in message.past:
                if each.candle is not None:
                    self._enter(_end(each), "p")
                    self._marks[each.instrument] = each.candle.close
                    self._candles[str(each.instrument)] = each.start
                    strategy.on_past_candle(each.candle)
            return
        self._asked_at, self._asked = memory.asked_at, dict(memory.asked)
        self._candles = dict(memory.candles)
        strategy.restore(memory.strategy)

    def _candle(self, closed: ClosedCandle) -> None:
        if closed.candle is None:
            return
        self._enter(_end(closed), f"c{closed.minutes}.{closed.instrument}")
        self._marks[closed.instrument] = closed.candle.close
        self._candles[str(closed.instrument)] = closed.start
        if self._hears_candles:
            self._playing.on_candle(closed.candle)

    def _told(self, message: Told) -> None:
        update = message.update
        key = update.order_unique_key
        known = self._orders.get(key)
        self._take_money(message.money)
        if known is None:
            return  # of a life before this one
        self._orders[key] = replace(known, update=update, seq=max(known.seq, message.seq))
        self._forget_done()
        if self._hears_updates:
            self._enter(update.at, "u")
            self._playing.on_order_update(update)

    def _take_money(self, money: Money | None) -> None:
        if money is not None and money.version >= self._money.version:
            self._money = money

    def _forget_done(self) -> None:
        if len(self._orders) > 2 * _DONE_MAX:
            done = [key for key, known in self._orders.items() if known.update.done]
            for key in done[:-_DONE_MAX]:
                del self._orders[key]

    def _memory(self) -> SeatMemory:
        return SeatMemory(
            strategy=dict(self._playing.snapshot()),
            orders=tuple(self._orders.values()),
            candles=dict(self._candles),
            asked_at=self._asked_at,
            asked=dict(self._asked),
        )

    def _enter(self, at: datetime, event: str) -> None:
        self._at, self._event = at, event

    # --- what the strategy does

    def submit(self, request: OrderRequest) -> str:
        request = replace(request, strategy_tag=self._name)
        request.check_shape()
        request = request.normalised()
        terms = self.terms(request.instrument)
        request.check_terms(terms)
        with suppress(LimitsExceeded):  # the gate says that, with the limits that hold there
            check_feasible(request, terms, PaceLimits())
        key = self._next_key()
        assert request.product is not None, "it is normalised"
        update = OrderUpdate(
            order_unique_key=key,
            at=self._at,
            instrument=request.instrument,
            side=request.side,
            state=OrderState.ACCEPTED,
            done=False,
            total_quantity=request.total_quantity,
            filled_quantity=0,
        )
        price = request.limit_price or request.trigger_price or self._marks.get(request.instrument)
        self._orders[key] = KnownOrder(update=update, product=request.product, price=price)
        self._answer(Asked(at=self._at, order_unique_key=key, request=request))
        return key

    def _next_key(self) -> str:
        if self._asked_at != self._at:
            self._asked_at, self._asked = self._at, {}
        count = self._asked[self._event] = self._asked.get(self._event, 0) + 1
        instant = f"{self._at.astimezone(UTC):%Y%m%dT%H%M%S.%f}"
        key = f"{self._name}.{self._version}.{instant}.{self._event}.{count}"
        if len(key) <= _KEY_MAX and _KEY_CHARACTERS.issuperset(key):
            return key
        # Symbols such as M&M are not for keys. The digest keeps apart what the letters that are left do not.
        digest = blake2b(key.encode(), digest_size=8).hexdigest()
        plain = "".join(letter if letter in _KEY_CHARACTERS else "_" for letter in key)
        return f"{plain[: _KEY_MAX - 17]}.{digest}"

    def cancel(self, order_unique_key: str) -> None:
        known = self._known(order_unique_key)
        if not known.update.done:
            self._answer(CancelAsked(order_unique_key=order_unique_key))

    def order(self, order_unique_key: str) -> OrderUpdate:
        return self._known(order_unique_key).update

    def _known(self, key: str) -> KnownOrder:
        known = self._orders.get(key)
        if known is None:
            raise NotFound(f"there is no order {key} of {self._name}")
        return known

    def now(self) -> datetime:
        return self._at

    def terms(self, instrument: Instrument) -> InstrumentTerms:
        terms = self._terms.get(instrument)
        if terms is None:
            raise UnknownInstrument(
                f"{self._name} has no prices of {instrument}", field="instrument", instrument=str(instrument)
            )
        return terms

    def position(self, instrument: Instrument) -> int:
        return sum(held.quantity for held in self._money.held if held.instrument == instrument)

    def cash(self) -> Decimal:
        money = self._money
        return money.settled - sum((held.blocked for held in money.held), _ZERO) - self._tied_up_by_orders()

    def _tied_up_by_orders(self) -> Decimal:
        """What the rests of working orders would cost, but for those that close a position."""
        held = {(each.instrument, each.product): each.quantity for each in self._money.held}
        tied_up = _ZERO
        for known in self._orders.values():
            update = known.update
            if update.done or known.price is None:
                continue
            sign = 1 if update.side is Side.BUY else -1
            closing = max(0, -sign * held.get((update.instrument, known.product), 0))
            opening = max(0, update.total_quantity - update.filled_quantity - closing)
            if known.product is Product.CNC and sign < 0:
                opening = 0  # shares cannot be sold short: nothing is opened
            tied_up += opening * known.price
        return tied_up

    def equity(self) -> Decimal:
        worth = self._money.settled
        for held in self._money.held:
            mark = self._marks.get(held.instrument)
            if mark is not None:
                worth += mark * held.quantity - held.cost
        return worth

    def _said(self, message: Message, error: BaseException) -> str:
        what = error.message if isinstance(error, PulseError) else f"{type(error).__name__}: {error}"
        if isinstance(message, Make):
            return what
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
        return f"at {self._at.isoformat()}: {what} ({where})"


class _Desk:
    """What a strategy sees of its seat."""

    def __init__(self, seat: Seat) -> None:
        self.now = seat.now
        self.submit = seat.submit
        self.cancel = seat.cancel
        self.order = seat.order
        self.position = seat.position
        self.cash = seat.cash
        self.equity = seat.equity
        self.terms = seat.terms


def failed(error: SeatFailed) -> Failed:
    return Failed(text=str(error))


def _end(closed: ClosedCandle) -> datetime:
    return closed.start + timedelta(minutes=closed.minutes)


def _overrides(strategy: Strategy, name: str) -> bool:
    return getattr(type(strategy), name) is not getattr(Strategy, name)

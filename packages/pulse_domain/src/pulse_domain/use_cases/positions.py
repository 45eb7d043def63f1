"""What is held, and what came of it: recomputed from the fills each time it is asked for."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from pulse_domain.charges import ChargesSchedule
from pulse_domain.instruments import Instrument
from pulse_domain.orders.execution import trading_day, trading_day_start
from pulse_domain.orders.ids import ClientId
from pulse_domain.orders.model import Product
from pulse_domain.ports.candle_store import CandleStore
from pulse_domain.ports.order_store import OrderStore
from pulse_domain.ports.price_board import PriceBoard
from pulse_domain.positions import (
    FLAT,
    ZERO,
    Charges,
    LedgerFill,
    PositionKey,
    Standing,
    charges_of_fills,
    fold,
    total,
)
from pulse_domain.risk import PriceFacts, ResultFacts

PRICE_MAX_AGE = timedelta(seconds=60)
# Where the last close before a day is looked for: the longest the exchanges were ever shut, and to spare.
_LOOK_BACK = timedelta(days=10)
_CANDLE_MINUTES = 15
# How long a correction of an earlier day may go unseen.
_LOOK_AGAIN = timedelta(seconds=30)


class Result(Struct, frozen=True, kw_only=True):
    """Rupees; `charges` and `net` after them. Each is None where a part of it is not known."""

    realised: Decimal | None
    unrealised: Decimal | None
    charges: Decimal | None

    @property
    def net(self) -> Decimal | None:
        parts = total((self.realised, self.unrealised))
        return None if parts is None or self.charges is None else parts - self.charges


class PositionView(Struct, frozen=True, kw_only=True):
    """One position and its result since its first fill.

    price: the last one that is shown of the instrument, however old; it counts only where `stale` is false.
    traded_at: the latest fill.
    provisional: a part of it rests on the broker's total, not on trades.
    expired: open in a contract that has expired: what the exchange made of it is not among our fills.
    """

    key: PositionKey
    standing: Standing
    result: Result
    price: PriceFacts | None
    stale: bool
    traded_at: datetime
    provisional: bool
    expired: bool


class DayFigures(Struct, frozen=True, kw_only=True):
    """A trading day's result in rupees; each None where a part of it is not known.

    Contracts that have expired before the day are no part of it: nobody shows a price of them any more.

    realised: of what was closed on the day, against its average cost.
    unrealised: how much the result of open positions has changed on the day.
    net: both, less the day's charges.
    known: what of the net is known, open positions at their last prices, however old. What is not known counts
        as nothing, so that a loss is seen beside it.
    is_open: whether anything is held.
    """

    at: datetime
    realised: Decimal | None
    unrealised: Decimal | None
    charges: Decimal | None
    net: Decimal | None
    known: Decimal
    is_open: bool

    @property
    def facts(self) -> ResultFacts | None:
        """For the risk gate; None where the result is not known."""
        return None if self.net is None else ResultFacts(at=self.at, net=self.net)


class PositionReport(Struct, frozen=True, kw_only=True):
    """positions: those that are open or were traded today, or all; by strategy, instrument and product.
    strategies, overall: everything since the first fill, also of positions that are not listed.
    today: the same strategies together, since the day began."""

    at: datetime
    positions: tuple[PositionView, ...]
    strategies: Mapping[str | None, Result]
    overall: Result
    today: DayFigures


class ReadPositions:
    """prices: None where nobody publishes any; then nothing open has an unrealised result.
    charges: what the broker charges; None where nobody has told.
    candles: where the closes before a day are found, for its result (`DayResult`).
    price_max_age: an older price counts as none."""

    def __init__(
        self,
        store: OrderStore,
        prices: PriceBoard | None,
        charges: ChargesSchedule | None,
        candles: CandleStore | None = None,
        *,
        price_max_age: timedelta = PRICE_MAX_AGE,
    ) -> None:
        self._store = store
        self._prices = prices
        self._books = _Books(store, charges)
        self._candles = candles
        self._price_max_age = price_max_age

    async def __call__(
        self, client_id: ClientId | None = None, *, strategy_tag: str | None = None, closed: bool = False
    ) -> PositionReport:
        """All positions; those of one client, of one strategy.

        closed: list also what was closed on earlier days.

        Raises:
            StorageUnavailable.
        """
        now = await self._store.now()
        whole = await self._books.at(now)
        shown = await _shown(self._prices)
        days = {
            key: day for key, day in whole.of(client_id).items() if strategy_tag in (None, key.strategy_tag)
        }
        views = [self._view(key, days[key], shown.get(key.instrument), now) for key in sorted(days, key=_named)]
        by_tag: dict[str | None, list[Result]] = defaultdict(list)
        for view in views:
            by_tag[view.key.strategy_tag].append(view.result)
        begins = trading_day_start(now)
        return PositionReport(
            at=now,
            positions=tuple(
                [view for view in views if closed or view.standing.quantity or view.traded_at >= begins]
            ),
            strategies={tag: _sum(results) for tag, results in by_tag.items()},
            overall=_sum([view.result for view in views]),
            today=await _day(days, now, shown, self._candles, self._price_max_age),
        )

    async def held(self, strategy_tag: str | None) -> dict[tuple[Instrument, Product], int]:
        """The units that one strategy holds; with None those of orders without a tag. What is flat is left out.

        Raises:
            StorageUnavailable.
        """
        units = await self._books.units(await self._store.now())
        return _held({key: held for key, held in units.items() if key.strategy_tag == strategy_tag})

    async def held_by_all(self, at: datetime | None = None) -> dict[tuple[Instrument, Product], int]:
        """The units that all strategies hold together, what is flat left out.

        at: the present by the caller's clock, which tells the trading day; None asks the store for it.

        Raises:
            StorageUnavailable.
        """
        return _held(await self._books.units(at or await self._store.now()))

    async def carried(self, instrument: Instrument, product: Product) -> tuple[datetime, int]:
        """When the trading day began, and the units that all strategies held together then.

        Raises:
            StorageUnavailable.
        """
        now = await self._store.now()
        begins = trading_day_start(now)
        units = _held(await self._books.units_before(begins, now))
        return begins, units.get((instrument, product), 0)

    def _view(self, key: PositionKey, day: "_Day", price: PriceFacts | None, now: datetime) -> PositionView:
        mark = fresh_price(price, now, self._price_max_age)
        return PositionView(
            key=key,
            standing=day.now.standing,
            result=Result(
                realised=day.now.standing.realised,
                unrealised=day.now.standing.unrealised(mark),
                charges=day.now.charges,
            ),
            price=price,
            stale=price is not None and mark is None,
            traded_at=day.now.traded_at,
            provisional=day.now.provisional,
            expired=bool(day.now.standing.quantity) and key.instrument.has_expired(trading_day(now)),
        )


class DayResult:
    """The result of a trading day over all strategies.

    What was held when the day began counts from the close of the last candle before it, where one is stored in
    `candles`; else from what it cost, so that its whole result counts.
    """

    def __init__(
        self,
        store: OrderStore,
        prices: PriceBoard | None,
        charges: ChargesSchedule | None,
        candles: CandleStore | None = None,
        *,
        price_max_age: timedelta = PRICE_MAX_AGE,
    ) -> None:
        self._books = _Books(store, charges)
        self._prices = prices
        self._candles = candles
        self._price_max_age = price_max_age

    async def __call__(self, at: datetime) -> DayFigures:
        """The result of the trading day that an instant lies in, at the prices of that instant.

        Raises:
            StorageUnavailable.
        """
        whole = await self._books.at(at)
        shown = await _shown(self._prices)
        return await _day(whole.of(None), at, shown, self._candles, self._price_max_age)


class _Book(Struct, frozen=True):
    """A position, and what it was charged so far, and by the fills of its last day."""

    standing: Standing
    charges: Decimal | None
    day_charges: Decimal | None
    traded_at: datetime
    provisional: bool


class _Day(Struct, frozen=True):
    """A position when a day began, where it had been traded before, and as it is now."""

    before: _Book | None
    now: _Book


# None stands for all clients together: what one has bought another may sell.
_Shelf = dict[ClientId | None, dict[PositionKey, _Book]]


class _DayBooks(Struct, frozen=True):
    before: _Shelf
    now: _Shelf

    def of(self, client_id: ClientId | None) -> dict[PositionKey, _Day]:
        before = self.before.get(client_id, {})
        return {key: _Day(before.get(key), book) for key, book in self.now.get(client_id, {}).items()}


class _Books:
    """Positions of a day.

    What was before it hardly ever changes: it is folded once, and again when it has changed, which is looked
    for every `_LOOK_AGAIN`.
    """

    def __init__(self, store: OrderStore, charges: ChargesSchedule | None) -> None:
        self._store = store
        self._charges = charges
        self._known: tuple[datetime, str] | None = None
        self._looked_at: datetime | None = None
        self._before: _Shelf = {}

    async def at(self, at: datetime) -> _DayBooks:
        begins = trading_day_start(at)
        before = await self._before_day(begins, at)
        # The broker's clock may be ahead of ours: what it has told of this day is counted.
        today = await self._store.fills(since=begins, until=begins + timedelta(days=1))
        return _DayBooks(before, _booked(before, today, self._charges))

    async def units(self, at: datetime) -> dict[PositionKey, int]:
        """What is held, without its results: this is asked for every order."""
        begins = trading_day_start(at)
        units = await self.units_before(begins, at)
        for key, more in (await self._store.units_since(begins)).items():
            units[key] = units.get(key, 0) + more
        return units

    async def units_before(self, begins: datetime, at: datetime) -> dict[PositionKey, int]:
        before = await self._before_day(begins, at)
        return {key: book.standing.quantity for key, book in before.get(None, {}).items()}

    async def _before_day(self, begins: datetime, at: datetime) -> _Shelf:
        if (
            self._known is None
            or self._known[0] != begins
            or self._looked_at is None
            or abs(at - self._looked_at) >= _LOOK_AGAIN
        ):
            known = (begins, await self._store.fills_mark(begins))
            if known != self._known:
                # What changes from here on has another mark at the next look.
                self._before = _booked({}, await self._store.fills(until=begins), self._charges)
            self._known, self._looked_at = known, at
        return self._before


def _booked(before: _Shelf, fills: Sequence[LedgerFill], schedule: ChargesSchedule | None) -> _Shelf:
    """The books after the fills of other days. What is charged once a day is charged to one, whoever looks."""
    charged = charges_of_fills(fills, schedule)
    owners: dict[ClientId | None, list[LedgerFill]] = defaultdict(list)
    for fill in fills:
        owners[None].append(fill)
        owners[fill.client_id].append(fill)
    after = {owner: dict(books) for owner, books in before.items()}
    for owner, own in owners.items():
        books = after.setdefault(owner, {})
        groups: dict[PositionKey, list[LedgerFill]] = defaultdict(list)
        for fill in own:
            groups[fill.key].append(fill)
        for key, group in groups.items():
            books[key] = _grown(books.get(key), key, group, charged)
    return after


def _grown(book: _Book | None, key: PositionKey, fills: Sequence[LedgerFill], charged: Charges) -> _Book:
    charges = total([charged[name] for name in {it.charged_with for it in fills}])
    return _Book(
        standing=fold(fills, {} if book is None else {key: book.standing})[key],
        charges=charges if book is None else total([book.charges, charges]),
        day_charges=charges,
        traded_at=max(it.at for it in fills),
        provisional=any(it.provisional for it in fills) or (book is not None and book.provisional),
    )


async def _day(
    days: Mapping[PositionKey, _Day],
    at: datetime,
    shown: Mapping[Instrument, PriceFacts],
    candles: CandleStore | None,
    price_max_age: timedelta,
) -> DayFigures:
    begins = trading_day_start(at)
    held = {key.instrument for key, day in days.items() if day.before and day.before.standing.quantity}
    closes = await _closes(candles, held, begins)
    realised, unrealised, charges = list[Decimal | None](), list[Decimal | None](), list[Decimal | None]()
    last_known = list[Decimal | None]()
    days = {key: day for key, day in days.items() if not key.instrument.has_expired(trading_day(at))}
    for key, day in days.items():
        was, standing = day.before.standing if day.before else FLAT, day.now.standing
        if not standing.quantity and day.before is day.now:
            continue  # flat, and not traded: no part of the day
        mark = fresh_price(shown.get(key.instrument), at, price_max_age)
        realised.append(_less(standing.realised, was.realised))
        opened = _opened(was, closes.get(key.instrument))
        unrealised.append(_less(standing.unrealised(mark), opened))
        last = shown.get(key.instrument)
        last_known.append(_less(standing.unrealised(last.last_price if last else None), opened))
        if day.before is not day.now:
            charges.append(day.now.day_charges)
    result = Result(realised=total(realised), unrealised=total(unrealised), charges=total(charges))
    return DayFigures(
        at=at,
        realised=result.realised,
        unrealised=result.unrealised,
        charges=result.charges,
        net=result.net,
        known=_known(realised) + _known(last_known) - _known(charges),
        is_open=any(day.now.standing.quantity for day in days.values()),
    )


def _known(amounts: Iterable[Decimal | None]) -> Decimal:
    return sum([amount for amount in amounts if amount is not None], ZERO)


async def _closes(
    candles: CandleStore | None, held: Iterable[Instrument], begins: datetime
) -> dict[Instrument, Decimal]:
    """The last prices before a day, of what was held when it began."""
    closes: dict[Instrument, Decimal] = {}
    if candles is None:
        return closes
    for instrument in held:
        async for run in candles.candles(instrument, _CANDLE_MINUTES, begins - _LOOK_BACK, begins):
            closes[instrument] = run[-1].close
    return closes


async def _shown(prices: PriceBoard | None) -> Mapping[Instrument, PriceFacts]:
    return {} if prices is None else await prices.prices()


def fresh_price(price: PriceFacts | None, now: datetime, max_age: timedelta) -> Decimal | None:
    """The last price, where it is no older than allowed; clocks may differ by as much the other way."""
    return price.last_price if price is not None and abs(now - price.at) <= max_age else None


def _opened(standing: Standing, close: Decimal | None) -> Decimal | None:
    """What the result of an open position was when the day began; 0 where it counts from its cost."""
    return ZERO if close is None and standing.cost is not None else standing.unrealised(close)


def _less(amount: Decimal | None, before: Decimal | None) -> Decimal | None:
    return None if amount is None or before is None else amount - before


def _named(key: PositionKey) -> tuple[str, str, str]:
    return key.strategy_tag or "", str(key.instrument), key.product


def _sum(results: Sequence[Result]) -> Result:
    return Result(
        realised=total([it.realised for it in results]),
        unrealised=total([it.unrealised for it in results]),
        charges=total([it.charges for it in results]),
    )


def _held(units: Mapping[PositionKey, int]) -> dict[tuple[Instrument, Product], int]:
    held: dict[tuple[Instrument, Product], int] = defaultdict(int)
    for key, quantity in units.items():
        held[key.instrument, key.product] += quantity
    return {place: quantity for place, quantity in held.items() if quantity}

"""Every rupee of the virtual broker's account is somewhere, and where a backtest of the same orders has it."""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_background.market.quotes import FeedQuotes
from pulse_domain.account import Account, AccountSettings
from pulse_domain.backtest import BacktestSettings, TickSeries, TimedOrder, run_backtest
from pulse_domain.candles import ClosedCandle
from pulse_domain.charges import ZERODHA
from pulse_domain.errors import BrokerRejected
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.orders.events import ExecutionRejected
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Side, Validity
from pulse_domain.ports.broker import BrokerOrderStatus
from pulse_domain.testing.fake_clock import FakeClock, settle
from tests.unit.virtual.fixed_market import FixedMarket
from tests.unit.virtual.tickets import INFY, TIMEOUT_S, ticket

START = datetime.fromisoformat("2026-01-05T10:00:00+05:30")
MINUTE = timedelta(minutes=1)
SETTINGS = AccountSettings(charges=ZERODHA)
CAPITAL = Decimal(5000)

prices = st.integers(1200, 2800).map(lambda ticks: ticks * Decimal("0.05"))


@st.composite
def terms(draw: st.DrawFn, kinds: tuple[OrderType, ...] = tuple(OrderType)) -> dict[str, Any]:
    order_type = draw(st.sampled_from(kinds))
    # What waits for a trigger and then ends at once is the matching's own matter.
    validities = [Validity.DAY] if order_type.has_trigger else list(Validity)
    return {
        "side": draw(st.sampled_from(Side)),
        "order_type": order_type,
        "limit_price": draw(prices) if order_type.has_limit else None,
        "trigger_price": draw(prices) if order_type.has_trigger else None,
        "validity": draw(st.sampled_from(validities)),
        "quantity": draw(st.integers(1, 40)),
    }


def usable(asked: dict[str, Any]) -> bool:
    # A market purchase blocks at the last price known, which a backtest knows a tick later.
    return not (asked["order_type"] is OrderType.MARKET and asked["side"] is Side.BUY)


def same(price: Decimal, at: datetime) -> Tick:
    return Tick(INFY, at, price, price, price)


class Paper:
    """The virtual exchange as `pulse up` has it: quotes are the latest tick, and every tick is met."""

    def __init__(self) -> None:
        self.clock = FakeClock(START, auto=True)
        self.latest: dict[Instrument, Tick] = {}
        self.account = Account(SETTINGS)
        self.account.open(CAPITAL)
        self.exchange = VirtualExchange(
            FeedQuotes(self.latest, FixedMarket(self.clock), self.clock),
            self.clock,
            Random(1),
            latency_ms=(0, 0),
            account=self.account,
        )

    async def place(self, asked: dict[str, Any], **more: Any) -> BrokerOrderId:
        return await self.exchange.place(ticket(**asked, **more), timeout_s=TIMEOUT_S)

    async def rows(self) -> dict[BrokerOrderId, Any]:
        return {row.broker_order_id: row for row in (await self.exchange.order_book()).orders}

    async def check(self) -> None:
        """Book and account tell the same, and all money is somewhere."""
        self.account.check()
        account, funds = self.account, self.account.funds
        rows = await self.rows()
        known = {entry.order.order_id: entry for entry in account.snapshot().orders}
        for order_id, row in rows.items():
            if row.status is BrokerOrderStatus.REJECTED:
                assert order_id not in known
                continue
            assert known[order_id].filled == row.filled_quantity == sum(fill.quantity for fill in row.fills)
            ended = (BrokerOrderStatus.COMPLETE, BrokerOrderStatus.CANCELLED)
            assert known[order_id].working is (row.status not in ended)
            assert known[order_id].order.quantity == row.quantity
        signed = sum(
            (fill.price * fill.quantity * (1 if row.side is Side.BUY else -1))
            for row in rows.values()
            for fill in row.fills
        )
        costs = sum((position.cost for position in account.positions()), Decimal(0))
        assert funds.cash + funds.blocked == CAPITAL + funds.realised - funds.charges
        assert funds.realised == costs - signed


@given(st.lists(st.tuples(prices, st.none() | terms().filter(usable)), min_size=1, max_size=25), prices)
def test_orders_cost_and_end_as_in_a_backtest_of_the_same_ticks(course: list[Any], last: Decimal) -> None:
    times = [START + timedelta(seconds=number) for number in range(len(course) + 1)]
    ticks = [same(price, at) for (price, _), at in zip(course, times, strict=False)] + [same(last, times[-1])]
    timed = [
        TimedOrder(
            request=OrderRequest(
                instrument=INFY, product=Product.CNC, total_quantity=asked["quantity"],
                **{name: value for name, value in asked.items() if name != "quantity"},
            ),
            at=at, order_unique_key=f"k{number}",
        )
        for number, ((_, asked), at) in enumerate(zip(course, times, strict=False))
        if asked is not None
    ]  # fmt: skip
    result = run_backtest(
        timed,
        TickSeries.from_ticks(ticks),
        settings=BacktestSettings(capital=CAPITAL, account=SETTINGS),
    )
    theirs: dict[str, list[tuple[int, Decimal]]] = {order.order_unique_key: [] for order in result.orders}
    for fill in result.fills:
        theirs[fill.order_unique_key].append((fill.quantity, fill.price))
    refused = {
        order.order_unique_key: entry.event.reason_code
        for order in result.orders
        for entry in order.journal
        if isinstance(entry.event, ExecutionRejected)
    }

    async def trade() -> None:
        paper, names = Paper(), {}
        for number, tick in enumerate(ticks):
            paper.latest[INFY] = tick
            if number < len(course) and (asked := course[number][1]) is not None:
                names[await paper.place(asked)] = f"k{number}"
            paper.exchange.on_ticks([tick])
        await paper.check()
        rows = await paper.rows()
        ours = {names[i]: [(fill.quantity, fill.price) for fill in row.fills] for i, row in rows.items()}
        assert ours == theirs
        ended = {
            names[i]: row.reason_code for i, row in rows.items() if row.status is BrokerOrderStatus.REJECTED
        }
        assert ended == refused
        for order_id, row in rows.items():
            if row.status in (BrokerOrderStatus.OPEN, BrokerOrderStatus.TRIGGER_PENDING):
                await paper.exchange.cancel(order_id, timeout_s=TIMEOUT_S)
        await settle()  # a day's orders have ended with it
        mine, its = paper.account.funds, result.funds
        # Which of two fills at one tick comes first may differ, and with it what was earned and what is held.
        assert (mine.cash, mine.charges, mine.bought, mine.sold) == (
            its.cash,
            its.charges,
            its.bought,
            its.sold,
        )
        assert mine.blocked_for_orders == its.blocked_for_orders == 0
        assert paper.account.position(INFY, Product.CNC).quantity == sum(
            each.quantity for each in result.positions
        )
        await paper.exchange.close()

    asyncio.run(trade())


steps = st.lists(
    st.one_of(
        st.tuples(st.just("place"), terms(), st.sampled_from([Product.CNC, Product.MIS])),
        st.tuples(st.just("place"), terms(), st.sampled_from([Product.CNC, Product.MIS])),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("modify"), st.integers(0, 9), st.integers(0, 80), st.none() | prices),
        st.tuples(st.just("tick"), prices),
        st.tuples(st.just("candle"), st.lists(prices, min_size=4, max_size=4)),
        st.tuples(st.just("poll")),
        st.tuples(st.just("wait"), st.integers(1, 90)),
    ),
    min_size=8,
    max_size=30,
)


@given(prices, steps)
def test_whatever_happens_no_money_appears_or_is_lost(first: Decimal, happening: list[Any]) -> None:
    async def live() -> None:
        paper, placed = Paper(), []
        paper.latest[INFY] = same(first, START)
        for what, *how in happening:
            now = paper.clock.now()
            try:
                match what:
                    case "place":
                        placed.append(await paper.place(how[0], product=how[1]))
                    case "cancel" if placed:
                        await paper.exchange.cancel(placed[how[0] % len(placed)], timeout_s=TIMEOUT_S)
                    case "modify" if placed:
                        await paper.exchange.modify(
                            placed[how[0] % len(placed)],
                            quantity=how[1],
                            limit_price=how[2],
                            timeout_s=TIMEOUT_S,
                        )
                    case "tick":
                        paper.latest[INFY] = same(how[0], now)
                        paper.exchange.on_ticks([paper.latest[INFY]])
                    case "candle":
                        start = now.replace(second=0, microsecond=0) - MINUTE
                        opened, close = how[0][0], how[0][3]
                        candle = Candle(INFY, start, opened, max(how[0]), min(how[0]), close)
                        paper.exchange.on_candles([ClosedCandle(INFY, 1, start, candle)])
                    case "poll":
                        await paper.exchange.match_resting()
                    case "wait":
                        await paper.clock.sleep(how[0])
                    case _:
                        pass
            except BrokerRejected:
                pass
            await settle()
            await paper.check()
        await paper.exchange.close()

    asyncio.run(live())

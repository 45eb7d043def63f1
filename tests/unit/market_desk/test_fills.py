"""Orders at the exchange of the desk's own process meet its prices, without a poll."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from pulse_domain.candles import ClosedCandle
from pulse_domain.instruments import InstrumentTerms
from pulse_domain.matching import Candle
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from pulse_domain.ports.broker import BrokerOrder, BrokerOrderStatus, OrderTicket
from tests.unit.market_desk.desk_world import OPEN, TCS, DeskWorld, Stores, until


async def rest(world: DeskWorld, price: int = 90) -> BrokerOrderId:
    return await world.exchange.place(
        OrderTicket(
            tag="T1", instrument=TCS, side=Side.BUY, quantity=10, order_type=OrderType.LIMIT,
            product=Product.CNC, validity=Validity.DAY, limit_price=Decimal(price), trigger_price=None,
            terms=InstrumentTerms(),
        ),
        timeout_s=10,
    )  # fmt: skip


async def the_row(world: DeskWorld) -> BrokerOrder:
    [row] = (await world.exchange.order_book()).orders
    return row


@pytest.mark.parametrize("recorded", [True, False], ids=["a recording", "prices of now"])
async def test_every_tick_is_met_though_a_later_one_has_come(stores: Stores, recorded: bool) -> None:
    async with DeskWorld(stores, recorded=recorded, instruments=(TCS,)).running() as world:
        await world.until_fed()
        at = OPEN if recorded else datetime.now(UTC)
        world.tick_at(at, 100)
        await until(lambda: TCS in world.latest)
        await rest(world)
        world.feed.give(
            *[world.tick_of(at + timedelta(seconds=n), price) for n, price in enumerate((99, 88, 99))]
        )
        await until(lambda: world.latest[TCS].at == at + timedelta(seconds=2))
        row = await the_row(world)

    assert [str(fill.price) for fill in row.fills] == ["88"]


async def test_a_hole_is_met_by_the_candle_that_fills_it(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=False, instruments=(TCS,)).running() as world:
        await world.until_fed()
        world.tick_at(datetime.now(UTC), 100)
        await rest(world)
        minute = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        candle = Candle(TCS, minute, Decimal(100), Decimal(101), Decimal(89), Decimal(100), 50)
        world.feed.backfill(ClosedCandle(TCS, 1, minute, candle))
        row = await the_row(world)

    assert (row.status, row.average_price) == (BrokerOrderStatus.COMPLETE, Decimal(90))

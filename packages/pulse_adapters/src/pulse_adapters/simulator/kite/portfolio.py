"""Positions, holdings, money: the account in the API's words.

The simulator keeps one purse: the equity and the commodity segment show the same money.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any

from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.kite.wire import (
    AuctionRow,
    Available,
    CompactHolding,
    HoldingRow,
    HoldingsSummary,
    Margins,
    PositionRow,
    Positions,
    Utilised,
    number,
    stamp,
)
from pulse_adapters.simulator.money import Held, Tally
from pulse_adapters.simulator.values import ZERO
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Product
from pulse_domain.units import INDIA


class Portfolio:
    """What the user has."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def positions(self) -> Positions:
        net, day = [], []
        for (instrument, label), tally in self._desk.venue.money.tallies.items():
            market = await self._desk.prices.look(instrument)
            last = ZERO if market is None else market.last_price
            close = ZERO if market is None else market.close
            net.append(self._row(instrument, label, tally, last, close))
            if tally.buy_quantity or tally.sell_quantity:
                today = Tally(
                    product=tally.product, buy_quantity=tally.buy_quantity, buy_value=tally.buy_value,
                    sell_quantity=tally.sell_quantity, sell_value=tally.sell_value,
                )  # fmt: skip
                day.append(self._row(instrument, label, today, last, close))
        return Positions(net, day)

    def _row(
        self, instrument: Instrument, label: str, tally: Tally, last: Decimal, close: Decimal
    ) -> PositionRow:
        multiplier = self._desk.catalog.contracts.multiplier(instrument)
        carried = tally.overnight_quantity
        carried_value = abs(carried) * tally.overnight_price
        bought = tally.buy_quantity + max(carried, 0)
        sold = tally.sell_quantity + max(-carried, 0)
        buy_value = tally.buy_value + (carried_value if carried > 0 else ZERO)
        sell_value = tally.sell_value + (carried_value if carried < 0 else ZERO)
        quantity = tally.quantity
        # What was carried is marked at the day's close before.
        buy_m2m = tally.buy_value + max(carried, 0) * close
        sell_m2m = tally.sell_value + max(-carried, 0) * close
        value = (sell_value - buy_value) * multiplier
        pnl = value + quantity * last * multiplier
        average = ZERO
        if quantity:
            average = buy_value / bought if quantity > 0 else sell_value / sold
        return PositionRow(
            tradingsymbol=instrument.symbol, exchange=instrument.exchange,
            instrument_token=self._desk.catalog.token(instrument), product=label, quantity=quantity,
            overnight_quantity=carried, multiplier=multiplier, average_price=number(average),
            close_price=number(close) if carried else 0, last_price=number(last), value=number(value),
            pnl=number(pnl), m2m=number((sell_m2m - buy_m2m + quantity * last) * multiplier),
            unrealised=number(pnl), realised=0,
            buy_quantity=bought, buy_price=_share(buy_value, bought), buy_value=number(buy_value * multiplier),
            buy_m2m=number(buy_m2m * multiplier),
            sell_quantity=sold, sell_price=_share(sell_value, sold),
            sell_value=number(sell_value * multiplier), sell_m2m=number(sell_m2m * multiplier),
            day_buy_quantity=tally.buy_quantity, day_buy_price=_share(tally.buy_value, tally.buy_quantity),
            day_buy_value=number(tally.buy_value * multiplier),
            day_sell_quantity=tally.sell_quantity,
            day_sell_price=_share(tally.sell_value, tally.sell_quantity),
            day_sell_value=number(tally.sell_value * multiplier),
        )  # fmt: skip

    async def holdings(self) -> list[HoldingRow]:
        rows = []
        for instrument, held in self._desk.venue.money.held.items():
            fields = await self._holding(instrument, held)
            rows.append(HoldingRow(**fields, used_quantity=self._used(instrument, held)))
        return rows

    async def auctions(self) -> list[AuctionRow]:
        """What is held can be sold in an auction, each instrument under a number of its own."""
        held = self._desk.venue.money.held.items()
        return [
            AuctionRow(**await self._holding(instrument, holding), auction_number=str(number_))
            for number_, (instrument, holding) in enumerate(held, start=1)
        ]

    def compact(self) -> list[CompactHolding]:
        return [
            CompactHolding(
                instrument.exchange,
                instrument.symbol,
                self._desk.catalog.token(instrument),
                held.t1_quantity,
                held.quantity - held.t1_quantity,
            )
            for instrument, held in self._desk.venue.money.held.items()
        ]

    async def summary(self) -> HoldingsSummary:
        invested = current = before = ZERO
        for instrument, held in self._desk.venue.money.held.items():
            market = await self._desk.prices.look(instrument)
            last = held.average_price if market is None else market.last_price
            close = last if market is None else market.close
            invested += held.average_price * held.quantity
            current += last * held.quantity
            before += close * held.quantity
        return HoldingsSummary(
            number(current - invested), _percent(current - invested, invested),
            number(current - before), _percent(current - before, before),
            number(invested), number(current),
        )  # fmt: skip

    def margins(self) -> Margins:
        money = self._desk.venue.money
        funds, opening = money.funds, money.opening_balance
        return Margins(
            net=number(funds.cash),
            available=Available(
                cash=number(opening), opening_balance=number(opening), live_balance=number(funds.cash)
            ),
            utilised=Utilised(
                debits=number(opening - funds.cash),
                exposure=number(funds.blocked),
                m2m_realised=number(funds.realised),
            ),
        )

    def _used(self, instrument: Instrument, held: Held) -> int:
        """Shares of the opening holding that have been sold today."""
        now_held = self._desk.venue.money.position(instrument, Product.CNC).quantity
        return max(0, held.quantity - now_held)

    async def _holding(self, instrument: Instrument, held: Held) -> dict[str, Any]:
        market = await self._desk.prices.look(instrument)
        last = held.average_price if market is None else market.last_price
        close = last if market is None else market.close
        left = held.quantity - held.t1_quantity
        today = self._desk.clock.now().astimezone(INDIA)
        return {
            "tradingsymbol": instrument.symbol,
            "exchange": instrument.exchange,
            "instrument_token": self._desk.catalog.token(instrument),
            "isin": _isin(self._desk.catalog.token(instrument)),
            "quantity": left,
            "t1_quantity": held.t1_quantity,
            "realised_quantity": left,
            "authorised_date": stamp(datetime(today.year, today.month, today.day, tzinfo=INDIA)),
            "opening_quantity": held.quantity,
            "average_price": number(held.average_price),
            "last_price": number(last),
            "close_price": number(close),
            "pnl": number((last - held.average_price) * held.quantity),
            "day_change": number(last - close),
            "day_change_percentage": _percent(last - close, close),
        }


def _isin(token: int) -> str:
    """Made up, of the right shape."""
    return f"INE{token % 1_000_000_000:09d}"


def _share(value: Decimal, quantity: int) -> int | float:
    return number(value / quantity) if quantity else 0


def _percent(part: Decimal, whole: Decimal) -> int | float:
    return number(part * 100 / whole) if whole else 0

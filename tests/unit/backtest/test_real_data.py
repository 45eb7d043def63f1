"""Backtests over the real files, where they are present: all quantities conserved, all money to the paisa."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from pulse_domain.account import AccountSettings, Margin
from pulse_domain.backtest import (
    BacktestSettings,
    CandleSeries,
    Strategy,
    TickSeries,
    TimedOrder,
    run_backtest,
)
from pulse_domain.backtest.files import read_candles, read_ticks
from pulse_domain.charges import ZERODHA, Segment
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import CandlePath, FixedTicks, MatchingSettings
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Side, SplitConfig, Validity
from pulse_domain.splitting import VolumeCurve, Vwap
from pulse_domain.units import to_time

DATA = Path(__file__).parents[4] / "shared/data"
TICK = Decimal("0.05")
NIFTY = "NFO:NIFTY24SEPFUT"
FILES = {
    "TCS_1min_2024-01_2024-02.csv.gz": "NSE:TCS",
    "NFO-35000_NIFTY-FUT_1min_2024-06_2024-08.csv.gz": NIFTY,
    "NIFTY50-INDEX_1min_2024-01_2024-04.csv.gz": "NSE:NIFTY50",
    "NIFTYBANK-INDEX_1min_2024-01_2024-04.csv.gz": "NSE:NIFTYBANK",
    "RELIANCE_1min_2016-08_2016-09.csv.gz": "NSE:RELIANCE",
    "INFY_1min_2016-08_2016-09.csv.gz": "NSE:INFY",
    "HDFCBANK_1min_2016-08_2016-09.csv.gz": "NSE:HDFCBANK",
    "RELIANCE_5min_2019-11_2020-11.csv.gz": "NSE:RELIANCE",
}
TICKS = [f"NIFTY50-INDEX_1s_2022-11-{day}.csv.gz" for day in ("09", "10", "11", "14", "28")]
FUTURES = "NFO-FUT_MCX-RELIND-TCS-TRENT_ticks_2025-11-17.csv.gz"


class Anything(Strategy):
    """Sends every kind of order, and cancels some."""

    def __init__(self, instrument: Instrument, lot: int, seed: int) -> None:
        self.instrument, self.lot, self.chance = instrument, lot, Random(seed)
        self.sent: list[str] = []

    def on_candle(self, candle):
        self.act(candle.close)

    def on_tick(self, tick):
        self.act(tick.price)

    def act(self, price: Decimal) -> None:
        chance = self.chance
        if chance.random() > 0.05:
            return
        near = (price / TICK).to_integral_value() * TICK
        away = chance.randrange(-20, 21) * TICK
        kind = chance.choice(list(OrderType))
        validity = chance.choice(list(Validity))
        fields: dict[str, Any] = {"order_type": kind, "validity": validity}
        if kind.has_limit:
            fields["limit_price"] = near + away
        if kind.has_trigger:
            fields["trigger_price"] = near - away
        elif chance.random() < 0.5:
            fields["split_config"] = SplitConfig(num_splits=chance.randrange(2, 9), duration_minutes=20)
        product = Product.MIS if self.instrument.exchange.is_cash else Product.NRML
        trade = self.buy if chance.random() < 0.5 else self.sell
        quantity = self.lot * chance.randrange(10, 100)
        self.sent.append(trade(self.instrument, quantity, product=product, **fields))
        if chance.random() < 0.2:
            self.cancel(chance.choice(self.sent))


def present(folder: str, name: str) -> Path:
    path = DATA / folder / name
    if not path.exists():
        pytest.skip(f"the real data is not there: {folder}/{name}")
    return path


# The oldest table of charges, as if it had always been in force: what is proved is that they add up.
ALWAYS = replace(ZERODHA, tables=(replace(ZERODHA.tables[0], effective_from=date(2000, 1, 1)),))


def settings(**matching) -> BacktestSettings:
    margins = {
        (product, segment): Margin(long=Decimal("0.2"), short=Decimal("0.2"))
        for product, segment in ((Product.MIS, Segment.INTRADAY), (Product.NRML, Segment.FUTURES))
    }
    return BacktestSettings(
        account=AccountSettings(margins=margins, charges=ALWAYS),
        matching=MatchingSettings(**matching),
        terms={Instrument.parse(NIFTY): InstrumentTerms(lot_size=25, freeze_quantity=1800)},
    )


def settled(result) -> None:
    result.check()
    assert result.fills
    assert all(order.summary.done and order.summary.quantities.balanced for order in result.orders)
    shown = sum(fill.quantity for fill in result.fills)
    assert shown == sum(order.summary.quantities.filled for order in result.orders)
    bought = sum(f.price * f.quantity for f in result.fills if f.side is Side.BUY)
    sold = sum(f.price * f.quantity for f in result.fills if f.side is Side.SELL)
    funds = result.funds
    assert (funds.bought, funds.sold) == (bought, sold)
    cost = sum(position.cost for position in result.positions)
    assert funds.realised == sold - bought + cost
    assert funds.cash + funds.blocked == funds.capital + funds.realised - funds.charges


@pytest.mark.parametrize("name", FILES)
def test_strategies_over_candles_add_up(name: str) -> None:
    series = read_candles(present("nse-1min", name), Instrument.parse(FILES[name]))
    lot = 25 if FILES[name] == NIFTY else 1
    for matching in (
        {},
        {"candle_path": CandlePath.NEAREST_EXTREME_FIRST, "slippage": FixedTicks(1)},
        {"participation": Decimal("0.1"), "fill_without_volume": True},
    ):
        settled(run_backtest(Anything(series.instrument, lot, 7), series, settings=settings(**matching)))


@pytest.mark.parametrize("name", FILES)
def test_schedules_over_candles_add_up(name: str) -> None:
    series = read_candles(present("nse-1min", name), Instrument.parse(FILES[name]))
    lot = 25 if FILES[name] == NIFTY else 1
    volumes = sum(series.volume) > 0
    orders = [
        TimedOrder(
            request=OrderRequest(
                instrument=series.instrument,
                side=Side.BUY if n % 2 else Side.SELL,
                total_quantity=2000 * lot,
                product=Product.MIS if series.instrument.exchange.is_cash else Product.NRML,
                split_config=None
                if volumes and n % 3 == 0
                else SplitConfig(num_splits=12, duration_minutes=60),
            ),
            at=to_time(start_us),
            schedule=Vwap(10, VolumeCurve.from_candles(series)) if volumes and n % 3 == 0 else None,
            ends_at=to_time(start_us + 3_600_000_000) if volumes and n % 3 == 0 else None,
        )
        for n, start_us in enumerate(series.start_us[10::300])
    ]

    settled(run_backtest(orders, series, settings=settings()))


@pytest.mark.parametrize("name", TICKS)
def test_strategies_over_index_ticks_add_up(name: str) -> None:
    series = read_ticks(present("nse-ticks", name), Instrument.parse("NSE:NIFTY50"))

    settled(run_backtest(Anything(series.instrument, 1, 3), series, settings=settings()))


def test_several_futures_on_ticks_out_of_order_add_up() -> None:
    path = present("nse-ticks", FUTURES)
    series: list[CandleSeries | TickSeries] = [
        read_ticks(path, Instrument.parse(f"NFO:{name}25NOVFUT"), symbol=name)
        for name in ("MCX", "RELIND", "TCS", "TRENT")
    ]
    wanted = series[1].instrument

    settled(run_backtest(Anything(wanted, 25, 5), series, settings=settings(participation=Decimal("0.5"))))

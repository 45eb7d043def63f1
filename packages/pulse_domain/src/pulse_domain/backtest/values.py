"""What a backtest is given and what it tells. Times aware, prices and money in rupees, quantities in units."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from decimal import Decimal

from msgspec import Struct, field
from msgspec.structs import replace

from pulse_domain.account import AccountSettings, Holding
from pulse_domain.errors import InvalidPrice, InvalidSettings
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import MatchingSettings
from pulse_domain.orders.model import OrderRequest, Side
from pulse_domain.splitting import Schedule
from pulse_domain.units import to_units


class TimedOrder(Struct, frozen=True, kw_only=True):
    """An order to execute.

    at: when it arrives; by default the request's `start_at`.
    schedule: how it is spread from `at` to `ends_at`, in place of the request's `split_config`; with
        `sessions` only over open time, as `splitting.Window` has it.
    randomize: whether the schedule varies what it leaves to chance.
    order_unique_key: by default its place in the list, `order-1` the first.
    """

    request: OrderRequest
    at: datetime | None = None
    schedule: Schedule | None = None
    ends_at: datetime | None = None
    sessions: Sequence[tuple[datetime, datetime]] | None = None
    randomize: bool = False
    order_unique_key: str | None = None


class BacktestSettings(Struct, frozen=True, kw_only=True):
    """How a backtest trades; every default is free of charge, slippage and limits of volume.

    terms: lot, tick and freeze quantity by instrument; those not named have `default_terms`.
    square_off_at: Indian time at which MIS orders are cancelled and MIS positions closed at the market.
        From then on MIS orders that would open a position are refused. None leaves them alone.
    """

    capital: Decimal = Decimal(10_000_000)
    holdings: tuple[Holding, ...] = ()
    matching: MatchingSettings = MatchingSettings()
    account: AccountSettings = field(default_factory=AccountSettings)
    terms: Mapping[Instrument, InstrumentTerms] = field(default_factory=dict)
    default_terms: InstrumentTerms = InstrumentTerms()
    square_off_at: time | None = None


def matching_of(settings: BacktestSettings, instruments: Iterable[Instrument]) -> MatchingSettings:
    """The matching, with the lots and ticks of the terms where it does not name others itself."""
    matching, terms = settings.matching, settings.terms
    lots = {it: terms.get(it, settings.default_terms).lot_size for it in instruments}
    ticks = {it: terms[it].tick_size for it in instruments if it in terms}
    return replace(matching, lot_sizes=lots | matching.lot_sizes, tick_sizes=ticks | matching.tick_sizes)


class BacktestFill(Struct, frozen=True, kw_only=True):
    """A trade. `seq` and `chunk` say which slice, and which execution of it, was filled."""

    trade_id: str
    at: datetime
    order_unique_key: str
    instrument: Instrument
    side: Side
    quantity: int
    price: Decimal
    seq: int
    chunk: int


class ExecutionQuality(Struct, frozen=True, kw_only=True):
    """How well an order was executed; None where it cannot be known.

    arrival_price: the last price known when the order arrived.
    interval_vwap, interval_twap: of the market from the order's arrival to its last slice or fill, whichever
        is later. A candle counts with the mean of its high, low and close, a tick with its price; VWAP weighs
        them with volume, TWAP with nothing.
    slippage_vs_*_bps: of the average price, in 1/10,000; positive is a cost.
    participation: the part of the interval's volume that the order was.
    lateness_mean, lateness_max: from a slice's instant to the exchange's time of its fills, by quantity.
    """

    total_quantity: int
    filled_quantity: int
    average_price: Decimal | None = None
    arrival_price: Decimal | None = None
    interval_vwap: Decimal | None = None
    interval_twap: Decimal | None = None
    slippage_vs_arrival_bps: Decimal | None = None
    slippage_vs_vwap_bps: Decimal | None = None
    slippage_vs_twap_bps: Decimal | None = None
    participation: Decimal | None = None
    lateness_mean: timedelta | None = None
    lateness_max: timedelta | None = None


class EquityPoint(Struct, frozen=True):
    """drawdown: how far below the highest equity so far, as a fraction of it: 0 or below."""

    at: datetime
    equity: Decimal
    drawdown: Decimal


class Statistics(Struct, frozen=True, kw_only=True):
    """The run in figures; None where there is too little to tell.

    total_return, max_drawdown, win_rate: fractions; a drawdown is 0 or below.
    max_drawdown_from, max_drawdown_to: its peak and its bottom.
    volatility, sharpe, sortino: from the returns of days, a year being 252 of them, without a risk-free rate
        (Sharpe 1994, Sortino and Price 1994).
    trades: fills that closed a position or a part of one; wins and losses are those among them, before
        charges, and `profit_factor` is what the wins earned over what the losses lost.
    turnover: the value of all fills.
    """

    first_at: datetime
    last_at: datetime
    days: int
    starting_equity: Decimal
    final_equity: Decimal
    realised: Decimal
    unrealised: Decimal
    charges: Decimal
    turnover: Decimal
    total_return: Decimal | None
    max_drawdown: Decimal
    max_drawdown_from: datetime | None
    max_drawdown_to: datetime | None
    volatility: float | None
    sharpe: float | None
    sortino: float | None
    orders: int
    filled_orders: int
    fills: int
    trades: int
    wins: int
    losses: int
    win_rate: Decimal | None
    profit_factor: Decimal | None


_KINDS = {
    "capital": Decimal, "holdings": Sequence, "matching": MatchingSettings, "account": AccountSettings,
    "terms": Mapping, "default_terms": InstrumentTerms, "square_off_at": time | None,
}  # fmt: skip


def check_settings(settings: object) -> None:
    """Raises: InvalidSettings: they make no sense, or are none."""
    if not isinstance(settings, BacktestSettings):
        raise InvalidSettings(f"the settings are BacktestSettings, not {type(settings).__name__}")
    for name, kind in _KINDS.items():
        value = getattr(settings, name)
        if not isinstance(value, kind):
            raise InvalidSettings(f"{name} cannot be {value!r}", field=name)
    pairs: list[tuple[object, object]] = list(settings.terms.items())
    if not all(isinstance(key, Instrument) and isinstance(it, InstrumentTerms) for key, it in pairs):
        raise InvalidSettings("terms are InstrumentTerms by Instrument", field="terms")
    for terms in (*settings.terms.values(), settings.default_terms):
        _check_tick(terms.tick_size, "terms")
    for tick_size in (settings.matching.tick_size, *settings.matching.tick_sizes.values()):
        _check_tick(tick_size, "matching")
    at = settings.square_off_at
    if at is not None and (at.tzinfo is not None or at.microsecond):
        raise InvalidSettings(
            f"square_off_at must be a time of day in India, in whole seconds and without a zone, not {at}",
            field="square_off_at",
        )


def _check_tick(tick_size: Decimal, field: str) -> None:
    try:
        to_units(tick_size)
    except (InvalidPrice, TypeError):
        raise InvalidSettings(f"a tick of {tick_size} is finer than 1/10,000 rupee", field=field) from None

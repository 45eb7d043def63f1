"""What cannot be used is refused by name, in one line, and before it does harm."""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_domain.account import AccountSettings, Holding
from pulse_domain.backtest import BacktestSettings, Strategy, TimedOrder, run_backtest
from pulse_domain.charges import ZERODHA
from pulse_domain.errors import (
    AccountError,
    BadMarketData,
    CannotSplit,
    ChargesUnknown,
    InvalidInstrument,
    InvalidOrder,
    InvalidPrice,
    InvalidQuantity,
    InvalidSettings,
    InvalidSplitConfig,
    MatchingError,
    OffLot,
    OffTick,
    PulseError,
    StrategyFailed,
    UnknownInstrument,
)
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import CandleEntry, CandlePath, FixedTicks, Latency, MatchingSettings, Tick
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Side, SplitConfig
from pulse_domain.splitting import Part, Twap
from tests.unit.backtest import make
from tests.unit.backtest.make import OnCandles, OnTicks, at, request, timed

BUY, SELL = Side.BUY, Side.SELL
TEN = make.series(*range(100, 110))
OPTION = Instrument.parse("NFO:NIFTY26JAN26000CE")
LOT_75: dict[str, Any] = {"default_terms": InstrumentTerms(lot_size=75)}


Kinds = type[PulseError] | tuple[type[PulseError], ...]


def refused(kind: Kinds, what: Callable[[], object]) -> PulseError:
    """What was raised: of the kind, and one line that a person can read."""
    with pytest.raises(kind) as raised:
        what()
    message = raised.value.message
    assert message
    assert "\n" not in message
    assert "object at 0x" not in message
    return raised.value


def run(*orders: Any, data: Any = TEN, **fields: Any) -> Any:
    return run_backtest(list(orders), data, settings=make.settings(**fields))


# --- orders of a list --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "field", "fields"),
    [
        (InvalidQuantity, "total_quantity", {"total_quantity": 0}),
        (InvalidQuantity, "total_quantity", {"total_quantity": -10}),
        (InvalidQuantity, "total_quantity", {"total_quantity": 10**9 + 1}),
        (InvalidPrice, "limit_price", {"limit_price": Decimal(-5)}),
        (InvalidPrice, "limit_price", {"limit_price": Decimal("NaN")}),
        (InvalidPrice, "limit_price", {"limit_price": Decimal("sNaN")}),
        (InvalidPrice, "limit_price", {"limit_price": Decimal("Infinity")}),
        (InvalidPrice, "limit_price", {"limit_price": Decimal("1E-30")}),
        (InvalidPrice, "limit_price", {"limit_price": Decimal("1E+30")}),
        (InvalidPrice, "limit_price", {"limit_price": None}),
        (InvalidPrice, "trigger_price", {"trigger_price": Decimal(100)}),
        (OffTick, "limit_price", {"limit_price": Decimal("100.03")}),
        (UnknownInstrument, "instrument", {"instrument": make.TCS}),
        (InvalidOrder, "product", {"product": Product.NRML}),
        (InvalidOrder, "start_at", {"start_at": datetime(2026, 1, 5, 9, 20)}),
        (InvalidOrder, "start_at", {"start_at": at("09:20", day=20)}),
        (InvalidSplitConfig, "split_config.num_splits", {"split_config": make.split(1, 5)}),
        (InvalidSplitConfig, "split_config.num_splits", {"split_config": make.split(101, 5)}),
        (InvalidSplitConfig, "split_config.duration_minutes", {"split_config": make.split(2, 0)}),
        (InvalidSplitConfig, "split_config.duration_minutes", {"split_config": make.split(2, 1441)}),
    ],
)
def test_an_order_against_the_rules_names_its_field_and_its_place(kind, field, fields):
    good = request(limit=100)

    error = refused(
        kind, lambda: run(timed("09:15"), TimedOrder(at=at("09:15"), request=replace(good, **fields)))
    )

    assert error.details["field"] == field
    assert error.details["order"] == 2
    assert error.message.startswith("order 2: ")


def test_a_split_does_not_go_with_a_trigger():
    order = timed("09:15", trigger=105, split_config=make.split(2, 1))

    assert refused(InvalidSplitConfig, lambda: run(order)).details["field"] == "split_config"


def test_the_product_goes_with_the_segment():
    future = make.series(*range(100, 110), instrument=make.FUTURE)
    order = timed("09:15", instrument=make.FUTURE, product=Product.CNC)

    assert refused(InvalidOrder, lambda: run(order, data=future)).details["field"] == "product"


def test_a_derivative_whose_symbol_tells_no_segment_is_refused():
    gold = Instrument.parse("MCX:GOLDM")
    data = make.series(*range(100, 110), instrument=gold)

    error = refused(InvalidOrder, lambda: run(timed("09:15", instrument=gold), data=data))

    assert isinstance(error, InvalidInstrument)


@pytest.mark.parametrize("quantity", [74, 76, 100])
def test_off_the_lot(quantity):
    error = refused(OffLot, lambda: run(timed("09:15", quantity=quantity), **LOT_75))

    assert (error.details["lot_size"], error.details["order"]) == (75, 1)


def test_terms_of_one_instrument_are_its_own():
    data = [TEN, make.series(*range(100, 110), instrument=make.TCS)]
    terms = {make.TCS: InstrumentTerms(lot_size=75, tick_size=Decimal(1))}

    assert make.states(run(timed("09:15", limit="104.95"), data=data, terms=terms)) == ["FILLED"]
    refused(OffLot, lambda: run(timed("09:15", instrument=make.TCS), data=data, terms=terms))
    refused(
        OffTick,
        lambda: run(timed("09:15", quantity=75, instrument=make.TCS, limit="104.5"), data=data, terms=terms),
    )


@pytest.mark.parametrize(
    "when", [at("00:00") - make.MICROSECOND, at("09:25"), at("09:25") + make.MICROSECOND, at("09:15", day=6)]
)
def test_an_order_outside_of_the_data_is_refused(when):
    error = refused(InvalidOrder, lambda: run(timed(when)))

    assert error.details["field"] == "at"
    assert "outside of the data" in error.message


@pytest.mark.parametrize("when", [at("00:00"), at("09:15"), at("09:25") - make.MICROSECOND])
def test_an_order_from_the_first_midnight_to_the_end_is_not(when):
    assert len(make.run([timed(when)], TEN).orders) == 1


def test_a_time_is_needed():
    error = refused(InvalidOrder, lambda: run(request()))

    assert error.details["field"] == "at"


def test_a_request_with_a_start_needs_no_more():
    result = make.run([request(start_at=at("09:17"))], TEN)

    assert make.rows(result.fills) == [("09:17", 10, Decimal(102))]


def test_times_need_an_offset():
    naive = datetime(2026, 1, 5, 9, 20)

    refused(InvalidOrder, lambda: run(timed(naive)))
    refused((InvalidOrder, CannotSplit), lambda: run(timed("09:15", schedule=Twap(2), ends_at=naive)))


def test_a_key_is_used_once():
    error = refused(InvalidOrder, lambda: run(timed("09:15", key="a"), timed("09:16", key="a")))
    assert (error.details["field"], error.details["order"]) == ("order_unique_key", 2)

    # The second order would be order-2 by default.
    refused(InvalidOrder, lambda: run(timed("09:15", key="order-2"), timed("09:16")))


@pytest.mark.parametrize(
    "fields",
    [
        {"schedule": Twap(2)},
        {"ends_at": at("09:20")},
        {"schedule": Twap(2), "ends_at": at("09:20"), "split_config": make.split(2, 2)},
        {"sessions": [(at("09:15"), at("09:20"))]},
        {"schedule": Twap(2), "ends_at": at("09:20"), "start_at": at("09:17")},
    ],
    ids=["no end", "no schedule", "both", "sessions alone", "two starts"],
)
def test_what_does_not_go_together_is_refused(fields):
    refused(InvalidOrder, lambda: run(timed("09:15", quantity=20, **fields)))


@pytest.mark.parametrize(
    ("schedule", "ends_at", "sessions"),
    [
        (Twap(11), at("09:20"), None),
        (Twap(2), at("09:14"), None),
        (Twap(2), at("09:20"), []),
        (Twap(2), at("09:20"), [(at("10:00"), at("11:00"))]),
        (Twap(0), at("09:20"), None),
    ],
    ids=["slices", "backwards", "no session", "closed", "nothing"],
)
def test_a_schedule_that_does_not_fit_says_which_order_it_is(schedule, ends_at, sessions):
    order = timed("09:16", schedule=schedule, ends_at=ends_at, sessions=sessions)

    error = refused(CannotSplit, lambda: run(timed("09:15"), order))

    assert error.details["order"] == 2


class Own:
    """A schedule of one's own, which gives these parts."""

    def __init__(self, *parts: Part) -> None:
        self._parts = list(parts)

    def parts(self, *said: Any, **more: Any) -> list[Part]:
        return self._parts


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (Part(0, 9),),
        (Part(0, 11),),
        (Part(0, 20), Part(1, -10)),
        (Part(0, 10), Part(1, 0)),
        (Part(-1, 10),),
    ],
    ids=["none", "too little", "too much", "negative", "zero", "before"],
)
def test_a_schedule_of_ones_own_has_to_give_the_order(parts):
    refused(
        (CannotSplit, InvalidOrder),
        lambda: run(timed("09:15", schedule=Own(*parts), ends_at=at("09:20"))).check(),
    )


# --- splits ------------------------------------------------------------------------------------


def quantities(result: Any) -> list[list[int]]:
    return [[execution.quantity for execution in slice_.executions] for slice_ in result.orders[0].slices]


def test_750_of_lot_75_over_4_stays_on_the_lot():
    result = make.run([timed("09:15", quantity=750, split_config=make.split(4, 3))], TEN, **LOT_75)

    assert quantities(result) == [[150], [225], [150], [225]]
    assert make.states(result) == ["FILLED"]


def test_more_slices_than_lots_are_refused_with_what_is_possible():
    order = timed("09:15", quantity=750, split_config=make.split(11, 3))

    assert refused(CannotSplit, lambda: run(order, **LOT_75)).details["max_splits"] == 10


def test_7_over_10_is_refused():
    order = timed("09:15", quantity=7, split_config=make.split(10, 3))

    assert refused(CannotSplit, lambda: run(order)).details["max_splits"] == 7


def test_10000_over_3_is_cut_at_a_freeze_limit_of_1800_and_fills():
    terms = InstrumentTerms(freeze_quantity=1800)

    result = make.run(
        [timed("09:15", quantity=10_000, split_config=make.split(3, 2))], TEN, default_terms=terms
    )  # fmt: skip

    assert quantities(result) == [[1800, 1533], [1800, 1533], [1800, 1534]]
    assert result.orders[0].summary.quantities.filled == 10_000


@pytest.mark.parametrize("freeze", [74, 1, 0, -5])
def test_a_lot_above_the_freeze_quantity_is_refused(freeze):
    refused(
        (CannotSplit, InvalidInstrument),
        lambda: run(
            timed("09:15", quantity=75), default_terms=InstrumentTerms(lot_size=75, freeze_quantity=freeze)
        ),
    )


# --- the account's refusals --------------------------------------------------------------------


def codes(result: Any, place: int = 0) -> list[str | None]:
    return [
        execution.reason_code for slice_ in result.orders[place].slices for execution in slice_.executions
    ]  # fmt: skip


def test_what_cannot_be_paid_is_rejected_and_the_rest_of_the_order_goes_on():
    # A resting order has the money of the second slice until it is cancelled.
    def first(it):
        it.send(quantity=30, split_config=make.split(3, 4))
        it.send(quantity=15, limit=99)

    strategy = OnCandles({0: first, 3: lambda it: it.cancel(it.keys[1])})

    result = make.run(strategy, make.series(*[100] * 10), capital=Decimal(3000))

    assert codes(result) == [None, "INSUFFICIENT_FUNDS", None]
    summary = result.orders[0].summary
    assert (summary.state, summary.quantities.filled, summary.quantities.failed) == ("PARTIALLY_FILLED", 20, 10)
    assert [update.reason_code for update in strategy.updates if update.order_unique_key == "order-1"] == [
        None, "INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS",
    ]  # fmt: skip


def test_an_order_that_cannot_be_paid_is_rejected_with_both_figures():
    result = make.run([timed("09:15", quantity=100)], TEN, capital=Decimal(5000))

    ended = make.last_event(result.orders[0])
    assert make.states(result) == ["REJECTED"]
    assert (ended.reason_code, ended.message) == (
        "INSUFFICIENT_FUNDS", "the order needs 10000 and 5000 is available",
    )  # fmt: skip
    assert result.funds.cash == 5000


def test_delivery_is_not_sold_short():
    result = make.run([timed("09:15", SELL, product=Product.CNC)], TEN)

    assert make.states(result) == ["REJECTED"]
    assert codes(result) == ["INSUFFICIENT_HOLDINGS"]


def test_the_same_shares_are_not_sold_twice():
    held = Holding(instrument=make.INFY, quantity=10, average_price=Decimal(90))
    orders = [timed("09:15", SELL, product=Product.CNC, key=key) for key in "ab"]

    result = make.run(orders, TEN, holdings=(held,))

    assert make.states(result) == ["FILLED", "REJECTED"]
    assert codes(result, 1) == ["INSUFFICIENT_HOLDINGS"]


def test_options_are_not_written_without_a_margin():
    result = make.run(
        [timed("09:15", SELL, instrument=OPTION, product=Product.NRML)],
        make.series(*range(100, 110), instrument=OPTION),
    )

    assert make.states(result) == ["REJECTED"]


def test_charges_that_nobody_knows_end_the_run():
    begin = datetime(2020, 1, 6, 9, 15, tzinfo=at("09:15").tzinfo)

    refused(
        ChargesUnknown,
        lambda: run(
            timed(begin), data=make.series(100, 101, start=begin), account=AccountSettings(charges=ZERODHA)
        ),
    )


# --- strategies --------------------------------------------------------------------------------


class Broken(Exception):
    """What a strategy raises."""


@pytest.mark.parametrize(
    ("callback", "strategy", "when"),
    [
        ("on_start", OnCandles(on_start=lambda it: 1 / 0), "09:15"),
        ("on_candle", OnCandles({2: lambda it: 1 / 0}), "09:18"),
        ("on_order_update", OnCandles({0: lambda it: it.send()}, on_update=lambda it, update: 1 / 0), "09:17"),
    ],
)
def test_a_strategy_that_raises_is_told_by_callback_and_time(callback, strategy, when):
    error = refused(StrategyFailed, lambda: run_backtest(strategy, TEN))

    assert isinstance(error.__cause__, ZeroDivisionError)
    assert error.details == {"callback": callback, "at": at(when).isoformat()}
    assert error.message == (
        f"OnCandles.{callback} failed at {at(when).isoformat()}: ZeroDivisionError: division by zero"
    )


def test_a_strategy_that_raises_at_one_of_several_instruments_is_told():
    strategy = OnCandles({3: lambda it: 1 / 0})
    data = [TEN, make.series(*range(100, 110), instrument=make.TCS)]

    assert (
        refused(StrategyFailed, lambda: run_backtest(strategy, data)).details["at"] == at("09:17").isoformat()
    )


def test_a_strategy_that_raises_at_a_tick_is_told():
    strategy = OnTicks({1: lambda it: 1 / 0})

    error = refused(
        StrategyFailed, lambda: run_backtest(strategy, make.ticks(("09:15:00", 1), ("09:15:07", 2)))
    )

    assert error.details == {"callback": "on_tick", "at": at("09:15:07").isoformat()}


def test_an_order_that_is_refused_is_the_strategys_to_catch():
    def send(it):
        with pytest.raises(OffTick):
            it.send(limit="100.03")
        with pytest.raises(UnknownInstrument):
            it.send(instrument=make.SBIN)
        with pytest.raises(CannotSplit):
            it.send(quantity=3, split_config=make.split(4, 3))
        it.send()

    result = make.run(OnCandles({0: send}), TEN)

    assert make.states(result) == ["FILLED"]
    assert [order.order_unique_key for order in result.orders] == ["order-1"]


def test_an_order_that_is_refused_and_not_caught_fails_the_strategy():
    error = refused(StrategyFailed, lambda: run_backtest(OnCandles({0: lambda it: it.send(quantity=0)}), TEN))

    assert isinstance(error.__cause__, InvalidQuantity)
    assert "total_quantity must be between" in error.message


def test_what_is_no_error_of_the_strategy_passes_through():
    def stop(it):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_backtest(OnCandles({0: stop}), TEN)


def test_an_instrument_as_text_has_to_be_one():
    strategy = OnCandles({0: lambda it: it.buy("INFY", 10)})

    error = refused(StrategyFailed, lambda: run_backtest(strategy, TEN))

    assert isinstance(error.__cause__, InvalidInstrument)


# --- data --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [[], (), iter([])])
def test_without_data_there_is_no_run(data):
    refused(BadMarketData, lambda: run_backtest([], data))


@pytest.mark.parametrize(
    "data",
    [
        lambda: [*make.bars(1, 2), *make.bars(1, 2, instrument=make.TCS, start=at("09:20"))],
        lambda: [make.series(1, 2), make.series(1, 2)],
        lambda: [make.series(1, 2), *make.bars(1, 2)],
        lambda: [*make.bars(1, 2), Tick(make.INFY, at("09:20"), Decimal(1))],
        lambda: [Tick(make.INFY, at("09:20"), Decimal(1)), *make.bars(1, 2, start=at("09:30"))],
        lambda: [replace(make.bars(1)[0], end=None)],
        lambda: [*make.bars(1, 2), *make.bars(1)],
        lambda: ["NSE:INFY"],
        lambda: "prices.csv",
        lambda: {"close": [1]},
        lambda: None,
        lambda: 5,
    ],
    ids=[
        "instruments", "twice", "series and candles", "candles and ticks", "ticks and candles", "one candle",
        "backwards", "text", "path", "mapping", "none", "number",
    ],
)  # fmt: skip
def test_data_that_cannot_be_used_is_refused(data):
    refused(BadMarketData, lambda: run_backtest([], data()))


@pytest.mark.parametrize(
    "what",
    [
        None, 5, "NSE:INFY", OnCandles, Strategy, [5], [None], ["NSE:INFY"], timed("09:15"), request(),
        [[timed("09:15")]],
    ],
    ids=[
        "none", "number", "text", "a class", "the class", "numbers", "nothing", "texts", "one order",
        "one request", "a list too many",
    ],
)  # fmt: skip
def test_what_is_neither_a_strategy_nor_orders_is_refused(what):
    refused(PulseError, lambda: run_backtest(what, TEN))


# --- settings ----------------------------------------------------------------------------------

HELD = Holding(instrument=make.INFY, quantity=1, average_price=Decimal(1))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (AccountError, {"capital": Decimal(-1)}),
        (AccountError, {"capital": Decimal("NaN")}),
        (AccountError, {"capital": Decimal("Infinity")}),
        (AccountError, {"capital": Decimal("1.00001")}),
        (InvalidSettings, {"capital": 1e6}),
        (AccountError, {"holdings": (replace(HELD, quantity=0),)}),
        (AccountError, {"holdings": (replace(HELD, average_price=Decimal(0)),)}),
        (AccountError, {"holdings": (replace(HELD, instrument=make.FUTURE),)}),
        (AccountError, {"holdings": (HELD, HELD)}),
        (MatchingError, {"matching": {"participation": Decimal(0)}}),
        (MatchingError, {"matching": {"participation": Decimal("1.01")}}),
        (MatchingError, {"matching": {"participation": 0.1}}),
        (MatchingError, {"matching": {"tick_size": Decimal(0)}}),
        (MatchingError, {"matching": {"lot_sizes": {make.INFY: 0}}}),
        (MatchingError, {"matching": {"slippage": FixedTicks(-1)}}),
        (MatchingError, {"matching": {"slippage": 5}}),
        (MatchingError, {"matching": {"latency": Latency(timedelta(2), timedelta(1))}}),
        (MatchingError, {"matching": {"latency": Latency(timedelta(-1), timedelta(1))}}),
        (PulseError, {"matching": {"tick_size": Decimal("0.00001"), "slippage": FixedTicks(1)}}),
        (InvalidSettings, {"square_off_at": time(15, 20, tzinfo=at("09:15").tzinfo)}),
        (InvalidSettings, {"square_off_at": time(15, 20, 0, 1)}),
        (InvalidSettings, {"square_off_at": "15:20"}),
        (InvalidSettings, {"terms": {make.INFY: 5}}),
        (InvalidSettings, {"terms": {"NSE:INFY": InstrumentTerms(lot_size=5)}}),
        (InvalidSettings, {"default_terms": None}),
        (InvalidSettings, {"account": None}),
    ],
    ids=lambda it: "-".join(it) if isinstance(it, dict) else it.__name__,
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(kind, fields):
    refused(kind, lambda: run(timed("09:15"), **fields))


@pytest.mark.parametrize(
    "settings", [None, 5, MatchingSettings(), replace(BacktestSettings(), matching=None)],
    ids=["none", "number", "of matching", "without matching"],
)  # fmt: skip
def test_settings_of_another_kind_are_refused(settings):
    refused(PulseError, lambda: run_backtest([], TEN, settings=settings))


def test_terms_that_make_no_sense_are_refused():
    refused(InvalidInstrument, lambda: run(timed("09:15"), default_terms=InstrumentTerms(freeze_quantity=-5)))


def test_settings_are_refused_before_a_strategy_is_called():
    strategy = OnCandles(on_start=lambda it: it.keys.append("called"))

    refused(AccountError, lambda: run_backtest(strategy, TEN, settings=make.settings(capital=Decimal(-1))))

    assert strategy.keys == []


# --- values of another type --------------------------------------------------------------------


@pytest.mark.parametrize("fields", [
    {"side": "BUY"}, {"validity": "DAY"}, {"product": "MIS"}, {"order_type": "MARKET"},
])  # fmt: skip
def test_text_for_a_member_never_means_another(fields):
    order = TimedOrder(at=at("09:15"), request=replace(request(), **fields))

    assert outcome(lambda: run(order)) in ("refused", outcome(lambda: run(timed("09:15"))))


def outcome(what: Callable[[], Any]) -> str:
    try:
        return what().fills_digest()
    except (InvalidOrder, InvalidSettings, MatchingError):
        return "refused"


@pytest.mark.parametrize("fields", [
    {"side": "LONG"}, {"validity": "GTC"}, {"product": "BO"}, {"order_type": "ICEBERG"},
    {"instrument": "NSE:INFY"}, {"side": None}, {"order_type": None}, {"validity": 1},
    {"product": 1}, {"instrument": None},
])  # fmt: skip
def test_what_is_no_member_is_refused(fields):
    error = refused(InvalidOrder, lambda: run(TimedOrder(at=at("09:15"), request=replace(request(), **fields))))

    assert error.details["field"] in fields


@pytest.mark.parametrize("fields", [
    {"candle_entry": CandleEntry.SAME_CLOSE}, {"candle_path": CandlePath.OPEN_HIGH_LOW_CLOSE},
])  # fmt: skip
def test_text_for_a_setting_never_means_another(fields):
    # A stop and a limit behind it, which fills in its candle where the path is known; and one inside a candle.
    data = make.series((100, 100, 100, 100), (100, 104, 99, 101), (102, 103, 101, 103), 103)
    orders = [timed("09:16", trigger=103, limit=102), timed("09:16:30")]
    as_text = {name: str(member) for name, member in fields.items()}
    meant, text, plain = [
        outcome(partial(run, *orders, data=data, matching=matching)) for matching in (fields, as_text, {})
    ]

    assert meant != plain
    assert text in ("refused", meant)


@pytest.mark.parametrize("fields", [{"candle_entry": "never"}, {"candle_path": "any"}, {"candle_entry": None}])
def test_a_setting_that_does_not_exist_is_refused(fields):
    refused((InvalidSettings, MatchingError), lambda: run(timed("09:15"), matching=fields))


@pytest.mark.parametrize("quantity", [10.0, 2.5, "10", None, Decimal(10), True, [10], float("nan")], ids=str)
def test_a_quantity_is_a_whole_number(quantity):
    error = refused(InvalidQuantity, lambda: run(timed("09:15", quantity=quantity)))

    assert error.details["field"] == "total_quantity"


def test_a_quantity_that_numpy_has_counted_is_taken_or_refused():
    plain = make.run([timed("09:15")], TEN)

    quantity: Any = np.int64(10)
    counted = outcome(lambda: run(timed("09:15", quantity=quantity)))

    assert counted in ("refused", plain.fills_digest())


@pytest.mark.parametrize("price", [100.5, 100, "100", [100], float("nan")], ids=str)
@pytest.mark.parametrize("field", ["limit_price", "trigger_price"])
def test_a_price_is_a_decimal(price, field):
    order = replace(request(limit=100, trigger=100), **{field: price})

    error = refused(InvalidPrice, lambda: run(TimedOrder(at=at("09:15"), request=order)))

    assert error.details["field"] == field


@pytest.mark.parametrize("when", ["2026-01-05T09:15", date(2026, 1, 5), 1767584700, 1.5], ids=str)
@pytest.mark.parametrize("field", ["at", "ends_at", "start_at"])
def test_a_time_is_a_datetime(when, field):
    order = timed("09:15", schedule=Twap(2), ends_at=at("09:20"))
    if field == "start_at":
        order = replace(timed("09:15"), request=replace(request(), start_at=when))
    else:
        order = replace(order, **{field: when})

    refused((InvalidOrder, CannotSplit), lambda: run(order))


@pytest.mark.parametrize(
    "sessions", [[5], [(1, 2)], 5, [("09:15", "09:20")], [(at("09:15"),)]],
    ids=["numbers", "pairs of numbers", "number", "texts", "one time"],
)  # fmt: skip
def test_sessions_are_pairs_of_times(sessions):
    order = timed("09:15", schedule=Twap(2), ends_at=at("09:20"), sessions=sessions)

    refused((InvalidOrder, CannotSplit), lambda: run(order))


@pytest.mark.parametrize("schedule", [5, "twap", Twap], ids=["number", "text", "class"])
def test_a_schedule_is_one(schedule):
    refused((InvalidOrder, CannotSplit), lambda: run(timed("09:15", schedule=schedule, ends_at=at("09:20"))))


def split_of(splits: Any, minutes: Any) -> SplitConfig:
    return SplitConfig(num_splits=splits, duration_minutes=minutes)


@pytest.mark.parametrize("split", [
    {"num_splits": 2, "duration_minutes": 1}, 5, split_of(2.5, 1), split_of(2, 1.5), split_of("2", 1),
    split_of(2, None),
], ids=str)  # fmt: skip
def test_a_split_is_one(split):
    refused((InvalidOrder, CannotSplit), lambda: run(timed("09:15", split_config=split)))


# --- anything at all ---------------------------------------------------------------------------

numbers = st.one_of(
    st.integers(), st.floats(), st.decimals(), st.booleans(), st.integers(-3, 200), st.integers(10**8, 10**12)
)
times = st.one_of(
    st.datetimes(), st.datetimes().map(lambda it: it.replace(tzinfo=at("09:15").tzinfo)), st.dates()
)
anything = st.one_of(
    st.none(), numbers, times, st.text(max_size=5), st.binary(max_size=3), st.lists(numbers, max_size=2),
    st.just({}), st.just(object()), st.timedeltas(),
    st.sampled_from([BUY, Product.CNC, OrderType.SL, make.TCS]),
    st.builds(split_of, numbers, numbers),
)  # fmt: skip
FIELDS = [name for name in OrderRequest.__struct_fields__ if name != "strategy_tag"]
TIMED = [name for name in TimedOrder.__struct_fields__ if name != "request"]


@given(st.dictionaries(st.sampled_from(FIELDS), anything, min_size=1, max_size=2), st.booleans())
def test_any_request_runs_or_is_refused_by_name(fields, limited):
    order = TimedOrder(at=at("09:15"), request=replace(request(limit=100 if limited else None), **fields))

    _runs_or_is_refused(lambda: run(order))


@given(st.dictionaries(st.sampled_from(TIMED), anything, min_size=1, max_size=2), st.booleans())
def test_any_timed_order_runs_or_is_refused_by_name(fields, scheduled):
    order = timed("09:15", schedule=Twap(2), ends_at=at("09:20")) if scheduled else timed("09:15")

    _runs_or_is_refused(lambda: run(replace(order, **fields)))


@given(st.decimals(), st.decimals(), st.integers(), st.sampled_from(OrderType), st.sampled_from(Side))
def test_any_price_and_quantity_runs_or_is_refused_by_name(limit, trigger, quantity, kind, side):
    order = OrderRequest(
        instrument=make.INFY, side=side, total_quantity=quantity, order_type=kind, product=Product.MIS,
        limit_price=limit if kind.has_limit else None, trigger_price=trigger if kind.has_trigger else None,
    )  # fmt: skip

    _runs_or_is_refused(lambda: run(TimedOrder(at=at("09:15"), request=order)))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "participation": st.decimals() | st.none(),
            "tick_size": st.decimals(),
            "slippage": st.builds(FixedTicks, st.integers(-1, 10**20)) | st.none(),
            "latency": st.builds(Latency, st.timedeltas(), st.timedeltas()) | st.none(),
        },
    )
)
def test_any_matching_runs_or_is_refused_by_name(matching):
    _runs_or_is_refused(lambda: run(timed("09:15"), timed("09:16", limit=105), matching=matching))


@given(st.decimals(), st.integers(), st.decimals(), st.integers(-2, 100), st.none() | st.integers(-2, 100))
def test_any_account_and_terms_run_or_are_refused_by_name(capital, held, price, lot_size, freeze):
    def build() -> Any:
        return run(
            timed("09:15", quantity=100),
            capital=capital,
            holdings=(Holding(instrument=make.INFY, quantity=held, average_price=price),),
            default_terms=InstrumentTerms(lot_size=lot_size, freeze_quantity=freeze),
        )

    _runs_or_is_refused(build)


def _runs_or_is_refused(what: Callable[[], Any]) -> None:
    try:
        result = what()
    except PulseError as error:
        message = error.message
    else:
        message = "it has run"
        result.check()
        result.to_json()
        assert all(order.summary.done for order in result.orders)
    assert message
    assert "\n" not in message

"""Parameters: by name, as JSON or as text, and what is wrong with them in one line."""

import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct

from pulse_domain.backtest import run_backtest
from pulse_domain.errors import InvalidSettings
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from pulse_domain.orders.model import Product
from pulse_domain.strategies import STRATEGIES, MacdVolumeTrend, RsiMomentum, make_strategy
from pulse_domain.strategies.macd_volume_trend import MacdParameters
from pulse_domain.strategies.rsi_momentum import RsiParameters
from pulse_domain.strategy import Strategy, strategy_from
from tests.unit.strategies.make import INFY, TCS, candles

FUTURE = Instrument.parse("NFO:NIFTY26JANFUT")


def test_the_kinds_that_are_shipped() -> None:
    assert {kind: type(make_strategy(kind, [TCS], {})) for kind in STRATEGIES} == {
        "macd": MacdVolumeTrend, "rsi": RsiMomentum,
    }  # fmt: skip


def test_parameters_come_as_json_or_as_text() -> None:
    as_json = make_strategy(
        "macd", [TCS], {"fast": 5, "volume_factor": 2, "short": True, "product": "MIS", "candle_minutes": 15}
    )
    as_text = make_strategy(
        "macd",
        [TCS],
        {"fast": "5", "volume_factor": "2", "short": "true", "product": "MIS", "candle_minutes": "15"},
    )

    expected = MacdParameters(fast=5, volume_factor=2.0, short=True, product=Product.MIS, candle_minutes=15)
    assert as_json.parameters == as_text.parameters == expected
    assert as_text.candle_minutes == 15


@pytest.mark.parametrize("kind", STRATEGIES)
def test_parameters_go_there_and_back(kind: str) -> None:
    parameters = make_strategy(kind, [TCS], {"stop_atrs": 0.1}).parameters

    written = msgspec.json.decode(msgspec.json.encode(parameters))

    assert make_strategy(kind, [TCS], written).parameters == parameters


@pytest.mark.parametrize("kind", STRATEGIES)
def test_the_guide_has_every_parameter_with_its_default(kind: str) -> None:
    text = (Path(__file__).parents[3] / "doc/guides/strategies.md").read_text()
    told: dict[str, str] = {}
    for name in ("both", kind):
        table = text.partition(f"### Parameters of {name}\n")[2].partition("\n#")[0]
        for row in re.findall(r"^\| (`.*?) \| (`.*?) \|", table, re.MULTILINE):
            names, defaults = (re.findall("`(.+?)`", cell) for cell in row)
            told |= dict(zip(names, defaults, strict=True))

    assert told.keys() == set(STRATEGIES[kind].Parameters.__struct_fields__)
    assert make_strategy(kind, [TCS], told).parameters == make_strategy(kind, [TCS], {}).parameters


def test_instruments_are_kept_once_each_and_in_order() -> None:
    assert make_strategy("rsi", iter([TCS, INFY, TCS]), {}).instruments == (TCS, INFY)


@pytest.mark.parametrize(
    ("kind", "parameters", "field", "said"),
    [
        ("macdd", {}, "kind", "there is no strategy 'macdd'; there are macd, rsi"),
        ("", {}, "kind", "there is no strategy ''"),
        ("rsi", {"fast": 3}, "fast", "there is no parameter 'fast'; there are candle_minutes,"),
        ("rsi", {"a\nb" * 99: 3}, ("a\nb" * 99)[:40], "there is no parameter 'a\\nb"),
        ("macd", {"fast": 1}, "fast", "parameter fast cannot be 1: expected int >= 2"),
        ("macd", {"fast": 2501}, "fast", "expected int <= 2500"),
        ("macd", {"fast": "x"}, "fast", "parameter fast cannot be 'x': expected int, got str"),
        ("macd", {"fast": 2.5}, "fast", "expected int, got float"),
        ("macd", {"fast": None}, "fast", "expected int, got null"),
        ("macd", {"fast": [1, 2]}, "fast", "parameter fast cannot be [1, 2]: expected int, got array"),
        ("macd", {"fast": "x\ny" * 99}, "fast", "parameter fast cannot be 'x\\ny"),
        ("macd", {"fast": 26}, "fast", "fast must be below slow, and 26 is not below 26"),
        ("macd", {"slow": 12}, "fast", "fast must be below slow, and 12 is not below 12"),
        ("macd", {"volume_factor": "nan"}, "volume_factor", "expected float >= 0.0"),
        ("macd", {"risk_percent": 0}, "risk_percent", "expected float > 0.0"),
        ("macd", {"risk_percent": 101}, "risk_percent", "expected float <= 100.0"),
        ("macd", {"stop_atrs": "inf"}, "stop_atrs", "expected float <= 100.0"),
        ("macd", {"max_quantity": 0}, "max_quantity", "expected int >= 1"),
        ("macd", {"max_leverage": 0}, "max_leverage", "expected float > 0.0"),
        ("macd", {"candle_minutes": 3}, "candle_minutes", "cannot be 3: it is one of 1, 5, 15"),
        ("macd", {"product": "BO"}, "product", "cannot be 'BO': it is one of CNC, MIS, NRML"),
        ("macd", {"use_volume": "maybe"}, "use_volume", "cannot be 'maybe': it is one of true, false"),
        ("macd", {"short": True, "product": "CNC"}, "short", "short does not go with the product CNC"),
        ("macd", {"product": "NRML"}, "product", "NSE:TCS: product NRML is for derivatives only"),
        ("rsi", {"flat_at": "24:00"}, "flat_at", "flat_at must be a time of day such as 15:15, or never"),
        ("rsi", {"flat_at": "15.15"}, "flat_at", "flat_at must be a time of day"),
        ("rsi", {"flat_at": "9:15"}, "flat_at", "flat_at must be a time of day"),
        ("rsi", {"flat_at": None}, "flat_at", "parameter flat_at cannot be None: expected str, got null"),
        ("rsi", {"enter": 100}, "enter", "expected float < 100.0"),
        ("rsi", {"leave": 61}, "leave", "leave must not be above enter, and 61 is above 60"),
        ("rsi", {"hold_candles": -1}, "hold_candles", "expected int >= 0"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(kind: str, parameters: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        make_strategy(kind, [TCS], parameters)

    assert said in refused.value.message
    assert len(refused.value.message) < 300
    assert "\n" not in refused.value.message
    assert refused.value.details["field"] == field


def test_delivery_is_not_for_derivatives() -> None:
    assert make_strategy("rsi", [FUTURE], {"product": "NRML"}).instruments == (FUTURE,)
    with pytest.raises(InvalidSettings, match="NFO:NIFTY26JANFUT: product CNC is for NSE and BSE only"):
        make_strategy("rsi", [FUTURE], {"product": "CNC"})


def test_a_value_is_checked_however_it_came() -> None:
    with pytest.raises(InvalidSettings, match="parameter trend cannot be 1: expected int >= 2"):
        RsiMomentum(RsiParameters(trend=1))
    with pytest.raises(InvalidSettings, match="the parameters of RsiMomentum are not MacdParameters"):
        RsiMomentum(MacdParameters())  # type: ignore[arg-type]


# --- strategies of one's own -------------------------------------------------------------------


class Plain(Strategy):
    pass


class WithArguments(Strategy):
    def __init__(self, quantity: int = 5) -> None:
        self.quantity = quantity


class Chosen(Struct, frozen=True):
    quantity: Annotated[int, Meta(ge=1)] = 10
    level: float | None = None


class Choosing(Strategy):
    Parameters = Chosen

    def on_candle(self, candle: Candle) -> None:
        if not self.position(candle.instrument):
            self.buy(candle.instrument, self.parameters.quantity)


class Demanding(Strategy):
    class Parameters(Struct, frozen=True):
        quantity: int


@pytest.mark.parametrize("kind", [Plain, WithArguments])
def test_a_strategy_without_parameters_takes_none(kind: type[Strategy]) -> None:
    assert strategy_from(kind, [TCS], {}).instruments == (TCS,)
    with pytest.raises(InvalidSettings, match="there is no parameter 'quantity': it has none"):
        strategy_from(kind, [TCS], {"quantity": 5})


def test_a_strategy_names_its_own_parameters() -> None:
    assert Choosing().parameters == Chosen()
    assert strategy_from(Choosing, [TCS], {"quantity": "3", "level": "null"}).parameters == Chosen(quantity=3)
    [order] = run_backtest(strategy_from(Choosing, (), {"quantity": 3}), candles([1, 2, 3])).orders
    assert order.request.total_quantity == 3
    with pytest.raises(InvalidSettings, match="parameter quantity cannot be 0"):
        Choosing(Chosen(quantity=0))


def test_what_has_no_default_is_to_be_given() -> None:
    assert strategy_from(Demanding, [TCS], {"quantity": 3}).parameters.quantity == 3
    with pytest.raises(InvalidSettings, match="cannot be used: Missing required argument 'quantity'"):
        strategy_from(Demanding, [TCS], {})


def test_a_strategy_that_remembers_nothing_has_an_empty_snapshot() -> None:
    plain = Plain()

    assert plain.snapshot() == {}
    plain.restore({})
    plain.on_past_candle(next(iter(candles([1]))))


def test_a_backtest_tells_what_is_traded_unless_it_is_said() -> None:
    plain, said = Plain(), strategy_from(Plain, [INFY], {})
    for strategy in (plain, said):
        run_backtest(strategy, [candles([1, 2]), candles([1, 2], instrument=INFY)])

    assert (plain.instruments, said.instruments) == ((TCS, INFY), (INFY,))

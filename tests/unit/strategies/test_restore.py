"""A strategy that is written down and made anew orders what it would have ordered."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulse_domain.backtest import BacktestResult, CandleSeries, Strategy, run_backtest, synthetic_candles
from pulse_domain.errors import InvalidSettings
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from pulse_domain.strategies import STRATEGIES, make_strategy
from pulse_domain.strategies.one_position import OnePosition
from tests.unit.strategies import make
from tests.unit.strategies.make import INFY, MACD, RSI, TCS, Interrupted, candles, run, sides
from tests.unit.strategies.test_signals import RISE

DAY = [synthetic_candles(str(it), days=2, seed=seed) for seed, it in enumerate((TCS, INFY))]
SHORT_ONES = {"macd": MACD | {"stop_atrs": 1.5, "short": True}, "rsi": RSI | {"stop_atrs": 1.5, "short": True}}


def whole(kind: str) -> BacktestResult:
    return run_backtest(make_strategy(kind, (), SHORT_ONES[kind]), DAY)


WHOLE = {kind: whole(kind) for kind in STRATEGIES}


@pytest.mark.parametrize("kind", STRATEGIES)
@settings(max_examples=40)
@given(cut=st.integers(0, 1500))
def test_it_goes_on_after_any_candle_as_if_nothing_had_been(kind: str, cut: int) -> None:
    result = run_backtest(Interrupted(kind, SHORT_ONES[kind], cut), DAY)

    assert len(result.orders) > 40
    assert result.digest() == WHOLE[kind].digest()


class Other(Strategy):
    """Hosts a `macd` or `rsi`; one candle does `then` with what was written down."""

    def __init__(self, kind: str, at: int, then: Callable[[dict[str, Any]], None]) -> None:
        self.kind, self.at, self.then, self.seen = kind, at, then, 0

    def on_start(self) -> None:
        self.inner = make_strategy(self.kind, self.instruments, RSI)
        self.inner.desk = self.desk
        self.inner.on_start()

    def on_candle(self, candle: Candle) -> None:
        self.seen += 1
        if self.seen == self.at:
            state = json.loads(json.dumps(self.inner.snapshot()))
            self.then(state["markets"][str(TCS)]["held"])
            self.on_start()
            self.inner.restore(state)
        self.inner.on_candle(candle)


def test_an_order_that_was_never_taken_is_forgotten() -> None:
    def never_taken(held: dict[str, Any]) -> None:
        held |= {"order": "order-77", "side": 1, "stop": 90.0}

    assert sides(run(Other("rsi", 4, never_taken), candles(RISE))) == [(5, "BUY"), (11, "SELL")]


def test_what_filled_meanwhile_is_told_by_the_desk() -> None:
    def filled_since(held: dict[str, Any]) -> None:
        assert held["order"] == "order-1"

    assert sides(run(Other("rsi", 7, filled_since), candles(RISE))) == [(5, "BUY"), (11, "SELL")]


def test_a_position_that_is_gone_meanwhile_is_not_managed() -> None:
    def bought(held: dict[str, Any]) -> None:
        held |= {"side": 1, "stop": 1000.0, "candles": 3, "leaving": True}

    assert sides(run(Other("rsi", 3, bought), candles(RISE))) == [(5, "BUY"), (11, "SELL")]


# --- what cannot be restored -------------------------------------------------------------------


def state_of(
    kind: str = "rsi", instruments: Sequence[Instrument] = (TCS,), **parameters: Any
) -> dict[str, Any]:
    strategy = make_strategy(kind, instruments, parameters)
    strategy.on_start()
    for candle in candles(RISE):
        strategy.on_past_candle(candle)
    state: dict[str, Any] = json.loads(json.dumps(strategy.snapshot()))
    return state


def without(*path: str) -> dict[str, Any]:
    state = state_of()
    inner = state
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return state


def with_held(**fields: Any) -> dict[str, Any]:
    state = state_of()
    state["markets"]["NSE:TCS"]["held"] |= fields
    return state


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, "parameters is missing"),
        (state_of(trend=60), "it is of other parameters"),
        (state_of("macd"), "it is of other parameters"),
        (state_of(instruments=(INFY,)), "it is of other instruments"),
        (state_of(instruments=(TCS, INFY)), "it is of other instruments"),
        (without("markets"), "markets is missing"),
        (without("markets", "NSE:TCS", "signals", "rsi"), "rsi is missing"),
        (without("markets", "NSE:TCS", "atr", "close"), "close is missing"),
        (state_of() | {"markets": 7}, "has no attribute"),
        (with_held(order=5), "Expected `str | null`, got `int`"),
        (with_held(side=2), "Expected `int` <= 1"),
        (with_held(more=1), "unknown field `more`"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_the_state_of_another_is_refused(state: dict[str, Any], said: str) -> None:
    strategy = make_strategy("rsi", [TCS], {})

    with pytest.raises(InvalidSettings, match="cannot be restored by RsiMomentum") as refused:
        strategy.restore(state)

    assert said in refused.value.message
    assert "\n" not in refused.value.message


def test_a_snapshot_is_of_its_moment() -> None:
    strategy = make_strategy("rsi", [TCS], {})
    strategy.on_start()
    before = strategy.snapshot()
    then = json.dumps(before)

    make.told(strategy, candles(RISE))

    assert json.dumps(before) == then
    assert json.dumps(strategy.snapshot()) != then


# --- whole runs --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STRATEGIES)
def test_a_run_is_the_same_every_time(kind: str) -> None:
    assert whole(kind).digest() == WHOLE[kind].digest()


@pytest.mark.parametrize("kind", STRATEGIES)
def test_a_run_with_the_defaults_trades_and_adds_up(kind: str) -> None:
    month = synthetic_candles(TCS, days=20, seed=3)

    result = run_backtest(make_strategy(kind, [TCS], {"short": True}), month)

    result.check()
    assert result.statistics.trades > 20
    assert [position.quantity for position in result.positions] == [0]


def test_candles_of_another_length_are_refused() -> None:
    quarters: CandleSeries = candles(RISE, minutes=15)

    with pytest.raises(InvalidSettings, match="set to candles of 5 min, and those of NSE:TCS last 0:15:00"):
        run("rsi", quarters, {"candle_minutes": 5})


def test_a_strategy_of_signals_is_yours_to_write() -> None:
    with pytest.raises(TypeError, match="signals"):
        OnePosition()  # type: ignore[abstract]

"""Hypothesis: settings, and histories of candles, ticks, orders, changes and cancels in the order of time."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from pulse_domain.matching import (
    BasisPoints,
    CandleEntry,
    CandlePath,
    FixedTicks,
    ImpactShape,
    Latency,
    MatchingSettings,
    VolumeImpact,
)
from pulse_domain.orders.model import OrderType, Side, Validity
from tests.unit.matching import make

TICK = Decimal("0.05")
MINUTE = timedelta(minutes=1)

prices = st.integers(1, 30).map(lambda ticks: ticks * TICK)
instruments = st.sampled_from([make.INFY, make.INFY, make.TCS])
volumes = st.one_of(st.just(0), st.integers(1, 300))
slippages = st.one_of(
    st.none(),
    st.builds(FixedTicks, st.integers(0, 4)),
    st.builds(BasisPoints, st.integers(0, 500).map(Decimal)),
    st.builds(VolumeImpact, st.decimals(0, "0.3", places=2), st.sampled_from(ImpactShape)),
)
delays = st.tuples(st.integers(0, 50), st.integers(0, 90)).map(
    lambda d: Latency(timedelta(seconds=d[0]), timedelta(seconds=d[0] + d[1]))
)
settings_of_engines = st.builds(
    MatchingSettings,
    fill_on_touch=st.booleans(),
    candle_path=st.sampled_from(CandlePath),
    candle_entry=st.sampled_from(CandleEntry),
    participation=st.one_of(st.none(), st.sampled_from([Decimal("0.1"), Decimal("0.33"), Decimal(1)])),
    fill_without_volume=st.sampled_from([None, True, False]),
    slippage=slippages,
    slip_beyond_candle=st.booleans(),
    latency=st.one_of(st.none(), delays),
    lot_sizes=st.sampled_from([{}, {}, {make.INFY: 7}]),
    tick_sizes=st.sampled_from([{}, {make.TCS: Decimal("0.15")}]),
)


@st.composite
def histories(draw: st.DrawFn, size_max: int = 30) -> list[tuple[str, Any]]:
    steps: list[tuple[str, Any]] = []
    now, count = make.AT, 0
    for number in range(draw(st.integers(1, size_max))):
        instrument = draw(instruments)
        match draw(st.sampled_from(["order", "order", "candle", "tick", "cancel", "modify"])):
            case "order":
                order_type = draw(st.sampled_from(OrderType))
                order = make.order(
                    str(number),
                    draw(st.sampled_from(Side)),
                    instrument=instrument,
                    quantity=draw(st.integers(1, 100)),
                    order_type=order_type,
                    validity=draw(st.sampled_from(Validity)),
                    limit_price=draw(prices) if order_type.has_limit else None,
                    trigger_price=draw(prices) if order_type.has_trigger else None,
                )
                at = now + timedelta(seconds=draw(st.integers(-60, 90)))
                steps.append((draw(st.sampled_from(["timed", "untimed"])), (order, at)))
            case "candle":
                low, *inner, high = sorted(draw(st.lists(prices, min_size=4, max_size=4)))
                opened, closed = draw(st.permutations(inner))
                end = draw(st.sampled_from([None, now + MINUTE]))
                volume = draw(volumes)
                row = make.candle(
                    opened, high, low, closed, instrument=instrument, start=now, volume=volume, end=end
                )
                steps.append(("candle", row))
                now += MINUTE
            case "tick":
                count = draw(st.sampled_from([count, count + draw(volumes), 3]))
                quotes = draw(st.one_of(st.just((None, None)), st.tuples(prices, prices).map(sorted)))
                look = make.tick(draw(prices), *quotes, at=now, instrument=instrument, volume=count)
                taker = make.buy_limit(draw(prices), str(number), quantity=20, instrument=instrument)
                steps.append(draw(st.sampled_from([("tick", look), ("tick", look), ("quote", (taker, look))])))
                now += timedelta(seconds=draw(st.integers(0, 40)))
            case kind:
                steps.append(
                    (kind, (str(draw(st.integers(0, number))), draw(st.integers(1, 120)), draw(prices)))
                )
    return steps

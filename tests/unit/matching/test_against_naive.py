"""The indexed engine and the naive one agree on everything; and what holds for both."""

import os
from collections import defaultdict
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given, settings
from msgspec.structs import replace

from pulse_domain.matching import (
    Filled,
    MatchingEngine,
    MatchingSettings,
    Modified,
    Result,
    Triggered,
    VenueOrder,
)
from pulse_domain.orders.model import Side
from tests.unit.matching import make
from tests.unit.matching.markets import histories, settings_of_engines
from tests.unit.matching.naive import NaiveEngine

EXAMPLES = int(os.environ.get("PULSE_EXAMPLES", "500"))

History = list[tuple[str, Any]]


def play(engine: Any, steps: History, terms: MatchingSettings) -> list[Any]:
    """Every step's results."""
    heard = []
    for kind, what in steps:
        match kind:
            case "candle":
                heard.append(engine.process_candle(what))
            case "tick":
                heard.append(engine.process_tick(what))
            case "quote":
                heard.append(engine.submit(*what))
            case "timed":
                heard.append(engine.submit(what[0], at=what[1]))
            case "untimed":
                heard.append(engine.submit(what[0], at=what[1] if terms.latency else None))
            case "cancel":
                heard.append(engine.cancel(what[0]))
            case "modify":
                heard.append(engine.modify(what[0], **what[1]))
    return heard


def allowed(steps: History, terms: MatchingSettings) -> History:
    """The history with changes that a venue takes: of what works, to more than has filled."""
    engine, steps = MatchingEngine(terms, rng=Random(7)), list(steps)
    for position, (kind, what) in enumerate(steps):
        if kind == "modify":
            order_id, quantity, limit_price = what
            changes: dict[str, Any] = {"quantity": quantity}
            for order in engine.working_orders():
                if order.order_id == order_id:
                    filled = order.quantity - engine.open_quantity(order_id)
                    changes["quantity"] = max(quantity, filled + 1)
                    if order.limit_price is not None:
                        changes["limit_price"] = limit_price
            steps[position] = kind, (order_id, changes)
        play(engine, [steps[position]], terms)
    return steps


def plain(result: Result) -> tuple[Any, ...]:
    kind = type(result).__name__
    match result:
        case Filled():
            return kind, result.order_id, result.quantity, result.price
        case Triggered():
            return kind, result.order_id, result.price
    return kind, result.order_id


@settings(max_examples=EXAMPLES)
@given(settings_of_engines, histories())
def test_the_indexed_engine_gives_what_the_naive_one_gives(terms, steps):
    steps = allowed(steps, terms)

    heard = play(MatchingEngine(terms, rng=Random(7)), steps, terms)

    naive = play(NaiveEngine(terms, Random(7)), steps, terms)
    assert [[plain(result) for result in results] for results in heard] == naive


@given(settings_of_engines, histories())
def test_nothing_fills_beyond_its_quantity_or_worse_than_its_limit(terms, steps):
    steps = allowed(steps, terms)
    orders: dict[str, VenueOrder] = {}
    filled: defaultdict[str, int] = defaultdict(int)

    heard = play(MatchingEngine(terms, rng=Random(7)), steps, terms)

    for (kind, what), results in zip(steps, heard, strict=True):
        if kind in ("timed", "untimed", "quote"):
            orders[what[0].order_id] = what[0]
        elif kind == "modify" and isinstance(results[0], Modified):
            orders[what[0]] = replace(orders[what[0]], **what[1])
        for fill in (result for result in results if isinstance(result, Filled)):
            order = orders[fill.order_id]
            filled[fill.order_id] += fill.quantity
            assert filled[fill.order_id] <= order.quantity
            if order.limit_price is not None:
                worse = fill.price > order.limit_price
                assert fill.price == order.limit_price or worse is (order.side is Side.SELL)


@given(settings_of_engines, histories())
def test_no_fill_lies_outside_its_candle_unless_slippage_may(terms, steps):
    heard = play(MatchingEngine(terms, rng=Random(7)), allowed(steps, terms), terms)

    for (kind, what), results in zip(steps, heard, strict=True):
        for fill in (result for result in results if kind == "candle" and isinstance(result, Filled)):
            beyond = terms.slip_beyond_candle and terms.slippage is not None
            assert beyond or what.low <= fill.price <= what.high


@given(settings_of_engines, histories())
def test_all_orders_together_stay_below_the_cap(terms, steps):
    terms = replace(terms, participation=Decimal("0.33"), fill_without_volume=False)
    steps = allowed([step for step in steps if step[0] not in ("tick", "quote")], terms)
    left = {make.INFY: 0, make.TCS: 0}

    heard = play(MatchingEngine(terms, rng=Random(7)), steps, terms)

    # What meets the close of a candle shares its volume with what filled in it.
    instruments = {what[0].order_id: what[0].instrument for kind, what in steps if kind in ("timed", "untimed")}
    for (kind, what), results in zip(steps, heard, strict=True):
        if kind == "candle":
            left[what.instrument] = int(Decimal("0.33") * what.volume)
        for fill in (result for result in results if isinstance(result, Filled)):
            left[instruments[fill.order_id]] -= fill.quantity
            assert left[instruments[fill.order_id]] >= 0


@given(settings_of_engines, histories())
def test_same_settings_seed_and_history_give_the_same_results(terms, steps):
    steps = allowed(steps, terms)
    first = play(MatchingEngine(terms, rng=Random(3)), steps, terms)

    assert play(MatchingEngine(terms, rng=Random(3)), steps, terms) == first

"""What a trustworthy state machine, splitter and Indian paper broker get right, and where each case is tested.

Files are those of `tests/unit`.

Order life cycle (the cases of the FIX order state change matrices):

L0  the reported status is derived, by precedence:
    domain/test_lifecycle_cases.py::test_the_highest_of_the_states_that_hold_is_reported
L1  a partial fill while a cancel is pending:
    domain/test_lifecycle_cases.py::test_a_partial_fill_while_a_cancel_is_pending_is_booked_and_stays_pending_cancel
L2  a full fill while a cancel is pending:
    domain/test_lifecycle_cases.py::test_a_full_fill_while_a_cancel_is_pending_is_filled_once_the_cancel_is_refused
L3  domain/test_lifecycle_cases.py::test_a_late_partial_fill_after_cancelled_is_booked_and_does_not_reopen
L4  domain/test_lifecycle_cases.py::test_a_late_fill_after_another_end_is_booked_and_flagged_and_the_state_stays
L5  domain/test_lifecycle_cases.py::test_an_overfill_is_booked_and_flagged_and_leaves_are_never_negative
    backtest/test_runner_facts.py::test_no_anomaly_is_flagged
L6  domain/test_lifecycle_cases.py::test_a_cancel_refused_while_a_stop_is_untriggered_leaves_it_trigger_pending
    domain/test_lifecycle_cases.py::test_a_cancel_refused_before_anything_but_the_id_is_known_leaves_it_open
    domain/test_lifecycle_cases.py::test_a_cancel_asked_before_the_acknowledgement_is_refused_only_after_it
L7  domain/test_lifecycle_cases.py::test_a_replace_refused_before_the_acknowledgement_leaves_what_the_facts_say
    domain/test_lifecycle_cases.py::test_a_replace_cannot_be_asked_before_the_broker_has_the_order
L8  domain/test_lifecycle_cases.py::test_an_acknowledgement_after_a_fill_is_stale_and_ignored
L9  domain/test_lifecycle_cases.py::test_the_same_fact_twice_changes_nothing
L10 domain/test_lifecycle_cases.py::test_a_replace_to_exactly_the_filled_quantity_is_filled
    domain/test_lifecycle_cases.py::test_a_replace_below_the_filled_quantity_is_amended_to_it
L11 domain/test_lifecycle_cases.py::test_until_a_replace_is_confirmed_the_original_quantity_holds
L12 domain/test_lifecycle_cases.py::test_a_second_replace_while_one_is_pending_is_refused_and_the_first_confirms
L13 domain/test_lifecycle_cases.py::test_a_busted_fill_falls_out_of_the_cumulative_quantity
    domain/test_lifecycle_cases.py::test_a_busted_fill_does_not_reopen_an_ended_order
L14 domain/test_lifecycle_cases.py::test_a_cancel_of_a_filled_order_is_refused_and_the_state_stays
    backtest/test_runner_cancel.py::test_a_filled_order_stays_as_it_is
L15 domain/test_lifecycle_cases.py::test_the_unfilled_part_of_ioc_ends_cancelled
    backtest/test_cases_backtest.py::test_l15_the_unfilled_part_of_ioc_ends_cancelled
L16 domain/test_lifecycle_cases.py::test_a_refused_event_leaves_the_value_byte_identical
    backtest/test_cases_backtest.py::test_l16_a_refused_order_leaves_the_run_as_it_was
L17 domain/test_lifecycle_cases.py::test_a_time_out_is_unknown
    domain/test_lifecycle_cases.py::test_an_unknown_order_is_neither_sent_again_nor_closed_on_a_guess
    The venue of a backtest always answers: nothing is ever unknown there.

Splitting faults seen elsewhere:

S1  splitting/test_schedules.py::test_750_of_lot_75_over_4_stays_on_the_lot_in_every_schedule
    backtest/test_bad_input.py::test_750_of_lot_75_over_4_stays_on_the_lot
S2  splitting/test_schedules.py::test_10000_over_3_is_cut_at_a_freeze_limit_of_1800_in_every_schedule
    backtest/test_bad_input.py::test_10000_over_3_is_cut_at_a_freeze_limit_of_1800_and_fills
    backtest/test_cases_backtest.py::test_s2_a_parent_whose_children_are_refused_is_not_filled
S3  splitting/test_schedules.py::test_fewer_lots_than_slices_are_refused_by_every_schedule
    backtest/test_bad_input.py::test_7_over_10_is_refused
    backtest/test_runner_cancel.py::test_a_start_long_before_the_arrival_is_refused_in_a_list
S4  splitting/test_schedules.py::test_1003_over_10_is_10_slices_in_every_schedule
    backtest/test_cases_backtest.py::test_s4_1003_over_10_is_10_slices
S5  splitting/test_schedules.py::test_a_horizon_of_three_tenths_of_a_second_keeps_its_last_step
S6  splitting/test_schedules.py::test_a_session_that_ends_in_mid_window_takes_all_slices_before_it
    backtest/test_runner_days.py::test_a_slice_after_the_close_expires_and_one_of_the_next_day_fills
    backtest/test_runner_days.py::test_every_order_comes_to_its_end
S7  backtest/test_runner_facts.py::test_every_journal_folds_and_its_quantities_add_up_at_every_entry
    backtest/test_cases_backtest.py::test_s7_a_child_that_is_cancelled_keeps_its_quantity_in_the_parent
S8  splitting/test_schedules.py::test_scheduling_leaves_the_process_wide_random_generator_alone
    backtest/test_runner_facts.py::test_the_same_input_gives_the_same_bytes_and_leaves_chance_alone

A paper broker:

P1  matching/test_ticks.py::test_market_order_takes_the_opposite_quote
    matching/test_ticks.py::test_market_order_takes_the_last_price_where_no_quote_is_known
    matching/test_slippage.py::test_slippage_is_against_the_order_and_on_the_grid
    matching/test_ticks.py::test_marketable_limit_fills_at_the_better_price
    matching/test_ticks.py::test_resting_limit_fills_when_the_price_trades_through_it
    matching/test_ticks.py::test_touching_the_limit_fills_where_configured
    backtest/test_cases_backtest.py::test_p1_ticks_fill_by_quote_through_and_touch
P2  matching/test_candles.py::test_limit_fills_inside_the_candle_or_at_the_open_beyond_it
    matching/test_candles.py::test_stop_fills_at_its_trigger_or_at_the_open_beyond_it
    backtest/test_cases_backtest.py::test_p2_limits_and_stops_on_candles
    backtest/test_runner_time.py::test_an_order_that_arrives_inside_a_candle_meets_the_next_one
    backtest/test_runner_time.py::test_an_order_sent_when_a_candle_has_closed_fills_at_its_close_if_told_so
P3  matching/test_volume_cap.py::test_the_rest_of_a_capped_order_stays_open_and_fills_later
    matching/test_volume_cap.py::test_candle_without_volume_fills_and_fires_nothing
    matching/test_volume_cap.py::test_candle_without_volume_fills_in_full_if_told_so
    backtest/test_cases_backtest.py::test_p3_a_share_of_the_volume_and_nothing_without_volume
P4  matching/test_ticks.py::test_stop_fires_at_or_beyond_its_trigger
    matching/test_ticks.py::test_stop_can_be_modified_before_it_fires
    backtest/test_runner_cancel.py::test_an_order_at_rest_is_cancelled
    backtest/test_cases_backtest.py::test_p4_stops_rest_as_trigger_pending_and_fire_in_their_direction
P5  matching/test_ticks.py::test_filled_order_does_not_fill_again
    backtest/test_cases_backtest.py::test_p5_an_order_that_comes_with_a_tick_fills_once
P6  matching/test_ticks.py::test_price_outside_its_own_day_range_fills_nothing
    Series keep no day range: what is bad in a file is dropped when it is read.
P7  matching/test_ticks.py::test_ioc_that_cannot_fill_is_cancelled
    matching/test_volume_cap.py::test_ioc_fills_what_it_can_and_cancels_the_rest
P8  account/test_funds.py::test_a_new_account_starts_with_the_configured_capital
    account/test_funds.py::test_initialising_twice_adds_no_money
P9  account/test_funds.py::test_blocking_more_than_available_is_refused_and_changes_nothing
    backtest/test_bad_input.py::test_an_order_that_cannot_be_paid_is_rejected_with_both_figures
P10 account/test_funds.py::test_buy_100_sell_50_sell_50_blocks_full_half_and_zero
    account/test_positions.py::test_the_average_of_two_buys_is_volume_weighted
    backtest/test_cases_backtest.py::test_p10_positions_block_full_half_and_zero
P11 account/test_funds.py::test_margin_of_a_resting_order_survives_an_unrelated_fill
    account/test_funds.py::test_a_cancel_returns_the_margin_exactly_once
    backtest/test_runner_cancel.py::test_cancelling_gives_the_money_back_at_once
    backtest/test_cases_backtest.py::test_p11_the_money_of_a_resting_order_survives_another_fill
P12 account/test_all_or_nothing.py::test_a_failure_at_any_point_changes_nothing_and_can_be_retried
P13 account/test_funds.py::test_two_simultaneous_placements_reserve_exactly_once_each
    backtest/test_runner_time.py::test_orders_of_one_instant_are_sent_in_the_order_of_the_list
P14 account/test_positions.py::test_a_delivery_sale_without_shares_is_refused_and_changes_nothing
    account/test_positions.py::test_a_delivery_sale_up_to_position_and_holdings_is_accepted
    account/test_positions.py::test_the_same_shares_cannot_be_sold_twice_in_a_day
    account/test_positions.py::test_an_intraday_short_sale_is_allowed
    backtest/test_bad_input.py::test_delivery_is_not_sold_short
    backtest/test_cases_backtest.py::test_p14_shares_bought_and_held_are_sold_once
P15 domain/test_order_request.py::test_a_quantity_off_the_lot_is_refused_by_name
    domain/test_order_request.py::test_a_price_off_the_tick_is_refused_by_name_with_the_nearest_prices
    domain/test_splitting.py::test_a_slice_above_the_freeze_quantity_becomes_several_orders
    virtual/test_exchange.py::test_orders_that_break_a_rule_are_refused
    The error types of a real broker are a matter of its adapter.
P16 backtest/test_runner_days.py::test_from_the_hour_on_no_intraday_position_is_opened
    backtest/test_runner_days.py::test_from_the_hour_on_a_position_may_be_reduced_but_not_turned
    backtest/test_runner_days.py::test_what_works_intraday_is_cancelled_and_what_waits_is_withdrawn
    backtest/test_runner_days.py::test_intraday_positions_are_closed_at_the_hour
    backtest/test_runner_days.py::test_a_missed_hour_is_caught_up_on_the_next_day
P17 backtest/test_cases_backtest.py::test_p17_orders_of_a_contract_that_has_expired_give_their_money_back
    The library knows no expiry: every order ends with its day, and nothing fills without prices.
P18 matching/test_properties.py::test_a_pass_over_orders_out_of_reach_does_not_grow_with_their_number
P19 faults of a broker are those of the virtual one: its exchange is no part of a backtest:
    virtual/test_faults.py::test_lost_call_ends_at_its_timeout
    virtual/test_faults.py::test_hidden_order_appears_late
    virtual/test_faults.py::test_doubled_and_lost_updates
P20 a run has no restart; that nothing is sent twice after a crash is a matter of the store and the use cases:
    use_cases/test_placing_at_most_once.py::test_crash_between_send_and_record_is_found_by_its_tag
"""

import ast
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pulse_domain.account import Holding
from pulse_domain.backtest import CandleSeries
from pulse_domain.errors import OffTick
from pulse_domain.orders import events as ev
from pulse_domain.orders.journal import replay
from pulse_domain.orders.model import Product, Side, Validity
from pulse_domain.orders.status import ExecutionStatus
from tests.unit.backtest import make
from tests.unit.backtest.make import OnCandles, at, timed
from tests.unit.backtest.test_runner_facts import accepted

BUY, SELL = Side.BUY, Side.SELL
TENTH = {"participation": Decimal("0.1")}
UNIT = Path(__file__).parent.parent

NAMED = [line.split()[-1] for line in (__doc__ or "").splitlines() if "::" in line]
CASES = [f"L{n}" for n in range(18)] + [f"S{n}" for n in range(1, 9)] + [f"P{n}" for n in range(1, 21)]


def test_every_case_is_in_the_list():
    listed = [
        line.split()[0] for line in (__doc__ or "").splitlines() if line[:1] in "LSP" and line[1:2].isdigit()
    ]

    assert listed == CASES


@pytest.mark.parametrize("file", sorted({name.partition("::")[0] for name in NAMED}))
def test_the_tests_of_the_list_exist(file):
    tree = ast.parse((UNIT / file).read_text(encoding="utf-8"))
    tests = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}

    named = {name.partition("::")[2] for name in NAMED if name.startswith(f"{file}::")}
    assert named <= tests


# --- order life cycle --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "matching", "filled", "state"),
    [
        (timed("09:15", quantity=150, validity=Validity.IOC), TENTH, 100, "PARTIALLY_FILLED"),
        (timed("09:15", quantity=150, limit=101, validity=Validity.IOC), TENTH, 100, "PARTIALLY_FILLED"),
        (timed("09:15", limit=99, validity=Validity.IOC), TENTH, 0, "CANCELLED"),
        (timed("09:15", limit=99, validity=Validity.IOC), {}, 0, "CANCELLED"),
        (timed("09:15", limit=100, validity=Validity.IOC), {}, 0, "CANCELLED"),
        (timed("09:15", limit=100, validity=Validity.IOC), {"fill_on_touch": True}, 10, "FILLED"),
    ],
)
def test_l15_the_unfilled_part_of_ioc_ends_cancelled(order, matching, filled, state):
    # The low would fill a limit at 99 that works on.
    result = make.run([order], make.series((100, 100, 90, 100), (100, 100, 90, 100)), matching=matching)

    order = result.orders[0]
    assert (order.summary.state, order.summary.quantities.filled) == (state, filled)
    assert make.ends(order) == [None if state == "FILLED" else "CANCELLED"]
    assert order.journal[-1].at == at("09:16")


def test_l16_a_refused_order_leaves_the_run_as_it_was():
    def refused(it):
        with pytest.raises(OffTick):
            it.send(limit="100.03", quantity=7)

    def without(it):
        pass

    runs = []
    for step in (refused, without):
        strategy = OnCandles({0: lambda it: it.send(), 1: step, 2: lambda it: it.send(SELL)})
        runs.append(make.run(strategy, make.series(*range(100, 108))))

    assert runs[0].to_json() == runs[1].to_json()


# --- splitting faults --------------------------------------------------------------------------


def test_s2_a_parent_whose_children_are_refused_is_not_filled():
    order = timed("09:15", quantity=300, split_config=make.split(3, 2))

    nothing = make.run([order], make.series(100, 100, 100, 100), capital=Decimal(5000)).orders[0]
    a_part = make.run([order], make.series(100, 100, 100, 100), capital=Decimal(15_000)).orders[0]

    assert make.ends(nothing) == ["REJECTED"] * 3
    assert (nothing.summary.state, nothing.summary.quantities.failed) == ("REJECTED", 300)
    assert make.ends(a_part) == [None, "REJECTED", "REJECTED"]
    assert (a_part.summary.state, a_part.summary.quantities.filled) == ("PARTIALLY_FILLED", 100)


@pytest.mark.parametrize("randomize", [True, False])
def test_s4_1003_over_10_is_10_slices(randomize):
    order = timed("09:15", quantity=1003, split_config=make.split(10, 9, randomize=randomize))

    result = make.run([order], make.series(*[100] * 12))

    assert len(result.orders) == 1
    assert len(result.orders[0].slices) == 10
    assert sum(fill.quantity for fill in result.fills) == 1003


def test_s7_a_child_that_is_cancelled_keeps_its_quantity_in_the_parent():
    strategy = OnCandles(
        {
            0: lambda it: it.send(quantity=30, limit=50, split_config=make.split(3, 4)),
            3: lambda it: it.cancel(it.keys[0]),
        }
    )

    result = make.run(strategy, make.series(*[100] * 8))

    order = result.orders[0]
    assert make.ends(order) == ["CANCELLED", "CANCELLED", "WITHDRAWN"]
    assert order.summary.quantities.total == order.summary.quantities.cancelled == 30


# --- a paper broker ----------------------------------------------------------------------------


def test_p1_ticks_fill_by_quote_through_and_touch():
    data = make.ticks(
        ("09:15:00", 100, 99, 101), ("09:15:01", 100, 99, 101), ("09:15:02", 98), ("09:15:03", 97)
    )
    orders = [
        timed("09:15:01", key="market"),
        timed("09:15:01", SELL, key="market sale"),
        timed("09:15:01", limit=103, key="marketable"),
        timed("09:15:01", limit=98, key="touched, then through"),
        timed("09:15:01", limit=97, key="touched"),
    ]

    plain, touched = [make.run(orders, data, matching={"fill_on_touch": touch}) for touch in (False, True)]

    prices: dict[str, Any] = {fill.order_unique_key: fill.price for fill in plain.fills}
    assert (prices["market"], prices["market sale"], prices["marketable"]) == (101, 99, 101)
    assert {fill.order_unique_key: make.clock(fill.at) for fill in plain.fills} == {
        "market": "09:15:01",
        "market sale": "09:15:01",
        "marketable": "09:15:01",
        "touched, then through": "09:15:03",
    }
    assert {fill.order_unique_key: make.clock(fill.at) for fill in touched.fills} == {
        "market": "09:15:01",
        "market sale": "09:15:01",
        "marketable": "09:15:01",
        "touched, then through": "09:15:02",
        "touched": "09:15:03",
    }


@pytest.mark.parametrize(
    ("order", "fill"),
    [
        ({"limit": 99}, ("09:16", 99)),  # the low goes through it
        ({"limit": 98}, None),  # the low touches it
        ({"limit": 105}, ("09:16", 101)),  # it opens through it
        ({"trigger": 103}, ("09:16", 103)),
        ({"trigger": 101}, ("09:16", 101)),  # equality fires
        ({"trigger": 104}, ("09:16", 104)),  # the high touches it
        ({"trigger": 105}, ("09:17", 107)),  # gaps: the open, not the trigger
        ({"trigger": 200}, None),
    ],
)
def test_p2_limits_and_stops_on_candles(order, fill):
    rows = [(100, 100, 100, 100), (101, 104, 98, 102), (107, 108, 106, 107)]

    result = make.run([timed("09:15:30", **order)], make.series(*rows))

    assert [(make.clock(it.at), it.price) for it in result.fills] == ([fill] if fill else [])


def test_p3_a_share_of_the_volume_and_nothing_without_volume():
    data = make.series(*[100] * 5, volume=[100, 0, 55, 1000, 1000])
    order = timed("09:15", quantity=20)

    capped = make.run([order], data, matching=TENTH)
    told_so = make.run([order], data, matching=TENTH | {"fill_without_volume": True})

    assert [(row[0], row[1]) for row in make.rows(capped.fills)] == [("09:15", 10), ("09:17", 5), ("09:18", 5)]
    assert [(row[0], row[1]) for row in make.rows(told_so.fills)] == [("09:15", 10), ("09:16", 10)]


@pytest.mark.parametrize(
    ("side", "trigger", "limit", "fires"),
    [
        (BUY, "103.05", None, True),
        (BUY, "103.10", None, False),
        (SELL, "96.95", None, True),
        (SELL, "96.90", None, False),
        (BUY, "103.05", "104", True),
        (SELL, "96.95", "96", True),
    ],
)
def test_p4_stops_rest_as_trigger_pending_and_fire_in_their_direction(side, trigger, limit, fires):
    data = make.series(100, (100, "103.05", "96.95", 100), 100)

    result = make.run([timed("09:15:30", side, trigger=trigger, limit=limit)], data)

    order = result.orders[0]
    places = [n for n, it in enumerate(order.journal) if isinstance(it.event, ev.ExecutionResting)]
    pending = replay(accepted(order, result), order.journal[: places[0] + 1]).slices[0].executions[0]
    assert pending.status is ExecutionStatus.TRIGGER_PENDING
    assert (len(places) == 2) is fires
    assert order.summary.state == ("FILLED" if fires else "EXPIRED")
    if fires:
        assert order.fills[0].price == Decimal(trigger)


def test_p5_an_order_that_comes_with_a_tick_fills_once():
    data = make.ticks(
        ("09:15:00", 100), ("09:15:01", 101), ("09:15:01", 101), ("09:15:01", 102), ("09:15:02", 103)
    )

    result = make.run([timed("09:15:01"), timed("09:15:01", limit=110), timed("09:15:01", trigger=90)], data)

    assert make.rows(result.fills) == [("09:15:01", 10, Decimal(101))] * 3


def test_p10_positions_block_full_half_and_zero():
    blocked = []
    strategy = OnCandles(
        {0: lambda it: it.send(quantity=100), 1: lambda it: it.send(SELL, 50), 2: lambda it: it.send(SELL, 50)},
        on_update=lambda it, update: blocked.append(Decimal(20_000) - it.desk.cash()),
    )

    make.run(strategy, make.series(*[100] * 6), capital=Decimal(20_000))

    assert blocked == [10_000, 5000, 0]


def test_p10_the_average_of_two_purchases_is_volume_weighted():
    result = make.run([timed("09:15", quantity=100), timed("09:16", quantity=50)], make.series(100, 103, 103))

    assert result.positions[0].average_price == 101


def test_p11_the_money_of_a_resting_order_survives_another_fill():
    seen = []
    strategy = OnCandles(
        {
            0: lambda it: [it.send(limit=50), it.send(instrument=make.TCS)],
            1: lambda it: seen.append(it.desk.cash()),
            4: lambda it: it.cancel(it.keys[0]),
            6: lambda it: seen.append(it.desk.cash()),
        }
    )

    make.run(
        strategy, [make.series(*[100] * 6), make.series(*[20] * 6, instrument=make.TCS)], capital=Decimal(1000)
    )

    # 500 for the limit, 200 for what was bought; each candle is told once for each instrument.
    assert seen == [300, 800]


def test_p14_shares_bought_and_held_are_sold_once():
    held = Holding(instrument=make.INFY, quantity=10, average_price=Decimal(90))
    orders = [
        timed("09:15", quantity=5, product=Product.CNC),
        timed("09:17", SELL, quantity=16, product=Product.CNC, key="more than there is"),
        timed("09:17", SELL, quantity=15, product=Product.CNC, key="all"),
        timed("09:18", SELL, quantity=1, product=Product.CNC, key="again"),
        timed("09:18", SELL, quantity=1, key="intraday"),
    ]

    result = make.run(orders, make.series(*[100] * 6), holdings=(held,))

    assert {order.order_unique_key: str(order.summary.state) for order in result.orders[1:]} == {
        "more than there is": "REJECTED",
        "all": "FILLED",
        "again": "REJECTED",
        "intraday": "FILLED",
    }


def test_p17_orders_of_a_contract_that_has_expired_give_their_money_back():
    rows = [*make.bars(*[100] * 5), *make.bars(*[100] * 5, start=at("09:15", day=6))]
    orders = [
        timed("09:16", instrument=make.FUTURE, limit=50),
        timed("09:16", instrument=make.FUTURE, trigger=150),
        timed(at("09:16", day=6), instrument=make.FUTURE),
    ]

    result = make.run(
        orders,
        [
            CandleSeries.from_candles(rows, interval=make.MINUTE),
            make.series(*[100] * 5, instrument=make.FUTURE),
        ],
        capital=Decimal(3000),
    )

    assert make.states(result) == ["EXPIRED"] * 3
    assert result.funds.cash == 3000
    assert result.funds.blocked_for_orders == 0

"""A check that never fails proves nothing: each rule of the promise is broken here once, and found."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from pulse_domain.orders import events as ev
from pulse_domain.orders.journal import replay
from tests.promise import invariants
from tests.promise.invariants import Acknowledged, BrokerRow, Freeze, Halt, StoredOrder, Violation
from tests.unit.domain import factories as make

SLACK = timedelta(seconds=1)
ACCEPTED = ev.OrderAccepted(instrument="NSE:RELIANCE", side="BUY", total_quantity=100, source="api")
TAG = "PL000000000000000000"
FILLED = (make.claimed(), make.accepted(), make.filled(100), make.completed())
ROW = BrokerRow(tag=TAG, broker_order_id="B1", quantity=100, filled=100, accepted_at=make.at(4))


def stored(*events: Any, before: tuple[Any, ...] = ()) -> StoredOrder:
    """An order of one slice of 100, with what happened to it; its rows are a second apart."""
    order = make.order()
    journal = make.journal([ACCEPTED, *before, make.split_claimed(), make.plan((100,)), *events])
    history = replay(order, journal)
    return StoredOrder(order=history.order, slices=history.slices, journal=journal)


SOUND = stored(*FILLED)


def rules(found: list[Violation]) -> set[str]:
    return {each.rule for each in found}


def told(stored_order: StoredOrder, **changes: Any) -> Acknowledged:
    order = stored_order.order
    known = Acknowledged(
        client_id=order.client_id, order_unique_key=order.order_unique_key, order_id=order.order_id
    )
    return replace(known, **changes)


def everything(order: StoredOrder, *rows: BrokerRow) -> list[Violation]:
    return [
        *invariants.lost_orders([told(order)], [order]),
        *invariants.doubled_at_broker([order], rows, tag_prefix="PL"),
        *invariants.untold_by_broker([order], rows),
        *invariants.sent_out_of_time([order], rows, slack=SLACK),
        *invariants.claimed_after_cancel([order], {}),
        *invariants.claimed_while_halted([order], []),
        *invariants.stale_decisions([order]),
        *invariants.unfaithful_journals([order]),
        *invariants.undone([order]),
    ]


def test_a_sound_order_breaks_nothing() -> None:
    assert everything(SOUND, ROW) == []


def test_an_order_that_was_lost_or_is_another_ones_is_found() -> None:
    assert rules(invariants.lost_orders([told(SOUND)], [])) == {"ACKNOWLEDGED_EXISTS"}
    assert rules(invariants.lost_orders([told(SOUND, order_unique_key="other")], [SOUND])) == {
        "ACKNOWLEDGED_EXISTS"
    }


def test_two_orders_of_one_key_are_found() -> None:
    other = replace(SOUND, order=replace(SOUND.order, order_id=make.ORDER_ID[:-1] + "0"))
    assert rules(invariants.lost_orders([], [SOUND, other])) == {"ONE_ORDER_PER_KEY"}


def test_an_order_that_was_refused_and_is_there_is_found() -> None:
    key = (SOUND.order.client_id, SOUND.order.order_unique_key)
    assert rules(invariants.revived_refusals({key}, [SOUND])) == {"REFUSED_DOES_NOT_EXIST"}
    assert invariants.revived_refusals({("desk", "other")}, [SOUND]) == []


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        ((ROW, replace(ROW, broker_order_id="B2")), "AT_MOST_ONCE"),
        ((replace(ROW, quantity=101),), "AT_MOST_ONCE"),
        ((ROW, replace(ROW, tag="PLNOBODYS")), "NOTHING_OF_NOBODY"),
    ],
)
def test_a_second_order_for_a_tag_too_large_a_one_and_one_of_nobody_are_found(
    rows: tuple[BrokerRow, ...], rule: str
) -> None:
    assert rules(invariants.doubled_at_broker([SOUND], rows, tag_prefix="PL")) == {rule}


def test_orders_of_other_systems_are_nobodys_business() -> None:
    assert (
        invariants.doubled_at_broker(
            [SOUND], [ROW, replace(ROW, tag="XX1"), replace(ROW, tag="")], tag_prefix="PL"
        )
        == []
    )


@pytest.mark.parametrize("rows", [(), (replace(ROW, filled=99),), (replace(ROW, broker_order_id="B2"),)])
def test_what_we_hold_and_the_broker_does_not_is_found(rows: tuple[BrokerRow, ...]) -> None:
    assert rules(invariants.untold_by_broker([SOUND], rows)) == {"SAME_AS_THE_BROKER"}


def test_a_claim_before_its_instant_or_after_its_window_is_found() -> None:
    early = replace(SOUND, slices=[replace(SOUND.slices[0], scheduled_at=make.at(5))])
    late_execution = replace(SOUND.slices[0].executions[0], expires_at=make.at(3))
    late = replace(SOUND, slices=[replace(SOUND.slices[0], executions=(late_execution,))])
    assert rules(invariants.sent_out_of_time([early], [], slack=SLACK)) == {"INSIDE_ITS_WINDOW"}
    assert rules(invariants.sent_out_of_time([late], [], slack=SLACK)) == {"INSIDE_ITS_WINDOW"}


def test_an_order_that_came_without_a_claim_or_after_its_lease_is_found_but_for_frozen_time() -> None:
    unclaimed = stored(make.accepted(), make.filled(100))
    after_lease = replace(ROW, accepted_at=make.at(40))  # the lease runs to 30
    frozen = [Freeze(began_at=make.at(10), ended_at=make.at(39))]
    assert rules(invariants.sent_out_of_time([unclaimed], [ROW], slack=SLACK)) == {"SENT_UNDER_A_LEASE"}
    assert rules(invariants.sent_out_of_time([SOUND], [after_lease], slack=SLACK)) == {"SENT_UNDER_A_LEASE"}
    assert invariants.sent_out_of_time([SOUND], [after_lease], slack=SLACK, freezes=frozen) == []
    # Two that overlap are not twice the time.
    short = [
        Freeze(began_at=make.at(10), ended_at=make.at(15)),
        Freeze(began_at=make.at(11), ended_at=make.at(16)),
    ]
    assert rules(invariants.sent_out_of_time([SOUND], [after_lease], slack=SLACK, freezes=short)) == {
        "SENT_UNDER_A_LEASE"
    }


def test_an_order_at_the_broker_after_its_window_is_found() -> None:
    late = replace(ROW, accepted_at=make.at(3700))
    assert "INSIDE_ITS_WINDOW" in rules(invariants.sent_out_of_time([SOUND], [late], slack=SLACK))


def test_a_claim_or_a_split_after_a_cancel_is_found() -> None:
    wish = ev.CancelRequested(requested_by="desk")
    assert rules(invariants.claimed_after_cancel([stored(wish, *FILLED)], {})) == {"NOTHING_AFTER_CANCEL"}
    assert rules(invariants.claimed_after_cancel([stored(before=(wish,))], {})) == {"NOTHING_AFTER_CANCEL"}
    assert invariants.claimed_after_cancel([stored(make.claimed(), wish)], {}) == []


def test_a_cancel_that_was_acknowledged_and_is_not_on_record_is_found() -> None:
    wish = ev.CancelRequested(requested_by="desk")  # stored as row 4
    acknowledged: dict[str, datetime] = {SOUND.order.order_id: make.at(5)}
    assert rules(invariants.claimed_after_cancel([SOUND], acknowledged)) == {"CANCEL_IS_KEPT"}
    assert invariants.claimed_after_cancel([stored(wish)], acknowledged) == []
    early: dict[str, datetime] = {SOUND.order.order_id: make.at(3)}
    assert rules(invariants.claimed_after_cancel([stored(wish)], early)) == {"CANCEL_IS_KEPT"}


def test_a_claim_while_trading_is_halted_is_found() -> None:
    assert rules(invariants.claimed_while_halted([SOUND], [Halt(began_at=make.at(3))])) == {
        "NOTHING_WHILE_HALTED"
    }
    over = Halt(began_at=make.at(1), ended_at=make.at(4))
    assert invariants.claimed_while_halted([SOUND], [over, Halt(began_at=make.at(4))]) == []


def test_a_claim_while_an_order_is_paused_and_a_pause_that_is_not_on_record_are_found() -> None:
    pause, resume = ev.OrderPaused(paused_by="asha"), ev.OrderResumed(resumed_by="asha")
    order_id = SOUND.order.order_id
    held = stored(pause, make.claimed())
    assert rules(invariants.claimed_while_paused([held], {})) == {"NOTHING_WHILE_PAUSED"}
    assert rules(invariants.claimed_while_paused([SOUND], {order_id: 1})) == {"PAUSE_IS_KEPT"}
    assert invariants.claimed_while_paused([stored(pause, resume, *FILLED)], {order_id: 1}) == []


@pytest.mark.parametrize(
    "events",
    [
        (make.claimed(), make.claimed(2)),
        (make.claimed(2),),
        (make.claimed(), make.released(), make.failed()),
        (make.claimed(), make.released(), make.claimed(2), make.unanswered(1)),
    ],
)
def test_decisions_of_a_stale_owner_are_found(events: tuple[Any, ...]) -> None:
    order = replace(SOUND, journal=make.journal([make.split_claimed(), make.plan((100,)), *events]))
    assert rules(invariants.stale_decisions([order])) == {"NO_STALE_DECISION"}


def test_a_gap_in_the_journal_and_another_state_than_it_tells_are_found() -> None:
    gap = replace(SOUND, journal=[*SOUND.journal[:3], *SOUND.journal[4:]])
    other_order = replace(SOUND, order=replace(SOUND.order, failure="?"))
    other_slice = replace(SOUND, slices=[replace(SOUND.slices[0], quantity=99)])
    no_slice = replace(SOUND, slices=[])
    impossible = replace(SOUND, journal=make.journal([make.plan((100,))]))
    assert rules(invariants.unfaithful_journals([gap])) == {"JOURNAL_HAS_NO_GAPS"}
    for order in (other_slice, no_slice, impossible):
        assert rules(invariants.unfaithful_journals([order])) == {"JOURNAL_REPLAYS"}
    # What was taken off comes back by the journal only.
    assert rules(invariants.unfaithful_journals([other_order])) == {"JOURNAL_REPLAYS"}


def test_quantities_that_do_not_add_up_are_found() -> None:
    plan = make.plan((99,))
    journal = make.journal([ACCEPTED, make.split_claimed(), plan])
    history = replay(make.order(), journal)
    order = StoredOrder(order=history.order, slices=history.slices, journal=journal)
    assert rules(invariants.unfaithful_journals([order])) == {"QUANTITIES_ADD_UP"}


def test_orders_that_are_not_done_or_that_nobody_knows_the_fate_of_are_found() -> None:
    unknown = stored(make.claimed(), make.unanswered())
    given_up = stored(make.claimed(), make.unanswered(), make.unresolved())
    assert rules(invariants.undone([unknown])) == {"DONE_AFTER_THE_DEADLINE"}
    assert rules(invariants.undone([given_up])) == {"RESOLVED"}
    assert invariants.undone([given_up], unresolved_allowed=True) == []


def test_a_violation_says_whose_it_is() -> None:
    said = str(Violation(rule="AT_MOST_ONCE", order_id="ord_1", tag=TAG, text="twice"))
    assert said == f"AT_MOST_ONCE: ord_1 {TAG} twice"

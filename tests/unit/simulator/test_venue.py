"""The venue: life cycles, money, ends of days."""

from datetime import timedelta
from decimal import Decimal

import pytest

from pulse_adapters.simulator.entries import (
    CancelAsked,
    ChangeAsked,
    Converted,
    Expired,
    Rolled,
    SessionChanged,
    Ticked,
)
from pulse_adapters.simulator.values import (
    Doom,
    Iceberg,
    Record,
    RefusalCode,
    Refused,
    Status,
    Terms,
)
from pulse_adapters.simulator.values import Stage as Refuser
from pulse_adapters.simulator.venue import trading_day
from pulse_domain.account import Holding
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from tests.unit.simulator.make import CRUDE, INFY, START, Stage, ask, limit, tick

STEPS = (10, 20, 30)
NO = Doom(stage=Refuser.EXCHANGE, message="no", raw_message="NO")


def statuses(record: Record) -> list[Status]:
    return [snap.status for snap in record.snaps]


def cancel(stage: Stage, record: Record, **more: object) -> None:
    stage.apply(CancelAsked(at=stage.later(), order_id=record.order_id, **more))  # type: ignore[arg-type]


def change(stage: Stage, record: Record, terms: Terms, **more: object) -> None:
    stage.apply(ChangeAsked(at=stage.later(), order_id=record.order_id, terms=terms, **more))  # type: ignore[arg-type]


def test_the_way_to_the_exchange_shows_as_time_passes() -> None:
    stage = Stage()
    record = stage.place(ask(), steps_ms=STEPS)
    at = record.placed_at

    def seen(milliseconds: int) -> Status:
        return record.view(at + timedelta(milliseconds=milliseconds)).status

    assert [seen(ms) for ms in (0, 9, 10, 29, 30, 500)] == [
        Status.RECEIVED, Status.RECEIVED, Status.VALIDATING, Status.VALIDATING, Status.SENDING, Status.SENDING,
    ]  # fmt: skip
    assert record.due == at + timedelta(milliseconds=60)
    assert stage.venue.next_due() == record.due


def test_money_is_blocked_on_acceptance_and_given_back_on_every_end() -> None:
    stage = Stage()
    free = stage.venue.money.funds.cash
    cancelled = stage.rested()
    rejected = stage.place(ask(), doom=NO)
    blocked = free - stage.venue.money.funds.cash
    cancel(stage, cancelled)
    stage.arrive(cancelled)
    stage.arrive(rejected)

    assert blocked == 2 * 10 * 1400 * Decimal("0.2")
    assert (cancelled.status, rejected.status) == (Status.CANCELLED, Status.REJECTED)
    assert stage.venue.money.funds.cash == free
    stage.venue.check()


def test_what_cannot_be_paid_is_refused_and_leaves_no_trace() -> None:
    stage = Stage(capital=1000)
    before = stage.venue.state()

    with pytest.raises(Refused) as refused:
        stage.place(ask(limit(quantity=1000)))

    assert refused.value.code is RefusalCode.FUNDS
    assert stage.venue.state() == before


def test_a_refusal_by_risk_management_has_no_exchange_number() -> None:
    stage = Stage()
    by_risk = stage.arrive(stage.place(ask(), doom=Doom(stage=Refuser.RISK, message="no", raw_message="NO")))
    by_exchange = stage.arrive(stage.place(ask(), doom=NO))

    assert by_risk.exchange_order_id is None
    assert by_exchange.exchange_order_id is not None
    assert (by_exchange.snaps[-1].message, by_exchange.snaps[-1].raw_message) == ("no", "NO")


def test_an_order_that_fills_before_its_cancellation_arrives_is_complete() -> None:
    stage = Stage()
    record = stage.rested()
    cancel(stage, record, steps_ms=STEPS)
    stage.apply(Ticked(at=stage.later(0.01), tick=tick(1390)))

    assert record.status is Status.COMPLETE
    assert (record.errand, record.due) == (None, None)
    assert stage.venue.take_due(stage.later(60)) == []


def test_a_part_that_fills_during_a_modification_stays_filled() -> None:
    stage = Stage(participation=Decimal("0.5"))
    record = stage.rested(ask(limit(100)))
    stage.apply(Ticked(at=stage.later(), tick=tick(1500, volume=100)))
    change(stage, record, limit(80), steps_ms=STEPS)
    stage.apply(Ticked(at=stage.later(0.005), tick=tick(1390, volume=160)))
    filling = record.view(stage.now)
    stage.arrive(record)

    assert (filling.status, filling.filled, filling.terms.quantity) == (Status.MODIFY_VALIDATING, 30, 100)
    assert (record.terms.quantity, record.filled, record.status) == (80, 30, Status.OPEN)
    stage.venue.check()


def test_a_modification_below_what_has_filled_leaves_the_order_as_it_was() -> None:
    stage = Stage(participation=Decimal("0.5"))
    record = stage.rested(ask(limit(100)))
    stage.apply(Ticked(at=stage.later(), tick=tick(1500, volume=100)))
    change(stage, record, limit(20), steps_ms=STEPS)
    stage.apply(Ticked(at=stage.later(0.01), tick=tick(1390, volume=160)))
    stage.arrive(record)

    assert (record.terms.quantity, record.filled, record.status) == (100, 30, Status.OPEN)
    assert "30 have been filled" in (record.snaps[-1].message or "")


def test_a_stop_can_become_a_limit_order() -> None:
    stage = Stage()
    stop = Terms(quantity=10, order_type=OrderType.SL, limit_price=Decimal(1610), trigger_price=Decimal(1600))
    record = stage.rested(ask(stop))
    waiting = record.status
    change(stage, record, limit(10, 1450))
    stage.arrive(record)
    resting = record.status
    stage.apply(Ticked(at=stage.later(), tick=tick(1449)))

    assert (waiting, resting, record.status) == (Status.TRIGGER_PENDING, Status.OPEN, Status.COMPLETE)


def test_a_fired_stop_is_an_open_limit_order_and_can_be_changed() -> None:
    stage = Stage()
    stop = Terms(quantity=10, order_type=OrderType.SL, limit_price=Decimal(1600), trigger_price=Decimal(1600))
    record = stage.rested(ask(stop))
    stage.apply(Ticked(at=stage.later(), tick=tick(1650)))
    fired = record.status
    change(
        stage,
        record,
        Terms(quantity=10, order_type=OrderType.SL, limit_price=Decimal(1660), trigger_price=Decimal(1600)),
    )
    stage.arrive(record, 1655)

    assert (fired, record.status) == (Status.OPEN, Status.COMPLETE)
    assert record.average_price == 1655


def test_changes_are_taken_only_at_rest() -> None:
    stage = Stage()
    travelling = stage.place(ask(), steps_ms=STEPS)

    for entry in (
        CancelAsked(at=stage.now, order_id=travelling.order_id),
        ChangeAsked(at=stage.now, order_id=travelling.order_id, terms=limit()),
    ):
        with pytest.raises(Refused) as refused:
            stage.apply(entry)
        assert refused.value.code is RefusalCode.NOT_OPEN
    with pytest.raises(Refused) as unknown:
        stage.apply(CancelAsked(at=stage.now, order_id="1"))
    assert unknown.value.code is RefusalCode.NOT_FOUND


def test_the_26th_change_is_refused() -> None:
    stage = Stage()
    record = stage.rested()
    for price in range(1300, 1325):
        change(stage, record, limit(10, price))
        stage.arrive(record)

    with pytest.raises(Refused) as refused:
        change(stage, record, limit(10, 1350))
    assert refused.value.code is RefusalCode.TOO_MANY_CHANGES
    assert record.status is Status.OPEN


def test_the_rest_of_an_ioc_order_is_cancelled() -> None:
    stage = Stage()
    record = stage.rested(ask(limit(validity=Validity.IOC)))

    assert (record.status, record.snaps[-1].cancelled) == (Status.CANCELLED, 10)


def test_an_order_expires_after_its_time() -> None:
    stage = Stage()
    record = stage.rested(ask(ttl_minutes=2))
    expires_at = record.expires_at
    ((due, found),) = stage.venue.take_due(stage.later(120))
    stage.apply(Expired(at=stage.now, order_id=record.order_id))

    assert (due, found) == (expires_at, record)
    assert record.status is Status.CANCELLED


def test_a_leg_without_money_is_in_the_book_as_rejected() -> None:
    stage = Stage(capital=3_000)
    iceberg = Iceberg(leg=1, legs=3, leg_quantity=10, total_quantity=30)
    first = stage.rested(ask(limit(10, 1500), iceberg=iceberg, product=Product.MIS))
    last = list(stage.venue.records.values())[-1]

    assert first.status is Status.COMPLETE
    assert last is not first
    assert (last.status, last.ask.iceberg and last.ask.iceberg.leg) == (Status.REJECTED, 2)
    assert "Insufficient funds" in (last.snaps[-1].message or "")


def test_a_cancelled_leg_ends_the_iceberg() -> None:
    stage = Stage()
    iceberg = Iceberg(leg=1, legs=3, leg_quantity=10, total_quantity=30)
    record = stage.rested(ask(iceberg=iceberg))
    cancel(stage, record)
    stage.arrive(record)

    assert list(stage.venue.records.values()) == [record]


def test_the_second_leg_of_a_cover_order_stops_the_position() -> None:
    stage = Stage()
    first = stage.rested(ask(limit(10, 1501), variety="co", label="CO", cover_trigger=Decimal(1450)))
    second = stage.venue.records[first.child_id or ""]
    stage.arrive(second)
    waiting = second.status
    stage.apply(Ticked(at=stage.later(), tick=tick(1449)))

    assert (waiting, second.status, second.ask.side) == (Status.TRIGGER_PENDING, Status.COMPLETE, Side.SELL)
    assert second.ask.parent_id == first.order_id
    assert stage.venue.money.position(INFY, Product.MIS).quantity == 0


def test_an_after_market_order_waits_and_can_be_changed_meanwhile() -> None:
    stage = Stage()
    stage.apply(SessionChanged(at=stage.later(), is_open=False))
    record = stage.place(ask(variety="amo"))
    change(stage, record, limit(20))
    waiting = record.status
    stage.apply(SessionChanged(at=stage.later(), is_open=True))
    stage.arrive(record)

    assert (waiting, record.status, record.terms.quantity) == (Status.AMO_RECEIVED, Status.OPEN, 20)


def test_a_new_day_clears_the_book_squares_off_and_keeps_the_rest() -> None:
    stage = Stage(holdings=(Holding(instrument=INFY, quantity=5, average_price=Decimal(1000)),))
    resting = stage.rested()
    stage.rested(ask(limit(10, 1501)))
    stage.rested(ask(limit(7, 1501), product=Product.CNC, label="CNC"))
    stage.rested(ask(limit(1, 5000), instrument=CRUDE, product=Product.NRML, label="NRML"), 5000)
    stage.apply(Rolled(at=stage.later(86_400), marks=((INFY, Decimal(1510)),)))
    money = stage.venue.money

    assert resting.status is Status.CANCELLED
    assert stage.venue.records == {}
    assert {key[0] for key in money.tallies} == {CRUDE}
    assert (money.held[INFY].quantity, money.held[INFY].t1_quantity) == (12, 7)
    assert money.position(INFY, Product.MIS).quantity == 0
    assert money.position(INFY, Product.MIS).realised == 100
    stage.venue.check()


def test_the_day_begins_at_six() -> None:
    assert trading_day(START.replace(hour=0, minute=29)).day == START.day - 1
    assert trading_day(START.replace(hour=0, minute=30)).day == START.day


def test_commodities_count_in_lots() -> None:
    stage = Stage()
    record = stage.rested(ask(limit(2, 5000), instrument=CRUDE, product=Product.NRML, label="NRML"), 5000)

    assert record.status is Status.COMPLETE
    assert stage.venue.money.position(CRUDE, Product.NRML).cost == 2 * 5000 * 100


def test_a_conversion_costs_nothing_and_needs_the_money() -> None:
    stage = Stage(capital=20_000)
    stage.rested(ask(limit(10, 1500)))
    charges = stage.venue.money.funds.charges
    entry = Converted(
        at=stage.later(), instrument=INFY, side=Side.BUY, quantity=5, old=("MIS", Product.MIS),
        new=("CNC", Product.CNC),
    )  # fmt: skip
    stage.apply(entry)

    assert stage.venue.money.funds.charges == charges
    assert stage.venue.money.position(INFY, Product.CNC).quantity == 5
    stage.venue.check()
    with pytest.raises(Refused):
        stage.apply(
            Converted(
                at=stage.later(), instrument=INFY, side=Side.BUY, quantity=6, old=("MIS", Product.MIS),
                new=("CNC", Product.CNC),
            )
        )  # fmt: skip
    stage.venue.check()


def test_order_ids_grow_and_never_repeat() -> None:
    stage = Stage()
    ids = [int(stage.place(ask(limit(1))).order_id) for _ in range(5)]
    more = [int(stage.place(ask(limit(1))).order_id) for _ in range(5)]

    assert sorted({*ids, *more}) == ids + more
    assert {len(str(order_id)) for order_id in ids} == {19}

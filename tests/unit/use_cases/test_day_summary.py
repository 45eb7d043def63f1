from datetime import timedelta
from decimal import Decimal

import pytest

from pulse_domain.orders.execution import trading_day_start
from pulse_domain.use_cases.day_summary import DaySummary
from tests.unit.use_cases.desk import Desk


async def test_a_day_without_orders_has_no_figures(desk: Desk) -> None:
    figures = await DaySummary(desk.store)(desk.clock.now())

    assert (figures.orders, figures.slices, figures.fills, figures.filled_value) == ({}, {}, 0, Decimal(0))


async def test_orders_slices_and_fills_are_counted(desk: Desk) -> None:
    filled = await desk.order("k-1")
    await desk.send_due()
    execution = await desk.execution(filled)
    assert execution.broker_order_id is not None
    desk.broker.fill(execution.broker_order_id, 60, "100.05")
    desk.broker.fill(execution.broker_order_id, 40, "100.10")
    await desk.reconcile()
    await desk.accept("k-2")

    figures = await DaySummary(desk.store)(desk.clock.now())

    assert figures.orders == {"FILLED": 1, "ACCEPTED": 1}
    assert figures.slices == {"FILLED": 1}
    assert (figures.fills, figures.filled_value) == (2, 60 * Decimal("100.05") + 40 * Decimal("100.10"))


async def test_another_day_has_figures_of_its_own(desk: Desk) -> None:
    await desk.order("k-1")

    tomorrow = await DaySummary(desk.store)(trading_day_start(desk.clock.now()) + timedelta(days=1, hours=10))

    assert tomorrow.orders == {}


async def test_orders_beyond_one_page_are_counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulse_domain.use_cases.day_summary._PAGE", 3)
    for number in range(7):
        await desk.accept(f"k-{number}")

    assert (await DaySummary(desk.store)(desk.clock.now())).orders == {"ACCEPTED": 7}

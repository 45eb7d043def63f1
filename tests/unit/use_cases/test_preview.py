from datetime import timedelta
from typing import Any

import pytest

from pulse_domain.errors import CannotSplit, InvalidInstrument, InvalidOrder, LimitsExceeded, PulseError
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Product, SplitConfig
from tests.unit.use_cases.desk import NIFTY, Desk, raw_request


async def test_preview_shows_the_schedule(desk: Desk) -> None:
    preview = await desk.preview(
        raw_request(
            total_quantity=1000,
            split_config=SplitConfig(num_splits=5, duration_minutes=60, randomize=False),
        )
    )

    now = desk.clock.now()
    assert [slice_.quantity for slice_ in preview.slices] == [200] * 5
    assert [slice_.scheduled_at - now for slice_ in preview.slices] == [
        timedelta(minutes=15 * i) for i in range(5)
    ]
    assert (preview.starts_at, preview.ends_at) == (now, now + timedelta(minutes=60))


async def test_preview_shows_the_request_with_its_defaults(desk: Desk) -> None:
    preview = await desk.preview(raw_request(instrument=NIFTY, total_quantity=150))

    assert preview.request.product is Product.NRML
    assert preview.terms == desk.master.listed[NIFTY]


async def test_randomised_preview_keeps_the_bounds_of_the_window(desk: Desk) -> None:
    start = desk.clock.now() + timedelta(hours=1)
    config = SplitConfig(num_splits=12, duration_minutes=60)

    preview = await desk.preview(raw_request(total_quantity=10_000, start_at=start, split_config=config))

    assert sum(slice_.quantity for slice_ in preview.slices) == 10_000
    assert preview.slices[0].scheduled_at == start
    assert preview.slices[-1].scheduled_at == start + timedelta(minutes=60)


async def test_preview_cuts_slices_above_the_freeze_quantity(desk: Desk) -> None:
    preview = await desk.preview(raw_request(instrument=NIFTY, total_quantity=3750))

    [slice_] = preview.slices
    assert [execution.quantity for execution in slice_.executions] == [1800, 1800, 150]


async def test_preview_stores_and_wakes_nothing(desk: Desk) -> None:
    await desk.preview(raw_request())

    assert await desk.store.list_orders(None, limit=1) == []
    assert desk.queue.jobs == []


@pytest.mark.parametrize(
    ("request_fields", "error"),
    [
        ({"instrument": Instrument.parse("NSE:NOSUCH")}, InvalidInstrument),
        ({"total_quantity": 3, "split_config": SplitConfig(num_splits=4, duration_minutes=5)}, CannotSplit),
        ({"instrument": NIFTY, "total_quantity": 1800 * 500}, LimitsExceeded),
        ({"product": Product.NRML}, InvalidOrder),
    ],
)
async def test_preview_refuses_what_acceptance_refuses(
    desk: Desk, request_fields: dict[str, Any], error: type[PulseError]
) -> None:
    with pytest.raises(error) as previewed:
        await desk.preview(raw_request(**request_fields))
    with pytest.raises(error) as accepted:
        await desk.accept(**request_fields)

    assert previewed.value.details == accepted.value.details


@pytest.mark.parametrize("start_in", [timedelta(hours=-2), timedelta(days=8)], ids=["past", "far ahead"])
async def test_preview_refuses_a_start_that_acceptance_refuses(desk: Desk, start_in: timedelta) -> None:
    with pytest.raises(InvalidOrder):
        await desk.preview(raw_request(start_at=desk.clock.now() + start_in))

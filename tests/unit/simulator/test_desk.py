"""The desk: delays on the venue's clock, updates after the disk, a crash in the middle."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from pulse_adapters.simulator.desk import Desk, DeskError
from pulse_adapters.simulator.faults import FaultKind, FaultRule
from pulse_adapters.simulator.journal import Journal
from pulse_adapters.simulator.pace import draw_pace
from pulse_adapters.simulator.prices import Pinned
from pulse_adapters.simulator.values import RefusalCode, Refused, Status, Update
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.orders.model import Product, Side
from pulse_domain.testing.fake_clock import FakeClock, settle
from tests.unit.simulator.make import INFY, START, ask, limit, make_desk

Open = Callable[..., tuple[Desk, Journal]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest_asyncio.fixture
async def open_desk(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Open]:
    opened: list[Journal] = []

    def make(**more: object) -> tuple[Desk, Journal]:
        desk, journal = make_desk(tmp_path, clock, **more)  # type: ignore[arg-type]
        opened.append(journal)
        return desk, journal

    yield make
    for journal in opened:
        journal.close()


async def test_delays_are_those_of_the_clock(open_desk: Open, clock: FakeClock) -> None:
    desk, _ = open_desk(pace=draw_pace(Random(1)))
    await desk.start()
    running = asyncio.create_task(desk.run())
    record = await desk.place(ask())
    before = record.view(desk.clock.now()).status
    await clock.advance(0.5)
    after = record.view(desk.clock.now()).status
    running.cancel()

    assert (before, after) == (Status.RECEIVED, Status.OPEN)
    assert record.snaps[-1].at > record.placed_at


async def test_updates_are_told_once_they_are_on_disk(open_desk: Open) -> None:
    desk, _ = open_desk()
    await desk.start()
    told: list[Update] = []
    desk.subscribe(told.append)
    running = asyncio.create_task(desk.run())
    await desk.place(ask(limit(10, 1501)))
    await desk.durable()
    await settle(60)
    await asyncio.sleep(0.1)
    running.cancel()

    assert [update.snap.status for update in told] == [Status.RECEIVED, Status.OPEN, Status.COMPLETE]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"terms": limit(10, "1400.03")}, RefusalCode.TICK_SIZE),
        ({"terms": limit(20_000)}, RefusalCode.FREEZE_QUANTITY),
        ({"instrument": Instrument(Exchange.NSE, "NOSUCH")}, RefusalCode.UNKNOWN_INSTRUMENT),
        ({"variety": "amo"}, RefusalCode.MARKET_CLOSED),
        ({"terms": limit(0)}, RefusalCode.INVALID),
        ({"side": Side.SELL, "product": Product.CNC, "label": "CNC"}, RefusalCode.HOLDINGS),
    ],
)
async def test_refusals_come_at_once(open_desk: Open, changes: dict[str, object], code: RefusalCode) -> None:
    desk, _ = open_desk()
    await desk.start()
    asked = ask(**changes)  # type: ignore[arg-type]

    with pytest.raises(Refused) as refused:
        await desk.place(asked)

    assert refused.value.code is code
    assert desk.orders() == []


async def test_what_is_hidden_is_there_all_the_same(open_desk: Open, clock: FakeClock) -> None:
    desk, _ = open_desk()
    await desk.start()
    record = await desk.place(ask(), hidden_s=30)
    hidden = desk.orders()
    await clock.advance(31)

    assert hidden == []
    assert desk.orders() == [record]


async def test_a_crash_before_the_exchange_loses_nothing(tmp_path: Path, clock: FakeClock) -> None:
    desk, journal = make_desk(tmp_path, clock)
    await desk.start()
    record = await desk.place(ask())
    await desk.durable()
    state = desk.venue.state()
    journal.close()

    again, journal = make_desk(tmp_path, clock)
    await again.start()
    assert again.venue.state() == state
    await again.deliver()
    journal.close()
    assert again.venue.records[record.order_id].status is Status.OPEN


async def test_what_rested_before_a_crash_fills_after_it(tmp_path: Path, clock: FakeClock) -> None:
    desk, journal = make_desk(tmp_path, clock)
    await desk.start()
    record = await desk.place(ask())
    await desk.deliver()
    journal.close()

    again, journal = make_desk(tmp_path, clock, price="1399")
    await again.start()
    await again.match_resting()
    journal.close()
    assert again.venue.records[record.order_id].filled == 10


async def test_a_tick_that_changes_nothing_is_not_written(open_desk: Open, tmp_path: Path) -> None:
    desk, journal = open_desk()
    await desk.start()
    await desk.place(ask())
    await desk.deliver()
    before = journal.append("test", b"")
    for _ in range(5):
        await desk.match_resting()
    desk.prices.pin(INFY, Pinned(last_price=Decimal(1399)))
    await desk.match_resting()

    assert journal.append("test", b"") - before == 2


async def test_a_day_that_ended_while_it_was_down_ends_at_the_start(tmp_path: Path, clock: FakeClock) -> None:
    desk, journal = make_desk(tmp_path, clock)
    await desk.start()
    await desk.place(ask())
    journal.close()
    await clock.advance(timedelta(days=1).total_seconds())

    again, journal = make_desk(tmp_path, clock)
    await again.start()
    journal.close()
    assert again.orders() == []


async def test_a_delayed_update_comes_after_the_next(open_desk: Open) -> None:
    desk, _ = open_desk(rules=(FaultRule(kind=FaultKind.DELAY_UPDATE),))
    await desk.start()
    told: list[Status] = []
    desk.subscribe(lambda update: told.append(update.snap.status))
    running = asyncio.create_task(desk.run())
    await desk.place(ask(limit(10, 1501)))
    await desk.durable()
    await asyncio.sleep(0.1)
    running.cancel()

    assert told == [Status.OPEN, Status.RECEIVED, Status.COMPLETE]


async def test_a_venue_that_fails_half_way_takes_nothing_more(
    open_desk: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, _ = open_desk()
    await desk.start()
    running = asyncio.create_task(desk.run())
    monkeypatch.setattr(desk.venue, "apply", lambda _: 1 / 0)

    for _ in range(2):
        with pytest.raises(DeskError, match="ZeroDivisionError"):
            await desk.place(ask())
    with pytest.raises(DeskError):
        await desk.durable()
    # The process ends, and the next one has what the journal holds.
    with pytest.raises(ExceptionGroup):
        await asyncio.wait_for(running, 1)

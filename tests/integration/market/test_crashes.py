"""A market desk that is killed: another goes on where it was, and no order comes twice."""

import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest

from pulse_domain.orders.model import Side
from pulse_domain.orders.status import OrderState
from pulse_domain.ports.strategy_store import StrategyState
from tests.integration.market.desk_process import TURNS, Desk, candles_of, made_day, write_day

MINUTES = 24
RECOVERY_S = 30.0


@pytest.fixture
def desk(database: asyncpg.Pool, migrated_dsn: str, tmp_path: Path) -> Iterator[Desk]:
    day = write_day(tmp_path / "TCS.csv", made_day(MINUTES))
    made = Desk(migrated_dsn, database, tmp_path, MARKET_FEED=f"replay:{day}", FEED_SPEED="240")
    yield made
    made.close()


async def ended(desk: Desk) -> bool:
    """Whether the whole day was worked on, orders included."""
    memory = await desk.memory()
    return len(memory["closes"]) == MINUTES and len(memory["fills"]) == MINUTES


@pytest.mark.parametrize("standby", [False, True], ids=["started again", "a standby"])
async def test_a_killed_desk_goes_on_and_doubles_nothing(desk: Desk, tmp_path: Path, standby: bool) -> None:
    (tmp_path / "turns.py").write_text(TURNS)
    await desk.want(f"{tmp_path}/turns.py:Turns")
    desk.start("pulse_background", MARKET_FEED="synthetic")
    killed = desk.start("pulse_background.market")

    async def has_position() -> bool:
        orders = await desk.orders()
        return len(orders) >= 5 and orders[-1].order.request.side is Side.BUY

    await desk.until(has_position)
    if standby:
        desk.start("pulse_background.market")
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    before, known = await desk.orders(), await desk.memory()
    now = await desk.store.now()
    if not standby:
        desk.start("pulse_background.market")

    async def runs_again() -> bool:
        row = await desk.row()
        return row.state is StrategyState.RUNNING and row.reported_at is not None and row.reported_at > now

    await desk.until(runs_again, RECOVERY_S)
    await desk.until(lambda: ended(desk))

    orders, memory = await desk.orders(), await desk.memory()
    keys = [view.order.order_unique_key for view in orders]
    assert keys[: len(before)] == [view.order.order_unique_key for view in before]
    assert len(set(keys)) == len(keys) == MINUTES, "one order for each candle"
    assert [view.order.request.side for view in orders] == [Side.BUY, Side.SELL] * (MINUTES // 2)
    assert {view.summary.state for view in orders} == {OrderState.FILLED}
    assert list(map(Decimal, memory["closes"])) == [each.close for each in candles_of(made_day(MINUTES))]
    assert memory["closes"][: len(known["closes"])] == known["closes"]
    assert memory["fills"] == keys, "each fill was told once, in order"


async def test_a_strategy_that_raises_stops_no_other(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "turns.py").write_text(TURNS)
    (tmp_path / "raises.py").write_text(
        "from pulse_domain.strategy import Strategy\n"
        "class Raises(Strategy):\n"
        "    def on_candle(self, candle):\n"
        "        raise ValueError('a fault in it')\n"
    )
    await desk.want(f"{tmp_path}/turns.py:Turns")
    await desk.want(f"{tmp_path}/raises.py:Raises", "other")
    desk.start("pulse_background", MARKET_FEED="synthetic")
    desk.start("pulse_background.market")

    await desk.until(lambda: ended(desk))

    failed = await desk.row("other")
    assert failed.state is StrategyState.FAILED
    assert "ValueError: a fault in it (raises.py:4)" in (failed.detail or "")
    assert (await desk.row()).state is StrategyState.RUNNING


async def test_a_desk_that_is_told_to_stop_remembers_and_ends(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "turns.py").write_text(TURNS)
    await desk.want(f"{tmp_path}/turns.py:Turns")
    desk.start("pulse_background", MARKET_FEED="synthetic")
    market = desk.start("pulse_background.market")

    async def some() -> bool:
        return len((await desk.memory())["closes"]) >= 3

    await desk.until(some)
    market.send_signal(signal.SIGTERM)

    assert market.wait(30) == 0
    assert len((await desk.memory())["closes"]) >= 3
    assert (await desk.row()).plan.wanted is StrategyState.RUNNING


async def test_a_wrong_setting_is_one_line(desk: Desk) -> None:
    for environ, said in (
        ({"MARKET_FEED": "nonsense"}, "a feed is synthetic"),
        ({"MARKET_FEED": "zerodha"}, "MARKET_FEED=zerodha goes with BROKER_TYPE"),
        ({"FEED_INSTRUMENTS": "TCS"}, "FEED_INSTRUMENTS: "),
        ({"MARKET_FEED": "replay:/no/such/file.csv"}, "there is no such file"),
    ):
        desk.log.write_text("")
        process = desk.start("pulse_background.market", **environ)

        assert process.wait(60) == 2
        [line] = [
            each for each in desk.log.read_text().splitlines() if each.startswith("pulse_background.market: ")
        ]
        assert said in line
        assert "Traceback" not in desk.log.read_text()

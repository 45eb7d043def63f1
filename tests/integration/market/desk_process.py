"""Market desk and workers as processes on a real Postgres, on a day that is made for them."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg

from pulse_adapters.instruments.calendar import DatedCalendar
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_domain.candles import CandleBuilder
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.ports.order_store import OrderView
from pulse_domain.ports.strategy_store import StrategyMode, StrategyRow, StrategyState

ROOT = Path(__file__).parents[3]
PATIENCE_S = 90.0
TCS = Instrument.parse("NSE:TCS")
OPEN = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)

TURNS = """
from pulse_domain.strategy import Strategy

class Turns(Strategy):
    def __init__(self):
        super().__init__()
        self.closes, self.fills = [], []

    def on_candle(self, candle):
        self.closes.append(str(candle.close))
        held = self.position(candle.instrument)
        if held:
            self.sell(candle.instrument, held)
        else:
            self.buy(candle.instrument, 10)

    def on_order_update(self, update):
        if update.last_quantity:
            self.fills.append(update.order_unique_key)

    def snapshot(self):
        return {"closes": self.closes, "fills": self.fills}

    def restore(self, state):
        self.closes, self.fills = list(state["closes"]), list(state["fills"])
"""


def made_day(minutes: int) -> list[Tick]:
    """Four ticks a minute, on a price that goes up and down."""
    ticks = []
    for number in range(minutes * 4):
        step = number % 37
        price = Decimal(3000) + Decimal(step if step < 18 else 37 - step) + Decimal(number % 3) / 20
        at = OPEN + timedelta(seconds=1 + number * 15)
        ticks.append(Tick(TCS, at, price, volume=(number + 1) * 50))
    return ticks


def write_day(path: Path, ticks: list[Tick]) -> Path:
    rows = ["timestamp,price,volume", *(f"{each.at.isoformat()},{each.price},{each.volume}" for each in ticks)]
    path.write_text("\n".join(rows) + "\n")
    return path


def candles_of(ticks: list[Tick]) -> list[Candle]:
    """The minutes that a builder makes of them."""
    builder = CandleBuilder(DatedCalendar().hours_at, since=ticks[0].at.replace(second=0, microsecond=0))
    closed = [each for tick in ticks for each in builder.on_tick(tick)]
    closed += builder.on_time(ticks[-1].at + timedelta(minutes=2))
    return [each.candle for each in closed if each.minutes == 1 and each.candle is not None]


class Desk:
    """The processes of a desk; each can be killed."""

    def __init__(self, dsn: str, database: asyncpg.Pool, folder: Path, **environ: str) -> None:
        self.strategies = PostgresStrategyStore(Database(database))
        self.store = PostgresOrderStore(Database(database))
        self.log = folder / "desk.log"
        self._environ = {
            **{name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "METRICS_PORT")},
            "DATABASE_URL": dsn,
            "ORDER_SPLITTER_POLL_INTERVAL_SECONDS": "0.05",
            "SLICE_EXECUTOR_POLL_INTERVAL_SECONDS": "0.05",
            "LOG_LEVEL": "INFO",
            **environ,
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, module: str, **environ: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module],
                env={**self._environ, **environ},
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(10)

    async def want(self, kind: str, name: str = "it", **parameters: Any) -> None:
        await self.strategies.put(
            name,
            kind=kind,
            instruments=(TCS,),
            parameters=parameters,
            mode=StrategyMode.LIVE,
            changed_by="test",
        )
        await self.strategies.want(name, StrategyState.RUNNING, "test")

    async def row(self, name: str = "it") -> StrategyRow:
        return next(row for row in await self.strategies.rows() if row.plan.name == name)

    async def orders(self) -> list[OrderView]:
        return list(reversed(await self.store.list_orders(None, limit=500)))

    async def memory(self, name: str = "it") -> dict[str, Any]:
        kept = await self.strategies.checkpoint(name, 1)
        return {"closes": [], "fills": []} if kept is None else dict(kept.state["seat"]["strategy"])

    async def until(self, holds: Callable[[], Any], seconds: float = PATIENCE_S) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not await holds():  # noqa: ASYNC110  # it is in another process
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"it does not come: {self.log.read_text()[-3000:]}") from None

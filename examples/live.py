"""One strategy, twice: in a backtest, and unchanged against the virtual exchange that plays the same candles.

    python examples/live.py [CANDLES.csv]

It starts a `pulse up` of its own, which plays the file so fast that a candle takes a second, and hosts the
strategy of `macd_trend.py` over HTTP: `LiveDesk` is all there is between the two. Both runs get the same
candles, and both decide when one has closed. The backtest then trades at the open of the next; the exchange
trades when the order arrives there, some tenths of a second of the replay later, at whatever the price is.
"""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import Any

import httpx
from macd_trend import MacdTrend
from msgspec.structs import replace

from pulse_domain.backtest import OrderUpdate, Strategy, run_backtest, synthetic_candles
from pulse_domain.backtest.files import read_candles
from pulse_domain.errors import InvalidOrder, NotFound
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import Candle
from pulse_domain.orders.model import OrderRequest, Side
from pulse_domain.orders.status import OrderState

INSTRUMENT, CLOCK = Instrument.parse("NSE:TCS"), Instrument.parse("NSE:CLOCK")
CASH = Decimal(10_000_000)
CANDLES = 20  # are traded live, a second each
LEAD_IN = 6  # play while everything starts
CLOCK_STEPS = 100  # of its price within a candle
CLOCK_TICK = Decimal("0.05")
PULSE = str(Path(sys.executable).with_name("pulse"))


def new_strategy() -> MacdTrend:
    return MacdTrend(fast=3, slow=8, signal=3, trend=20)  # short, so that something happens in 20 candles


class LiveDesk:
    """A strategy's `Desk` at the gateway of Pulse. The host moves the time, and polls what is open."""

    def __init__(self, gateway: httpx.Client, cash: Decimal) -> None:
        self.gateway = gateway
        self.time: datetime | None = None
        self.ids: dict[str, str] = {}  # of orders, by their keys
        self.seen: dict[str, OrderUpdate] = {}
        self._units: dict[Instrument, int] = {}
        self._prices: dict[Instrument, Decimal] = {}
        self._cash = cash

    def now(self) -> datetime:
        assert self.time is not None, "the host sets it before every call"
        return self.time

    def submit(self, request: OrderRequest) -> str:
        key = f"live-{len(self.ids) + 1}"  # the same request under the same key is the same order
        body: dict[str, Any] = {
            "order_unique_key": key,
            "instrument": str(request.instrument),
            "side": request.side,
            "total_quantity": request.total_quantity,
            "order_type": request.order_type,
            "limit_price": request.limit_price and str(request.limit_price),
            "trigger_price": request.trigger_price and str(request.trigger_price),
            "product": request.product,
            "validity": request.validity,
            # By the clock of the gateway, which a replay does not change.
            "start_at": request.start_at and request.start_at.isoformat(),
            "strategy_tag": request.strategy_tag,
        }
        if request.split_config is not None:
            split = request.split_config
            body["split_config"] = {name: getattr(split, name) for name in split.__struct_fields__}
        answer = self.gateway.post("/api/orders", json={k: v for k, v in body.items() if v is not None})
        if answer.status_code in (400, 422):
            raise InvalidOrder(answer.json()["error"]["message"])
        self.ids[key] = answer.raise_for_status().json()["order_id"]
        return key

    def cancel(self, order_unique_key: str) -> None:
        answer = self.gateway.post(f"/api/orders/{self._id(order_unique_key)}/cancel")
        if answer.status_code != 409:  # it is done already
            answer.raise_for_status()

    def order(self, order_unique_key: str) -> OrderUpdate:
        order = self.gateway.get(f"/api/orders/{self._id(order_unique_key)}").raise_for_status().json()
        average = order["average_price"]
        return OrderUpdate(
            order_unique_key=order_unique_key,
            at=self.now(),
            instrument=Instrument.parse(order["instrument"]),
            side=Side(order["side"]),
            state=OrderState(order["state"]),
            done=order["done"],
            total_quantity=order["total_quantity"],
            filled_quantity=order["quantities"]["filled"],
            average_price=None if average is None else Decimal(average),
        )

    def position(self, instrument: Instrument) -> int:
        return self._units.get(instrument, 0)

    def cash(self) -> Decimal:
        return self._cash

    def equity(self) -> Decimal:
        held = (units * self._prices[instrument] for instrument, units in self._units.items())
        return self._cash + sum(held, Decimal(0))

    def terms(self, instrument: Instrument) -> InstrumentTerms:
        return InstrumentTerms()  # of shares: single units, in steps of 0.05

    def see(self, candle: Candle) -> None:
        assert candle.end is not None
        self.time, self._prices[candle.instrument] = candle.end, candle.close

    def news(self) -> Iterator[OrderUpdate]:
        """Ask for every open order, book what was filled, and give those that have changed."""
        for key in list(self.ids):
            before = self.seen.get(key)
            if before is None or not before.done:
                update = self.order(key)
                units = update.filled_quantity - (before.filled_quantity if before else 0)
                if units:
                    update = self._booked(update, units, _value(update) - (_value(before) if before else 0))
                self.seen[key] = update
                if before is None or units or update.state is not before.state:
                    yield update

    def _booked(self, update: OrderUpdate, units: int, value: Decimal) -> OrderUpdate:
        sign = 1 if update.side is Side.BUY else -1
        self._units[update.instrument] = self.position(update.instrument) + sign * units
        self._cash -= sign * value
        return replace(update, last_quantity=units, last_price=value / units)

    def _id(self, order_unique_key: str) -> str:
        try:
            return self.ids[order_unique_key]
        except KeyError:
            raise NotFound(f"there is no order {order_unique_key}") from None


def _value(update: OrderUpdate) -> Decimal:
    return update.filled_quantity * (update.average_price or Decimal(0))


def host(
    strategy: Strategy, desk: LiveDesk, past: Iterable[Candle], candles: Iterable[tuple[float, Candle]]
) -> None:
    """Give a strategy the candles of the past at once, and then each at the second at which it closes."""
    strategy.desk = desk
    strategy.on_start()
    for candle in past:
        desk.see(candle)
        strategy.on_candle(candle)
    for closes_at, candle in candles:
        _follow(strategy, desk, closes_at)
        desk.see(candle)
        strategy.on_candle(candle)
    _follow(strategy, desk, time.time() + 1)


def _follow(strategy: Strategy, desk: LiveDesk, until: float) -> None:
    while time.time() < until:
        for update in desk.news():
            strategy.on_order_update(update)
        time.sleep(0.02)


# --- the exchange ------------------------------------------------------------------------------


@contextmanager
def pulse_up(folder: Path, candles: Sequence[Candle], candle_s: float) -> Iterator[httpx.Client]:
    """Everything in one process on a free port; a client of its gateway."""
    write_csv(folder / "candles.csv", "timestamp,open,high,low,close,volume", map(_row, candles))
    write_csv(folder / "clock.csv", "timestamp,price", _clock(candles[0].start, len(candles), candle_s))
    environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    environ["PULSE_STATE_DIR"] = str(folder / "state")
    feed = f"replay:{INSTRUMENT}={folder / 'candles.csv'},{CLOCK}={folder / 'clock.csv'}"
    command = [PULSE, "up", "--port", "0", "--feed", feed, "--feed-speed", str(candle_s)]
    with (folder / "pulse.log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    try:
        endpoint = folder / "state" / "endpoint.json"
        while not endpoint.exists():
            if process.poll() is not None:
                sys.exit((folder / "pulse.log").read_text())
            time.sleep(0.05)
        token = subprocess.run([PULSE, "token"], env=environ, check=True, capture_output=True, text=True).stdout
        headers = {"Authorization": f"Bearer {token.strip()}"}
        base_url = json.loads(endpoint.read_text())["base_url"]
        transport = httpx.HTTPTransport(retries=5)
        with httpx.Client(base_url=base_url, headers=headers, transport=transport) as client:
            yield client
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def began_at(gateway: httpx.Client) -> float:
    """When the replay began, by an order for something whose price tells the time."""
    order = {"order_unique_key": "clock", "instrument": str(CLOCK), "side": "BUY", "total_quantity": 1}
    order_id = gateway.post("/api/orders", json=order).raise_for_status().json()["order_id"]
    while not (fills := fills_of(gateway, order_id)):
        time.sleep(0.02)
    steps = Decimal(fills[0]["price"]) / CLOCK_TICK - 1
    return datetime.fromisoformat(fills[0]["at"]).timestamp() - float(steps) / CLOCK_STEPS


def fills_of(gateway: httpx.Client, order_id: str) -> list[dict[str, Any]]:
    slices = gateway.get(f"/api/orders/{order_id}/slices").raise_for_status().json()["slices"]
    return [fill for each in slices for execution in each["executions"] for fill in execution["fills"]]


def _clock(start: datetime, candles: int, candle_s: float) -> Iterator[tuple[object, ...]]:
    for step in range(candles * CLOCK_STEPS):
        yield (start + timedelta(seconds=step * candle_s / CLOCK_STEPS)).isoformat(), (step + 1) * CLOCK_TICK


def _row(candle: Candle) -> tuple[object, ...]:
    return candle.start.isoformat(), candle.open, candle.high, candle.low, candle.close, candle.volume


def write_csv(path: Path, header: str, rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        file.write(header + "\n")
        csv.writer(file).writerows(rows)


# --- both --------------------------------------------------------------------------------------


def main() -> None:
    if len(sys.argv) > 1:
        series = read_candles(sys.argv[1], INSTRUMENT)
    else:
        series = synthetic_candles(INSTRUMENT, days=1, seed=11)
    candles, candle_s, warm_up = series.candles(0, 400), series.interval.total_seconds(), new_strategy().warm_up
    played = candles[warm_up:]

    folder = Path(tempfile.mkdtemp(prefix="pulse-live-"))
    try:
        with pulse_up(folder, played, candle_s) as gateway:
            began = began_at(gateway)
            first = max(LEAD_IN, int(time.time() - began) + 1)  # the candle of the replay that is traded first
            live = played[first : first + CANDLES]
            if len(live) < CANDLES:
                sys.exit(f"the file is over too soon: it has {len(candles)} candles")
            print(f"{INSTRUMENT}, {live[0].start:%Y-%m-%d %H:%M} to {live[-1].start:%H:%M}, a candle a second")
            # Both see the same candles. In the backtest an order of the last one fills in the next.
            past = candles[first : first + warm_up]
            result = run_backtest(new_strategy(), candles[first : first + warm_up + CANDLES + 1])
            desk = LiveDesk(gateway, CASH)
            host(new_strategy(), desk, past, [(began + first + n, it) for n, it in enumerate(live, start=1)])
            traded = [fill for order_id in desk.ids.values() for fill in fills_of(gateway, order_id)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)

    def line(fill: dict[str, Any]) -> str:
        offset = datetime.fromisoformat(fill["at"]).timestamp() - began
        at = played[int(offset)].start + series.interval * (offset % 1)
        return f"{at:%H:%M:%S} {fill['price']:>9}"

    backtest = [f"{it.side:4} {it.quantity:4}  {it.at:%H:%M:%S} {it.price:>9}" for it in result.fills]
    print("            backtest              live")
    for tested, lived in zip_longest(backtest, map(line, traded), fillvalue=""):
        print(f"{tested:29}   {lived}")


if __name__ == "__main__":
    main()

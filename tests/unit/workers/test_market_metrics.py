"""The figures of bus and recorder on the metrics page."""

import asyncio
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, generate_latest

from pulse_adapters.bus.in_process import InProcessEventBus
from pulse_background.market_metrics import BusMetrics, RecorderMetrics
from pulse_background.workers.tick_recorder import RecorderFigures
from pulse_domain.ports.event_bus import NOTIFICATIONS
from pulse_domain.ports.notifier import Notification, NotificationKind
from pulse_domain.testing.fake_clock import FakeClock, settle


async def test_depth_lag_and_counts_of_each_subscriber_are_shown() -> None:
    clock, registry = FakeClock(), CollectorRegistry()
    bus = InProcessEventBus(clock)
    BusMetrics(bus, registry)
    gate = asyncio.Event()

    async def stuck(events: Sequence[Notification]) -> None:
        await gate.wait()

    bus.subscribe(NOTIFICATIONS, "telegram", stuck, size_max=1, batch_max=1)
    for _ in range(4):
        bus.publish(NOTIFICATIONS, Notification(kind=NotificationKind.FILL))
    await settle()
    await clock.advance(7)

    page = generate_latest(registry).decode()
    labels = '{subscriber="telegram",topic="notification"}'
    shown = {line.partition("{")[0]: float(line.split()[-1]) for line in page.splitlines() if labels in line}
    assert shown == {
        "event_bus_depth": 3,
        "event_bus_lag_seconds": 7,
        "event_bus_delivered_total": 1,
        "event_bus_failed_total": 0,
        "event_bus_dropped_total": 0,
        "event_bus_conflated_total": 0,
        "event_bus_spilled_total": 3,
    }
    gate.set()
    await bus.close()


def test_figures_of_the_recorder_are_shown() -> None:
    registry = CollectorRegistry()
    figures = RecorderFigures(received=10, stored=5, dropped=2, refused=1, unsaved=3)
    RecorderMetrics(lambda: figures, registry)

    page = generate_latest(registry).decode()

    shown = {line.split()[0]: float(line.split()[1]) for line in page.splitlines() if line.startswith("ticks_")}
    assert {name: value for name, value in shown.items() if not name.endswith("_created")} == {
        "ticks_received_total": 10,
        "ticks_stored_total": 5,
        "ticks_dropped_total": 2,
        "ticks_refused_total": 1,
        "ticks_unsaved": 3,
    }

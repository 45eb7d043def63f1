"""Figures of the event bus and the tick recorder, read when somebody asks for the metrics page."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pulse_background.workers.tick_recorder import RecorderFigures
from pulse_domain.ports.event_bus import EventBus

_LABELS = ("topic", "subscriber")
_GAUGES = {
    "depth": ("event_bus_depth", "Events that wait for a subscriber."),
    "lag_s": ("event_bus_lag_seconds", "Age of the oldest event that a subscriber is not done with."),
}
_COUNTERS = {
    "delivered": ("event_bus_delivered", "Events given to a subscriber."),
    "failed": ("event_bus_failed", "Events given to a subscriber in calls that raised."),
    "dropped": ("event_bus_dropped", "Events that were too many for a subscriber, the oldest first."),
    "conflated": ("event_bus_conflated", "Events that a later one has replaced before a subscriber took them."),
    "spilled": ("event_bus_spilled", "Events kept beyond the size of a subscriber's line."),
}

_RECORDED = {
    "received": (CounterMetricFamily, "ticks_received", "Ticks taken for the tick store."),
    "stored": (CounterMetricFamily, "ticks_stored", "Ticks that are stored."),
    "dropped": (CounterMetricFamily, "ticks_dropped", "Ticks dropped because the store was too slow."),
    "refused": (CounterMetricFamily, "ticks_refused", "Ticks of impossible instants or values."),
    "unsaved": (GaugeMetricFamily, "ticks_unsaved", "Ticks on their way to the store or waiting for it."),
}


class BusMetrics(Collector):
    def __init__(self, bus: EventBus, registry: CollectorRegistry) -> None:
        self._bus = bus
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        figures = self._bus.figures()
        for table, family in ((_GAUGES, GaugeMetricFamily), (_COUNTERS, CounterMetricFamily)):
            for field, (name, text) in table.items():
                metric = family(name, text, labels=_LABELS)
                for each in figures:
                    metric.add_metric([each.topic, each.subscriber], getattr(each, field))
                yield metric


class RecorderMetrics(Collector):
    def __init__(self, figures: Callable[[], RecorderFigures], registry: CollectorRegistry) -> None:
        self._figures = figures
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        figures = self._figures()
        for field, (family, name, text) in _RECORDED.items():
            yield family(name, text, value=getattr(figures, field))

"""Figures of the market desk and its parts, read when somebody asks for the metrics page."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pulse_background.market.desk import MarketDesk
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

_FEED = {
    "connected": (GaugeMetricFamily, "feed_connected", "Whether prices can come now."),
    "ticks": (CounterMetricFamily, "feed_ticks", "Ticks that the feed gave."),
    "bad": (CounterMetricFamily, "feed_bad", "Packets of the feed that could not be read."),
    "unknown": (CounterMetricFamily, "feed_unknown", "Ticks of what nobody subscribed to."),
    "connects": (CounterMetricFamily, "feed_connects", "Connections of the feed."),
    "silences": (CounterMetricFamily, "feed_silences", "Connections that fell silent."),
    "gaps": (CounterMetricFamily, "feed_gaps", "Times without prices."),
    "backfilled": (CounterMetricFamily, "feed_backfilled", "Candles that filled gaps afterwards."),
}
_CANDLES = {
    "closed": (CounterMetricFamily, "candles_closed", "Candles and gaps that were told."),
    "dropped": (CounterMetricFamily, "candles_dropped", "Candles dropped because the store was away too long."),
    "outside": (CounterMetricFamily, "candles_ticks_outside", "Ticks outside of all sessions."),
    "late": (CounterMetricFamily, "candles_ticks_late", "Ticks of minutes that were told already."),
    "ahead": (CounterMetricFamily, "candles_ticks_ahead", "Ticks from the future."),
}
_STRATEGIES = {
    "signals": (CounterMetricFamily, "strategy_signals", "Orders that a strategy asked for."),
    "unanswered": (
        GaugeMetricFamily,
        "strategy_signals_unanswered",
        "Orders that a strategy asked for and nobody has accepted or refused.",
    ),
    "open_orders": (GaugeMetricFamily, "strategy_open_orders", "Orders of a strategy that are not done."),
    "busy_s": (GaugeMetricFamily, "strategy_busy_seconds", "How long a strategy works on what it was given."),
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


class DeskMetrics(Collector):
    """The feed, the candles and the strategies of a market desk."""

    def __init__(self, desk: MarketDesk, registry: CollectorRegistry) -> None:
        self._desk = desk
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        for table, figures in (
            (_FEED, self._desk.feed_figures()),
            (_CANDLES, self._desk.candle_figures()),
        ):
            for field, (family, name, text) in table.items():
                yield family(name, text, value=getattr(figures, field))
        of_strategies = self._desk.runner.figures()
        yield GaugeMetricFamily("strategies_running", "Strategies that run.", value=len(of_strategies))
        yield CounterMetricFamily(
            "strategies_failed", "Strategies that failed.", value=self._desk.runner.failures
        )
        for field, (family, name, text) in _STRATEGIES.items():
            metric = family(name, text, labels=("strategy",))
            for strategy, each in of_strategies.items():
                metric.add_metric([strategy], getattr(each, field))
            yield metric

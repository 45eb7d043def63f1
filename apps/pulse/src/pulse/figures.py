"""How a backtest is shown: JSON and tables."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from pulse.output import clean, percent, plain_table, price, status
from pulse.views import Json
from pulse_domain.backtest import BacktestOrder, BacktestResult, CandleSeries, Statistics, TickSeries

if TYPE_CHECKING:
    from rich.table import Table


def as_json(result: BacktestResult) -> Json:
    """All figures, in the words of the library."""
    return {
        "series": [
            {
                "instrument": str(each.instrument),
                "kind": "candles" if isinstance(each, CandleSeries) else "ticks",
                "rows": len(each),
                "dropped": each.dropped,
            }
            for each in result.series
        ],
        "seed": result.seed,
        "statistics": result.statistics,
        "funds": result.funds,
        "positions": [
            {
                "instrument": str(each.instrument),
                "product": each.product,
                "quantity": each.quantity,
                "average_price": each.average_price,
                "realised": each.realised,
                "unrealised": each.unrealised,
            }
            for each in result.positions
        ],
        "orders": [
            {
                "order_unique_key": order.order_unique_key,
                "instrument": str(order.request.instrument),
                "side": order.request.side,
                "state": order.summary.state,
                "quality": order.quality,
            }
            for order in result.orders
        ],
        "fills_digest": result.fills_digest(),
    }


def statistics_table(result: BacktestResult) -> "Table":
    """Give the figures of a run as names and values."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for each in result.series:
        table.add_row(*_data_row(each))
    for name, value in _rows(result.statistics).items():
        table.add_row(name, value)
    return table


def _data_row(series: CandleSeries | TickSeries) -> tuple[str, str]:
    if isinstance(series, CandleSeries):
        name, said = "candles", [f"{len(series):,} of {series.instrument}"]
    else:
        name, said = "ticks", [f"{len(series):,} of {series.instrument}"]
        if series.late:
            said.append(f"{series.late:,} late")
    if series.dropped:
        first = series.dropped[0]
        rows = "row" if len(series.dropped) == 1 else "rows"
        said.append(f"{len(series.dropped):,} {rows} dropped, the first row {first.row}: {first.reason}")
    return name, clean(", ".join(said))


def _rows(it: Statistics) -> dict[str, str]:
    fell = it.max_drawdown_from and it.max_drawdown_to
    days = f"{it.days} {'day' if it.days == 1 else 'days'}"
    return {
        "time": f"{_minute(it.first_at)} to {_minute(it.last_at)}, {days}",
        "equity": f"{it.starting_equity:,} to {it.final_equity:,}, {_percent(it.total_return)}",
        "result": f"realised {it.realised:,}, unrealised {it.unrealised:,}, charges {it.charges:,}",
        "drawdown": _percent(it.max_drawdown)
        + (f", {_minute(it.max_drawdown_from)} to {_minute(it.max_drawdown_to)}" if fell else ""),
        "ratios": f"Sharpe {_ratio(it.sharpe)}, Sortino {_ratio(it.sortino)}, "
        f"volatility {_percent(it.volatility)} a year",
        "orders": f"{it.orders:,}, {it.filled_orders:,} filled; {it.fills:,} fills, turnover {it.turnover:,}",
        "trades": f"{it.trades:,} closed, {it.wins:,} won, {it.losses:,} lost, "
        f"profit factor {_ratio(it.profit_factor)}",
    }


def orders_table(orders: Iterable[BacktestOrder]) -> "Table":
    """Tabulate how well orders were executed; costs in basis points, above 0 where something was lost."""
    table = plain_table(
        ("order", "left"), ("what", "left"), ("state", "left"), ("filled", "right"), ("average", "right"),
        ("bps to\narrival", "right"), ("bps to\nVWAP", "right"), ("bps to\nTWAP", "right"),
        ("of the\nvolume", "right"), ("late\nat most", "right"),
    )  # fmt: skip
    for order in orders:
        quality, request = order.quality, order.request
        table.add_row(
            clean(order.order_unique_key),
            f"{request.side} {request.total_quantity} {request.instrument}",
            status(order.summary.state),
            f"{percent(quality.filled_quantity, quality.total_quantity)} %",
            price(quality.average_price),
            _number(quality.slippage_vs_arrival_bps),
            _number(quality.slippage_vs_vwap_bps),
            _number(quality.slippage_vs_twap_bps),
            _percent(quality.participation),
            _seconds(quality.lateness_max),
        )
    return table


def _minute(at: datetime | None) -> str:
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M}"


def _percent(fraction: Decimal | float | None) -> str:
    return "-" if fraction is None else f"{fraction * 100:.2f} %"


def _ratio(value: Decimal | float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _number(value: Decimal | None) -> str:
    return "-" if value is None else str(value)


def _seconds(late: timedelta | None) -> str:
    return "-" if late is None else f"{late.total_seconds():.3f} s"

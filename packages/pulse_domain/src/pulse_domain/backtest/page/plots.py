"""The charts, as figures of plotly.js: plain values that become JSON.

Users' names stand in hover labels, which plotly reads as HTML of its own: they go through `hover_text`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pulse_domain.backtest.page.axis import LINE_POINTS_MAX, TimeAxis, evenly, lowest_and_highest
from pulse_domain.backtest.page.facts import InstrumentFacts, PlannedSlice, Steps
from pulse_domain.backtest.page.spread import Bin, bins
from pulse_domain.backtest.page.words import hover_text, moment
from pulse_domain.backtest.series import CandleSeries
from pulse_domain.backtest.values import EquityPoint, Statistics
from pulse_domain.units import PRICE_UNITS, to_time, to_us

Figure = dict[str, Any]

CANDLES_MAX = 400  # more of them cannot be told apart: a line of closes then

# Told apart by those who do not tell red from green, and in grey print by their shape.
_BUY, _SELL, _MISSED = "#1565a9", "#c4501b", "#c98a00"
_LINE, _FAINT, _GRID, _AXIS = "#2b3440", "#8a95a1", "#e9edf0", "#c3cbd3"
_COST, _GAIN = "#c4501b", "#2f8f6b"

_FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": _LINE}
_MARGIN = {"l": 96, "r": 28, "t": 34, "b": 40}
_WHEN = "%{x|%Y-%m-%d %H:%M:%S}"


def equity_figure(points: Sequence[EquityPoint], statistics: Statistics, axis: TimeAxis) -> Figure:
    """Equity, and below it how far it is under its peak."""
    equity, drawdown = [float(it.equity) for it in points], [float(it.drawdown) for it in points]
    half = LINE_POINTS_MAX // 2
    kept = sorted({*lowest_and_highest(equity, half), *lowest_and_highest(drawdown, half)})
    # From the last change on it stays what it is.
    times = [axis.place(to_us(points[i].at)) for i in kept] + [axis.place(to_us(statistics.last_at))]
    kept.append(kept[-1])
    shapes = []
    if statistics.max_drawdown_from is not None and statistics.max_drawdown_to is not None:
        shapes.append(_shade(axis, statistics.max_drawdown_from, statistics.max_drawdown_to))
    return _figure(
        "equity",
        460,
        data=[
            {
                "type": "scatter", "mode": "lines", "name": "Equity",
                "x": times, "y": [equity[i] for i in kept],
                "line": {"shape": "hv", "width": 1.4, "color": _BUY},
                "hovertemplate": "₹%{y:,.2f}",
            },
            {
                "type": "scatter", "mode": "lines", "name": "Drawdown", "yaxis": "y2",
                "x": times, "y": [drawdown[i] for i in kept],
                "line": {"shape": "hv", "width": 1, "color": _SELL},
                "fill": "tozeroy", "fillcolor": "rgba(196,80,27,0.18)",
                "hovertemplate": "%{y:.4~%}",
            },
        ],
        xaxis=_time_axis(axis, "y2"),
        yaxis=_pane(0.40, 1, tickformat=",.2~f"),
        yaxis2=_pane(
            0, 0.29, tickformat=".4~%", nticks=4,
            **({"rangemode": "tozero"} if statistics.max_drawdown else {"range": [-0.01, 0.0005]}),
        ),
        annotations=[_heading("Equity (₹)", 1), _heading("Drawdown from the peak", 0.29)],
        shapes=shapes,
        hovermode="x unified",
        hoversubplots="axis",
        showlegend=False,
    )  # fmt: skip


def price_figure(
    name: str, facts: InstrumentFacts, keys: Sequence[str], axis: TimeAxis, *, fills_max: int, slices_max: int
) -> Figure:
    """The price with the fills, the slices when they were due, and the units held and due.

    keys: of the orders, by their numbers.
    """
    series = facts.series
    drawn = series.close if isinstance(series, CandleSeries) else series.price
    places = 4 if any(units % 100 for units in drawn) else 2
    pane = {"tickformat": f",.{places}~f", "hoverformat": f",.{places}f"}
    prices = _price_traces(facts, axis, places) + _fill_traces(facts, keys, axis, places, fills_max)
    figure = {
        "hovermode": "closest",
        "legend": _LEGEND,
        "margin": {**_MARGIN, "t": 62},
        "xaxis": _time_axis(axis, "y"),
    }
    if not facts.slices:
        return _figure(
            name, 320, data=prices, yaxis=_pane(0, 1, **pane),
            annotations=[_heading("Price (₹)", 1)], **figure,
        )  # fmt: skip
    return _figure(
        name,
        640,
        data=[*prices, *_slice_traces(facts, axis, slices_max), *_position_traces(facts, axis)],
        **{**figure, "xaxis": _time_axis(axis, "y3")},
        yaxis=_pane(0.47, 1, **pane),
        yaxis2=_pane(
            0.31, 0.40, range=[-1.7, 1.7], tickvals=[1, -1], ticktext=["buy", "sell"], showgrid=False,
            fixedrange=True,
        ),
        yaxis3=_pane(0, 0.235, tickformat=",.2~f", nticks=5, zeroline=True, zerolinecolor=_AXIS),
        annotations=[
            _heading("Price (₹)", 1),
            _heading("Schedule: slices when due", 0.40),
            _heading("Units held, and due by the schedule", 0.235),
        ],
    )  # fmt: skip


def spread_figure(name: str, unit: str, columns: Sequence[tuple[str, Sequence[float]]]) -> Figure:
    """Histograms side by side, of how many orders have which figure; in bps above 0 is a cost."""
    wide, colors = 1 / len(columns), (_GAIN, _COST) if unit == "bps" else (_FAINT, _FAINT)
    data, axes, headings = [], dict[str, Any](), []
    for i, (title, values) in enumerate(columns):
        at, suffix = i * wide, "" if i == 0 else str(i + 1)
        ends = [at + (0.03 if i else 0), at + wide - (0.03 if i + 1 < len(columns) else 0)]
        found = bins(values)
        data.append(
            {
                "type": "bar", "name": title, "xaxis": f"x{suffix}", "yaxis": f"y{suffix}",
                "x": [(each.first + each.last) / 2 for each in found],
                "y": [each.orders for each in found],
                "width": [each.last - each.first for each in found],
                "customdata": [_edges(each, unit) for each in found],
                "marker": {
                    "color": [colors[each.first >= 0] for each in found],
                    "opacity": [0.45 if each.below or each.above else 1 for each in found],
                    "line": {"width": 0.6, "color": "#fff"},
                },
                "hovertemplate": "%{customdata}<br>orders: %{y:,}<extra></extra>",
            }
        )  # fmt: skip
        axes[f"xaxis{suffix}"] = {
            **_LOOK, "domain": ends, "anchor": f"y{suffix}", "title": {"text": unit, "standoff": 6},
            "tickformat": ",.2~f", "showgrid": False, "zeroline": True, "zerolinecolor": _LINE,
        }  # fmt: skip
        axes[f"yaxis{suffix}"] = {
            **_LOOK, "anchor": f"x{suffix}", "tickformat": ",d", "rangemode": "tozero", "nticks": 6,
            **({"dtick": 1} if max(each.orders for each in found) <= 5 else {}),
        }  # fmt: skip
        headings.append({**_heading(title, 1), "x": ends[0]})
    return _figure(
        name, 300, data=data, annotations=headings, bargap=0, showlegend=False, hovermode="closest",
        margin={**_MARGIN, "l": 60, "b": 52}, **axes,
    )  # fmt: skip


def _price_traces(facts: InstrumentFacts, axis: TimeAxis, places: int) -> list[Figure]:
    series = facts.series
    if isinstance(series, CandleSeries) and len(series) <= CANDLES_MAX:
        columns = {"open": series.open, "high": series.high, "low": series.low, "close": series.close}
        return [
            {
                "type": "candlestick", "name": "Price", "x": [axis.place(us) for us in series.start_us],
                **{name: [units / PRICE_UNITS for units in column] for name, column in columns.items()},
                "increasing": {"line": {"color": _FAINT, "width": 1}, "fillcolor": "#fff"},
                "decreasing": {"line": {"color": _FAINT, "width": 1}, "fillcolor": _FAINT},
                "hoverlabel": {"align": "left"},
            }
        ]  # fmt: skip
    if isinstance(series, CandleSeries):
        prices, name, kept = series.close, "Close", lowest_and_highest(series.close)
        times = [series.end_us(i) for i in kept]
    else:
        prices, name, kept = series.price, "Price", lowest_and_highest(series.price)
        times = [series.at_us[i] for i in kept]
    return [
        {
            "type": "scatter", "mode": "lines", "name": name,
            "x": [axis.place(us) for us in times], "y": [prices[i] / PRICE_UNITS for i in kept],
            "line": {"width": 1.1, "color": _FAINT},
            "hovertemplate": f"₹%{{y:,.{places}f}}<br>{_WHEN}<extra></extra>",
        }
    ]  # fmt: skip


def _fill_traces(
    facts: InstrumentFacts, keys: Sequence[str], axis: TimeAxis, places: int, most: int
) -> list[Figure]:
    kept = [facts.fills[i] for i in evenly(len(facts.fills), most)]
    size, opacity = (9, 0.85) if len(kept) <= 500 else (6, 0.85) if len(kept) <= 2_000 else (4, 0.6)
    traces = []
    for name, sign, color, symbol in (
        ("Bought", 1, _BUY, "triangle-up"),
        ("Sold", -1, _SELL, "triangle-down"),
    ):
        fills = [fill for fill in kept if fill.quantity * sign > 0]
        if fills:
            traces.append(
                {
                    "type": "scatter", "mode": "markers", "name": name,
                    "x": [axis.place(fill.at_us) for fill in fills],
                    "y": [fill.price / PRICE_UNITS for fill in fills],
                    "customdata": [
                        [hover_text(keys[fill.order]), abs(fill.quantity), fill.seq] for fill in fills
                    ],
                    "marker": {
                        "symbol": symbol, "size": size, "color": color, "opacity": opacity,
                        "line": {"width": 0.6 if size > 4 else 0, "color": "#fff"},
                    },
                    "hovertemplate": (
                        f"<b>%{{customdata[0]}}</b><br>{name.lower()} %{{customdata[1]:,}}"
                        f" at ₹%{{y:,.{places}f}}<br>slice %{{customdata[2]}}<br>{_WHEN}<extra></extra>"
                    ),
                }
            )  # fmt: skip
    return traces


def _slice_traces(facts: InstrumentFacts, axis: TimeAxis, most: int) -> list[Figure]:
    kept = [facts.slices[i] for i in evenly(len(facts.slices), most)]
    traces = []
    for name, missed, color in (("Slice, filled", False, _LINE), ("Slice, not filled in full", True, _MISSED)):
        slices = [each for each in kept if (each.filled != each.quantity) is missed]
        if slices:
            traces.append(
                {
                    "type": "scatter", "mode": "markers", "name": name, "yaxis": "y2",
                    "x": [axis.place(each.due_us) for each in slices],
                    "y": [1 if each.quantity > 0 else -1 for each in slices],
                    "customdata": [_planned(each) for each in slices],
                    "marker": {"symbol": "line-ns", "size": 14, "line": {"width": 1.2, "color": color}},
                    "hovertemplate": (
                        "<b>%{customdata[0]}</b><br>slice %{customdata[1]} of %{customdata[2]}"
                        "<br>planned %{customdata[3]:,}, filled %{customdata[4]:,}"
                        "<br>due %{customdata[5]}<extra></extra>"
                    ),
                }
            )  # fmt: skip
    return traces


def _position_traces(facts: InstrumentFacts, axis: TimeAxis) -> list[Figure]:
    lines: tuple[tuple[str, Steps, Figure], ...] = (
        ("Units due", facts.position_due(), {"width": 1.2, "color": _MISSED, "dash": "dot"}),
        ("Units held", facts.position(), {"width": 1.4, "color": _LINE}),
    )
    traces = []
    for name, (times, units), line in lines:
        steps: Steps = (
            [axis.first_us, *times, axis.last_us],
            [facts.held, *units, units[-1] if units else facts.held],
        )
        kept = lowest_and_highest(steps[1])
        traces.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "yaxis": "y3",
                "x": [axis.place(steps[0][i]) for i in kept], "y": [steps[1][i] for i in kept],
                "line": line | {"shape": "hv"},
                "hovertemplate": f"{name.lower()}: %{{y:,}}<br>{_WHEN}<extra></extra>",
            }
        )  # fmt: skip
    return traces


def _planned(each: PlannedSlice) -> list[str | int]:
    due = moment(to_time(each.due_us))
    return [hover_text(each.key), each.seq, each.many, abs(each.quantity), abs(each.filled), due]


def _shade(axis: TimeAxis, first: datetime, last: datetime) -> Figure:
    return {
        "type": "rect", "xref": "x", "yref": "paper", "x0": axis.place(to_us(first)),
        "x1": axis.place(to_us(last)), "y0": 0, "y1": 1, "fillcolor": "rgba(196,80,27,0.07)",
        "line": {"width": 0}, "layer": "below",
    }  # fmt: skip


def _edges(each: Bin, unit: str) -> str:
    first, last = (f"{edge:,.10g}" for edge in (each.first, each.last))
    if each.below:
        return f"below {last} {unit}"
    return f"{first} {unit} or more" if each.above else f"{first} to {last} {unit}"


_LOOK: Figure = {
    "gridcolor": _GRID, "linecolor": _AXIS, "showline": True, "zeroline": False, "ticks": "outside",
    "tickcolor": _AXIS, "ticklen": 4, "automargin": True,
}  # fmt: skip
_LEGEND: Figure = {
    "orientation": "h", "x": 1, "xanchor": "right", "y": 1.01, "yanchor": "bottom", "itemsizing": "constant",
}  # fmt: skip


def _time_axis(axis: TimeAxis, anchor: str) -> Figure:
    return {
        **_LOOK, "type": "date", "anchor": anchor, "range": axis.range(), "rangeslider": {"visible": False},
        "hoverformat": "%Y-%m-%d %H:%M:%S",
        "showspikes": True, "spikemode": "across", "spikesnap": "cursor", "spikethickness": 1,
        "spikecolor": _AXIS, "spikedash": "solid",
    }  # fmt: skip


def _pane(bottom: float, top: float, **more: Any) -> Figure:
    return {**_LOOK, "domain": [bottom, top], **more}


def _heading(title: str, top: float) -> Figure:
    return {
        "text": f"<b>{title}</b>", "xref": "paper", "yref": "paper", "x": 0, "y": top, "xanchor": "left",
        "yanchor": "bottom", "yshift": 4, "showarrow": False,
    }  # fmt: skip


def _figure(name: str, height: int, *, data: list[Figure], **layout: Any) -> Figure:
    return {
        "name": name,
        "data": data,
        "layout": {
            "height": height, "margin": _MARGIN, "font": _FONT, "paper_bgcolor": "#fff", "plot_bgcolor": "#fff",
            "hoverlabel": {"bgcolor": "#fff", "bordercolor": _AXIS, "font": _FONT, "namelength": -1}, **layout,
        },
    }  # fmt: skip

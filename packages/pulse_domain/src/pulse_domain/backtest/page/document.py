"""The page as a whole."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import islice

import msgspec

from pulse_domain.backtest.page.axis import TimeAxis
from pulse_domain.backtest.page.facts import InstrumentFacts, facts_of
from pulse_domain.backtest.page.orders import ORDERS_MAX, orders_table
from pulse_domain.backtest.page.plots import Figure, equity_figure, price_figure, spread_figure
from pulse_domain.backtest.page.spread import spread
from pulse_domain.backtest.page.style import CSS, JAVASCRIPT
from pulse_domain.backtest.page.words import (
    NOTHING,
    count,
    moment,
    money,
    number,
    percent,
    span,
    text,
)
from pulse_domain.backtest.result import BacktestResult
from pulse_domain.backtest.series import CandleSeries
from pulse_domain.backtest.values import ExecutionQuality, Statistics
from pulse_domain.matching import MatchingSettings

# Over the whole page.
FILLS_MAX = 5_000
SLICES_MAX = 5_000
INSTRUMENTS_MAX = 20

_CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "typesetMath": False,
    # Named one by one: among the buttons that come by themselves is one that uploads the chart.
    "modeBarButtons": [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"], ["toImage"]],
    "plotlyServerURL": "",
}
# The browser itself refuses whatever would leave the page.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def document(result: BacktestResult, *, title: str | None, plotly_js: str) -> str:
    """The page about a run, as HTML."""
    instruments = [str(series.instrument) for series in result.series]
    heading = text(_title(instruments) if title is None else title)
    axis = TimeAxis(result.series)
    figures = [equity_figure(result.equity, result.statistics, axis)]
    sections = [
        _header(result, heading),
        '<h2>Equity and drawdown</h2><div class="plot" id="plot-equity"></div>',
        _prices(result, axis, figures),
        _slippage([order.quality for order in result.orders], figures),
        _orders(result),
        "<footer>Times are Indian time, UTC+05:30. Nights and days without prices take no room on the axes of "
        f"time. Digest of the fills: {result.fills_digest()}</footer>",
    ]
    page = {"breaks": axis.range_breaks(), "config": _CONFIG, "figures": figures}
    body = "\n".join(sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{heading}</title>
<style>{CSS}</style>
<script>{plotly_js}</script>
</head>
<body>
<main>
{body}
</main>
<script type="application/json" id="figures">{_as_json(page)}</script>
<script>{JAVASCRIPT}</script>
</body>
</html>
"""


def _as_json(value: object) -> str:
    """JSON that cannot end the script element it stands in."""
    return msgspec.json.encode(value).decode().replace("<", "\\u003c")


def _title(instruments: Sequence[str]) -> str:
    more = len(instruments) - 3
    return f"Backtest of {', '.join(instruments[:3])}" + (f" and {more} more" if more > 0 else "")


# --- the figures -----------------------------------------------------------------------------------


def _header(result: BacktestResult, heading: str) -> str:
    it = result.statistics
    when = f"{moment(it.first_at)} to {moment(it.last_at)}"
    facts = f"{when} · {count(it.days, 'day')} · {count(len(result.series), 'instrument')} · seed {result.seed}"
    headline = "".join(_headline(*row) for row in _main_figures(it))
    figures = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _figures(it))
    return (
        f'<header><h1>{heading}</h1><p class="soft">{facts}<br>{_assumptions(result)}</p></header>\n'
        f'<dl class="headline">{headline}</dl>\n<dl class="figures">{figures}</dl>'
    )


def _headline(name: str, value: str, below: str, kind: str) -> str:
    return f'<div><dt>{name}</dt><dd class="{kind}">{value}<small class="soft">{below}</small></dd></div>'


def _main_figures(it: Statistics) -> list[tuple[str, str, str, str]]:
    fall = ""
    if it.max_drawdown_from is not None and it.max_drawdown_to is not None:
        fall = f"{moment(it.max_drawdown_from)[:16]}<br>to {moment(it.max_drawdown_to)[:16]}"
    gained = it.final_equity - it.starting_equity
    return [
        ("Total return", percent(it.total_return, signed=True), money(gained), _kind(gained)),
        ("Final equity", money(it.final_equity), f"from {money(it.starting_equity)}", ""),
        ("Max drawdown", percent(it.max_drawdown), fall, "bad" if it.max_drawdown else ""),
        ("Sharpe", number(it.sharpe, 2), "annualised, from days", ""),
        ("Sortino", number(it.sortino, 2), "annualised, from days", ""),
        ("Win rate", percent(it.win_rate, 1), f"of {count(it.trades, 'closing fill')}", ""),
    ]


def _figures(it: Statistics) -> list[tuple[str, str]]:
    return [
        ("Realised", money(it.realised)),
        ("Unrealised", money(it.unrealised)),
        ("Charges", money(it.charges)),
        ("Turnover", money(it.turnover)),
        ("Volatility", NOTHING if it.volatility is None else f"{number(it.volatility * 100, 2)}%"),
        ("Trades", number(it.trades)),
        ("Won / lost", f"{number(it.wins)} / {number(it.losses)}"),
        ("Profit factor", number(it.profit_factor, 2)),
        ("Days", number(it.days)),
        ("Orders", number(it.orders)),
        ("Filled in full", number(it.filled_orders)),
        ("Fills", number(it.fills)),
    ]


def _kind(value: Decimal) -> str:
    return "good" if value > 0 else "bad" if value < 0 else ""


def _assumptions(result: BacktestResult) -> str:
    """What the run took for granted, as far as it is not the default."""
    settings, defaults = result.settings, MatchingSettings()
    told = [
        f"{name.replace('_', ' ')} {_setting(getattr(settings.matching, name))}"
        for name in MatchingSettings.__struct_fields__
        if getattr(settings.matching, name) != getattr(defaults, name)
    ]
    words = [f"capital {money(settings.capital)}", f"charges: {settings.account.charges.name}"]
    if settings.square_off_at is not None:
        words.append(f"MIS squared off at {settings.square_off_at.isoformat('minutes')}")
    words.append(f"matching: {', '.join(told) if told else 'in full, at once, no slippage'}")
    return text(" · ".join(words))


def _setting(value: object) -> str:
    if isinstance(value, timedelta):
        return span(value)
    if isinstance(value, msgspec.Struct):
        fields = (f"{name} {_setting(getattr(value, name))}" for name in value.__struct_fields__)
        return f"{type(value).__name__}({', '.join(fields)})"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_setting(each)}" for key, each in value.items())
    return str(value)


# --- the sections ----------------------------------------------------------------------------------


def _prices(result: BacktestResult, axis: TimeAxis, figures: list[Figure]) -> str:
    facts = shown = facts_of(result)
    keys = [order.order_unique_key for order in result.orders]
    parts = ["<h2>Prices, fills and schedule</h2>"]
    if len(facts) > INSTRUMENTS_MAX:
        most = sorted(facts, key=lambda each: each.traded, reverse=True)[:INSTRUMENTS_MAX]
        shown = [each for each in facts if any(each is other for other in most)]
        parts.append(_note(f"{INSTRUMENTS_MAX} of {len(facts)} instruments: those with the highest turnover."))
    fills = _shares([len(each.fills) for each in shown], FILLS_MAX)
    slices = _shares([len(each.slices) for each in shown], SLICES_MAX)
    for name, drawn, there in (
        ("fills", sum(fills), sum(len(each.fills) for each in shown)),
        ("slices", sum(slices), sum(len(each.slices) for each in shown)),
    ):
        if drawn < there:
            parts.append(_note(f"{number(drawn)} of {number(there)} {name} are drawn, evenly chosen."))
    for place, each in enumerate(shown):
        name = f"price-{place + 1}"
        figure = price_figure(name, each, keys, axis, fills_max=fills[place], slices_max=slices[place])
        figures.append(figure)
        parts.append(
            f'<h3>{text(each.instrument)}</h3><p class="soft">{_about(each)}</p>'
            f'<div class="plot" id="plot-{name}"></div>'
        )
    return "\n".join(parts)


def _shares(amounts: Sequence[int], most: int) -> list[int]:
    """How many to draw of each amount, so that the sum is hardly more than `most`: at least one, if any."""
    total = sum(amounts)
    return [amount if total <= most else -(-most * amount // total) for amount in amounts]


def _about(facts: InstrumentFacts) -> str:
    series = facts.series
    if isinstance(series, CandleSeries):
        words = [f"{count(len(series), 'candle')} of {span(timedelta(microseconds=series.interval_us))}"]
    else:
        words = [count(len(series), "tick")]
        if series.late:
            words.append(f"{number(series.late)} of them late")
    if series.dropped:
        words.append(f"{count(len(series.dropped), 'row')} left out for defects")
    words.append(count(facts.orders, "order"))
    words.append(count(len(facts.fills), "fill"))
    words.append(f"{number(facts.bought)} bought, {number(facts.sold)} sold")
    words.append(f"{number(facts.held + facts.bought - facts.sold)} held at the end")
    return text(" · ".join(words))


def _slippage(qualities: Sequence[ExecutionQuality], figures: list[Figure]) -> str:
    weights = [float((it.average_price or 0) * it.filled_quantity) for it in qualities]
    measures: list[tuple[str, str, list[float | None]]] = [
        ("vs arrival price", "bps", [_float(it.slippage_vs_arrival_bps) for it in qualities]),
        ("vs interval VWAP", "bps", [_float(it.slippage_vs_vwap_bps) for it in qualities]),
        ("vs interval TWAP", "bps", [_float(it.slippage_vs_twap_bps) for it in qualities]),
        ("Lateness", "s", [_seconds(it.lateness_mean) for it in qualities]),
    ]
    rows, columns = [], dict[str, list[tuple[str, list[float]]]]()
    for name, unit, values in measures:
        known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
        if known:
            kept = [value for value, _ in known]
            rows.append(_spread_row(name, unit, kept, [weight for _, weight in known]))
            columns.setdefault(unit, []).append((name, kept))
    title = "<h2>Slippage</h2>"
    if not rows:
        return f'{title}<p class="soft">No order has been filled.</p>'
    parts = [
        title,
        '<p class="soft">Of each order the average price against a benchmark, in 1/10,000 of it: above 0 is a '
        "cost. The interval runs from the arrival to the last slice or fill. Lateness is how long after the "
        "instants of the slices the exchange filled them. Bars count orders; a pale one at an end also counts "
        "all that lies beyond.</p>",
    ]
    for unit, told in columns.items():
        # A run on candles often fills everything just when it is due.
        if unit == "bps" or any(value for _, values in told for value in values):
            name = "slippage" if unit == "bps" else "lateness"
            figures.append(spread_figure(name, unit, told))
            parts.append(f'<div class="plot" id="plot-{name}"></div>')
    heads = "".join(
        f"<th class=n>{name}</th>"
        for name in (
            "Orders",
            "Mean",
            "Weighted by value",
            "Deviation",
            "Lowest",
            "5 %",
            "Median",
            "95 %",
            "Highest",
        )
    )
    parts.append(
        f'<table class="spread"><thead><tr><th></th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )
    return "\n".join(parts)


def _spread_row(name: str, unit: str, values: Sequence[float], weights: Sequence[float]) -> str:
    it = spread(values, weights)
    figures = (
        it.mean, it.weighted, it.deviation, it.low, it.percentile_5, it.median, it.percentile_95, it.high,
    )  # fmt: skip
    cells = "".join(f"<td class=n>{number(figure, 2)}</td>" for figure in figures)
    return f"<tr><td>{name}, {unit}</td><td class=n>{number(it.orders)}</td>{cells}</tr>"


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def _orders(result: BacktestResult) -> str:
    orders = result.orders
    if not orders:
        return '<h2>Orders</h2><p class="soft">There are none.</p>'
    shown = list(islice(orders, ORDERS_MAX))
    parts = ["<h2>Orders</h2>"]
    if len(orders) > len(shown):
        parts.append(
            _note(
                f"The first {number(len(shown))} of {number(len(orders))} orders; "
                "figures and distributions above are over all of them."
            )
        )
    parts.append(
        '<p class="soft key">The bar runs from the arrival of an order to its end: <i class="idle"></i>before '
        'it is sent <i class="working"></i>working <i class="done"></i>the part that is filled; ticks are its '
        "slices. Open a line for slices and journal; click a heading to sort. Steps and journal have the times "
        "at which the run knew of a fill, that of a candle when it had ended; a trade has the time of the "
        "exchange.</p>"
    )
    parts.append(f'<div class="wide">{orders_table(shown)}</div>')
    return "\n".join(parts)


def _note(words: str) -> str:
    return f'<p class="note">{words}</p>'

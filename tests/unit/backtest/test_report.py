"""The page about a run: what it shows, that it is the same each time, and that it fetches nothing."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.account import Holding
from pulse_domain.backtest import BacktestResult, CandleSeries, Strategy
from pulse_domain.backtest.history import journal_of
from pulse_domain.backtest.page import document as page_document
from pulse_domain.backtest.page.axis import TimeAxis, evenly, lowest_and_highest
from pulse_domain.backtest.page.orders import ORDERS_MAX
from pulse_domain.backtest.page.spread import BINS_MAX, bins, spread
from pulse_domain.backtest.page.words import money, number, percent, price, span
from pulse_domain.instruments import InstrumentTerms
from pulse_domain.matching import Candle
from pulse_domain.orders.model import Product, Side
from pulse_domain.units import INDIA, to_us
from tests.unit.backtest import make

EVIL = "<script>alert('key')</script>"
SCHEDULE = "Slice, filled", "Slice, not filled in full"


@dataclass
class Page(HTMLParser):
    """A page as a browser sees it: its text without scripts, its tags, its figures."""

    html: str
    text: str = ""
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)
    raw: dict[str, list[str]] = field(default_factory=lambda: {"script": [], "style": []})

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.html)
        self.text = re.sub(r"\s+", " ", self.text)
        # The charts, their code: plotly's own, the figures, and what draws them.
        self.library, figures, self.code = self.raw["script"]
        self.drawn = json.loads(figures)
        self.figures = {each["name"]: each for each in self.drawn["figures"]}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside.append(tag)
        if tag in self.raw:
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.inside and self.inside[-1] in self.raw:
            self.raw[self.inside[-1]][-1] += data
        else:
            self.text += f" {data}"

    def traces(self, figure: str) -> dict[str, dict[str, Any]]:
        return {trace["name"]: trace for trace in self.figures[figure]["data"]}

    def about(self, key: str) -> str:
        """What is said of an order: from its key on, up to the next order."""
        found = re.search(rf"<tbody><tr><td><b>{re.escape(key)}</b>.*?</tbody>(?=\n)", self.html)
        assert found is not None
        return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", found[0]))


def report(result: BacktestResult, folder: Path, title: str | None = None) -> Page:
    written = result.report(folder / "page.html", title=title)
    assert written == folder / "page.html"
    return Page(written.read_text("utf-8"))


def some_run() -> BacktestResult:
    """Half an hour of one instrument: an order in slices, a limit never met, a refusal, a cancellation."""

    def cancel(it: make.Script) -> None:
        it.cancel(it.keys[-1])

    def buy(it: make.Script) -> None:
        it.send(quantity=1200, split_config=make.split(4, 12))

    trader = make.OnCandles(
        {
            2: buy,
            4: lambda it: it.send(Side.SELL, 50, limit="250"),
            5: lambda it: it.send(Side.SELL, 70, product=Product.CNC),
            6: lambda it: it.send(Side.BUY, 30, limit="90"),
            8: cancel,
            20: lambda it: it.send(Side.SELL, 600),
        }
    )
    rows: list[make.Bar] = [
        (100 + i, 103 + i, 99 + i, Decimal(101 + i) + Decimal("0.05")) for i in [*range(15), *range(15, 0, -1)]
    ]
    return make.run(trader, make.series(*rows), default_terms=InstrumentTerms(freeze_quantity=200))


def one_order(key: str) -> BacktestResult:
    return make.run([make.timed("09:16", key=key)], make.series(100, 101, 102, 103))


# --- what it shows ---------------------------------------------------------------------------------


def test_page_has_every_section_and_a_plot_for_each_figure(tmp_path: Path) -> None:
    page = report(some_run(), tmp_path)

    for heading in ("Equity and drawdown", "Prices, fills and schedule", "NSE:INFY", "Slippage", "Orders"):
        assert heading in page.text
    plots = [attrs["id"] for tag, attrs in page.tags if tag == "div" and attrs.get("class") == "plot"]
    assert plots == [f"plot-{name}" for name in page.figures]
    assert list(page.figures) == ["equity", "price-1", "slippage"]


def test_header_has_the_figures_of_the_run(tmp_path: Path) -> None:
    result = some_run()
    it, page = result.statistics, report(result, tmp_path)

    for name, value in {
        "Total return": percent(it.total_return, signed=True),
        "Final equity": money(it.final_equity),
        "Max drawdown": percent(it.max_drawdown),
        "Sharpe": "—",
        "Sortino": "—",
        "Volatility": "—",
        "Win rate": percent(it.win_rate, 1),
        "Trades": str(it.trades),
        "Turnover": money(it.turnover),
        "Charges": "₹0.00",
        "Days": "1",
        "Orders": "5",
        "Fills": str(it.fills),
    }.items():
        assert f" {name} {value} " in page.text
    assert "2026-01-05 09:15:00 to 2026-01-05 09:45:00 · 1 day · 1 instrument · seed 0" in page.text


def test_title_is_the_instruments_or_what_is_said(tmp_path: Path) -> None:
    data = [make.series(100, 101, instrument=it) for it in (make.INFY, make.TCS, make.SBIN, make.FUTURE)]
    result = make.run([], data)

    assert "<title>Backtest of NSE:INFY, NSE:TCS, NSE:SBIN and 1 more</title>" in report(result, tmp_path).html
    assert "<title>Q1 &amp; Q2</title>" in report(result, tmp_path, "Q1 & Q2").html


def test_assumptions_that_are_not_the_default_are_told(tmp_path: Path) -> None:
    data = make.series(100, 101)
    plain = report(make.run([], data), tmp_path).text
    changed = report(make.run([], data, matching={"participation": Decimal("0.1")}), tmp_path).text

    assert "matching: in full, at once, no slippage" in plain
    assert "matching: participation 0.1" in changed


def test_equity_and_drawdown_share_their_times(tmp_path: Path) -> None:
    result = some_run()
    traces = report(result, tmp_path).traces("equity")

    assert traces["Equity"]["x"] == traces["Drawdown"]["x"]
    assert traces["Equity"]["y"][:-1] == [float(point.equity) for point in result.equity]
    assert traces["Drawdown"]["y"][:-1] == [float(point.drawdown) for point in result.equity]


def test_fills_stand_at_their_prices_and_indian_times(tmp_path: Path) -> None:
    result = one_order("mine")
    (bought,) = [report(result, tmp_path).traces("price-1")["Bought"]]

    # Charts have no zones: they are told what the clock in India shows, as if it were Greenwich.
    assert [datetime.fromtimestamp(x / 1000, INDIA) - INDIA.utcoffset(None) for x in bought["x"]] == [
        make.at("09:16")
    ]
    assert bought["y"] == [101.0]
    assert bought["customdata"] == [["mine", 10, 1]]


def test_schedule_tells_what_was_planned_and_what_was_filled(tmp_path: Path) -> None:
    page = report(some_run(), tmp_path)
    filled, missed = (page.traces("price-1")[name] for name in SCHEDULE)

    assert [row[1:5] for row in filled["customdata"]][:4] == [[seq, 4, 300, 300] for seq in (1, 2, 3, 4)]
    assert [(row[3], row[4]) for row in missed["customdata"]] == [(50, 0), (70, 0), (30, 0)]
    assert filled["customdata"][0][5] == "2026-01-05 09:18:00"


def test_units_due_meet_units_held_when_nothing_is_waited_for(tmp_path: Path) -> None:
    traces = report(some_run(), tmp_path).traces("price-1")

    assert traces["Units held"]["y"][0] == traces["Units due"]["y"][0] == 0
    assert max(traces["Units held"]["y"]) == 1200
    assert traces["Units held"]["y"][-1] == 600
    # The limit to sell 50 is due and waits until the day ends, which it does after the prices.
    assert traces["Units due"]["y"][1:3] == [300, 250]
    assert traces["Units due"]["y"][-2:] == [600, 600]


def test_holdings_of_the_start_are_held(tmp_path: Path) -> None:
    held = (Holding(instrument=make.INFY, quantity=40, average_price=Decimal(90)),)
    result = make.run(
        [make.timed("09:16", Side.SELL, 15, product=Product.CNC)], make.series(100, 101, 102), holdings=held
    )
    page = report(result, tmp_path)

    assert page.traces("price-1")["Units held"]["y"] == [40, 25, 25]
    assert "25 held at the end" in page.text


def test_few_candles_are_drawn_as_such_and_many_as_a_line(tmp_path: Path) -> None:
    few = make.run([], make.series(*[(100, 102, 99, 101)] * 5))
    many = make.run([], make.series(*range(100, 800)))

    assert report(few, tmp_path).traces("price-1")["Price"]["type"] == "candlestick"
    assert report(many, tmp_path).traces("price-1")["Close"]["mode"] == "lines"


def test_ticks_are_drawn_as_a_line(tmp_path: Path) -> None:
    data = make.ticks(("09:15:00", 100), ("09:15:01.500", 101), ("09:15:02", "100.05"))
    page = report(make.run([make.timed("09:15:01")], data), tmp_path)

    assert page.traces("price-1")["Price"]["y"] == [100.0, 101.0, 100.05]
    assert "3 ticks" in page.text


def test_each_instrument_has_a_chart_of_its_own(tmp_path: Path) -> None:
    data = [make.series(100, 101, 102), make.series(200, 201, 202, instrument=make.TCS)]
    page = report(make.run([make.timed("09:16", instrument=make.TCS)], data), tmp_path)

    assert "Bought" not in page.traces("price-1")
    assert page.traces("price-2")["Bought"]["y"] == [201.0]


def test_order_table_tells_of_every_order(tmp_path: Path) -> None:
    result = some_run()
    page = report(result, tmp_path)

    for order in result.orders:
        about, quality = page.about(order.order_unique_key), order.quality
        assert number(order.request.total_quantity) in about
        assert price(quality.average_price) in about
        assert number(quality.slippage_vs_arrival_bps, 2) in about
    whole, limit, refused, taken_back, _ = (page.about(order.order_unique_key) for order in result.orders)
    assert "accepted 2026-01-05 09:18:00 split into 4 slices 09:18:00 first sent 09:18:00" in whole
    assert "slice 2, part 2 of 2: 100 filled at" in whole
    assert "expired after" in limit
    assert "refused, INSUFFICIENT_HOLDINGS" in refused
    assert "70 shares to sell and 0 are held" in refused
    assert "cancel asked for 09:24:00 cancelled" in taken_back


def test_stops_lapses_and_withdrawals_are_told_in_words(tmp_path: Path) -> None:
    def cancel(it: make.Script) -> None:
        it.cancel(it.keys[0])

    trader = make.OnCandles(
        {
            0: lambda it: it.send(quantity=4, split_config=make.split(2, 5)),
            1: lambda it: it.send(Side.BUY, 5, trigger="105"),
            2: cancel,
            3: lambda it: it.send(quantity=6, split_config=make.split(3, 60)),
        }
    )
    page = report(make.run(trader, make.series(*range(100, 110))), tmp_path)
    withdrawn, stop, lapsed = (page.about(f"order-{n}") for n in (1, 2, 3))

    assert "slice 2: withdrawn before it was sent" in withdrawn
    assert "partially filled after 2 min" in withdrawn
    assert "SL-M at 105.00 · MIS · DAY · 1 slice" in stop
    assert "sent 09:17:00 waits for its trigger 09:17:00 triggered 09:21:00 filled after 4 min" in stop
    assert "slice 3: never sent: the prices had ended" in lapsed


def test_slices_have_their_times_and_lateness(tmp_path: Path) -> None:
    data = make.series(100, 101, 102, 103, start=make.at("09:15"))
    result = make.run([make.timed("09:16:30", quantity=8, split_config=make.split(2, 1), key="late")], data)

    page = report(result, tmp_path)

    assert "1 09:16:30 4 4 102.00 09:16:30 09:17:00 30 s filled" in page.about("late")
    assert sum(page.traces("lateness")["Lateness"]["y"]) == 1


def test_slippage_counts_orders_and_sums_them_up(tmp_path: Path) -> None:
    result = some_run()
    page = report(result, tmp_path)
    known = [it.quality.slippage_vs_arrival_bps for it in result.orders if it.quality.average_price]

    assert sum(page.traces("slippage")["vs arrival price"]["y"]) == len(known) == 2
    assert f"vs arrival price, bps 2 {number(sum(known) / 2, 2)}" in page.text  # type: ignore[arg-type]


def test_lateness_is_left_out_where_nothing_is_late(tmp_path: Path) -> None:
    page = report(one_order("in time"), tmp_path)

    assert "lateness" not in page.figures
    assert "Lateness, s 1 0.00" in page.text


def test_run_without_orders_has_a_page(tmp_path: Path) -> None:
    page = report(make.run([], make.series(100, 101, 102)), tmp_path)

    assert list(page.figures) == ["equity", "price-1"]
    assert "No order has been filled." in page.text
    assert "There are none." in page.text
    assert page.traces("equity")["Equity"]["y"] == [10_000_000.0, 10_000_000.0]


def test_orders_without_fills_have_a_page(tmp_path: Path) -> None:
    page = report(make.run([make.timed("09:16", limit="50")], make.series(100, 101, 102)), tmp_path)

    assert list(page.figures) == ["equity", "price-1"]
    assert "expired" in page.about("order-1")


@pytest.mark.parametrize("make_run", [some_run, lambda: make.run([], make.series(100, 101))])
def test_plotly_knows_every_attribute_of_the_figures(tmp_path: Path, make_run: Any) -> None:
    page = report(make_run(), tmp_path)

    for figure in page.figures.values():
        for axis in figure["layout"].values():
            if isinstance(axis, dict) and axis.get("type") == "date":
                axis["rangebreaks"] = page.drawn["breaks"]
        plotly.graph_objects.Figure(figure["data"], figure["layout"])


# --- what comes from users, and what leaves the page -----------------------------------------------


def test_what_users_name_is_text_and_never_markup(tmp_path: Path) -> None:
    page = report(one_order(EVIL), tmp_path, title=EVIL)

    assert page.text.count(EVIL) >= 3  # in the title, the heading and the table
    assert len(page.raw["script"]) == 3
    assert page.html.count("</script>") == 3
    # Hover labels are read as HTML of plotly's.
    hovered = page.traces("price-1")["Bought"]["customdata"][0][0]
    assert hovered == "&lt;script&gt;alert('key')&lt;/script&gt;"


def test_page_fetches_nothing(tmp_path: Path) -> None:
    page = report(some_run(), tmp_path)
    own = page.html.replace(page.library, "")

    assert "plotly.js v" in page.library
    assert not re.search(r"https?:|//[a-z]|@import|url\(", own.replace("</", ""))
    assert not [(tag, attrs) for tag, attrs in page.tags if {"src", "href", "action", "data"} & set(attrs)]
    assert not {tag for tag, _ in page.tags} & {"link", "img", "iframe", "base", "form", "object"}
    (policy,) = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert page.drawn["config"]["plotlyServerURL"] == ""
    assert "sendChartToCloud" not in own


def test_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    once, again = (
        some_run().report(tmp_path / name, title="T").read_bytes() for name in ("one.html", "two.html")
    )

    assert once == again


def test_report_takes_the_place_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("x" * 10_000_000)

    one_order("mine").report(str(path))

    assert path.read_text("utf-8").endswith("</html>\n")


def test_report_without_plotly_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['plotly'] = None\n"
        "from tests.unit.backtest import make\n"
        "from pulse_domain.errors import MissingExtra\n"
        "try: make.run([], make.series(100, 101)).report('never.html')\n"
        "except MissingExtra as error: print(error.package, error.extra, error.__cause__)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ran.stdout == "plotly report None\n"
    assert not Path("never.html").exists()


def test_plotly_is_imported_for_a_report_only() -> None:
    script = (
        "import sys\nfrom tests.unit.backtest import make\n"
        "make.run([], make.series(100, 101)).statistics\n"
        "print([name for name in sys.modules if name.startswith('plotly') or 'backtest.page' in name])\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ran.stdout == "[]\n"


# --- large runs ------------------------------------------------------------------------------------


class Often(Strategy):
    """Buys and sells at every candle."""

    def on_candle(self, candle: Candle) -> None:
        trade = self.sell if self.position(candle.instrument) else self.buy
        trade(candle.instrument, 10, product=Product.MIS)


def often(candles: int) -> BacktestResult:
    return make.run(Often(), make.series(*[100 + i % 7 for i in range(candles)]))


def test_orders_beyond_the_most_are_counted_and_never_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = often(ORDERS_MAX + 20)
    looked_at: list[str] = []

    def noted(tracked: Any, *rest: Any) -> Any:
        looked_at.append(tracked.key)
        return journal_of(tracked, *rest)

    monkeypatch.setattr("pulse_domain.backtest.result.journal_of", noted)
    page = report(result, tmp_path)

    assert page.html.count("<tbody><tr><td><b>order-") == ORDERS_MAX
    assert looked_at == [f"order-{n}" for n in range(1, ORDERS_MAX + 1)]
    assert f"The first {ORDERS_MAX} of {len(result.orders)} orders" in page.text
    assert sum(page.traces("slippage")["vs arrival price"]["y"]) == len(result.fills)


def test_fills_and_slices_beyond_the_most_are_thinned_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_document, "FILLS_MAX", 10)
    monkeypatch.setattr(page_document, "SLICES_MAX", 20)
    result = often(100)
    page = report(result, tmp_path)
    traces = page.traces("price-1")

    assert len(traces["Bought"]["x"]) + len(traces["Sold"]["x"]) == 10
    assert sum(len(traces[name]["x"]) for name in SCHEDULE if name in traces) == 20
    assert f"10 of {len(result.fills)} fills are drawn" in page.text
    assert f"20 of {len(result.orders)} slices are drawn" in page.text


def test_instruments_beyond_the_most_are_those_that_traded_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_document, "INSTRUMENTS_MAX", 1)
    data = [make.series(100, 101, 102), make.series(200, 201, 202, instrument=make.TCS)]
    page = report(make.run([make.timed("09:16", instrument=make.TCS)], data), tmp_path)

    assert "price-2" not in page.figures
    assert page.traces("price-1")["Bought"]["y"] == [201.0]
    assert "1 of 2 instruments" in page.text


def test_long_journals_are_shortened_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulse_domain.backtest.page.orders.LINES_MAX", 20)
    result = make.run(
        [make.timed("09:15", quantity=100, split_config=make.split(50, 100), key="long")],
        make.series(*range(100, 230)),
    )
    about = report(result, tmp_path).about("long")

    assert "… 30 more …" in about  # slices
    assert f"… {len(result.orders[0].journal) - 20} more …" in about
    assert "slice 50: 2 filled at" in about


def test_lines_are_thinned_without_their_extremes() -> None:
    values = [100.0 + (i * 7919 % 1000) / 1000 for i in range(100_000)]
    values[12_345], values[67_890] = 500.0, 1.0
    kept = lowest_and_highest(values, 4_000)

    assert len(kept) <= 4_000
    assert {0, 12_345, 67_890, 99_999} <= set(kept)
    assert list(kept) == sorted(kept)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(4, 100))
def test_a_thinned_line_keeps_its_ends_lowest_and_highest(values: list[float], most: int) -> None:
    kept = [values[i] for i in lowest_and_highest(values, most)]

    assert len(kept) <= max(most, 4)
    assert (kept[0], kept[-1]) == (values[0], values[-1])
    assert (min(kept), max(kept)) == (min(values), max(values))


@given(st.integers(0, 500), st.integers(0, 100))
def test_evenly_chosen_are_as_many_as_asked_for_and_in_order(n: int, most: int) -> None:
    kept = list(evenly(n, most))

    assert len(kept) == min(n, most)
    assert kept == sorted(set(kept))
    assert all(0 <= i < n for i in kept)


# --- the axis of time ------------------------------------------------------------------------------


def days(*numbers: int, sessions: tuple[str, ...] = ("09:15",), interval: timedelta = make.MINUTE) -> Any:
    candles = [
        candle
        for day in numbers
        for session in sessions
        for candle in make.bars(100, 101, 102, start=make.at(session, day), interval=interval)
    ]
    return CandleSeries.from_candles(candles, interval=interval)


def test_nights_and_days_without_prices_are_left_out_and_a_saturday_session_is_not() -> None:
    # Friday, Saturday and Monday.
    axis = TimeAxis([days(16, 17, 19)])

    assert [bounds["bounds"] for bounds in axis.range_breaks()] == [
        ["2026-01-16 09:18:00.001", "2026-01-17 09:15:00.000"],
        ["2026-01-17 09:18:00.001", "2026-01-19 09:15:00.000"],
    ]


def test_what_any_instrument_trades_in_is_shown() -> None:
    axis = TimeAxis([days(5, 6), days(5, 6, sessions=("09:00", "23:27"))])

    assert [bounds["bounds"] for bounds in axis.range_breaks()] == [
        ["2026-01-05 23:30:00.001", "2026-01-06 09:00:00.000"]
    ]


def test_a_pause_within_a_day_is_shown() -> None:
    assert TimeAxis([days(17, sessions=("09:15", "11:45"))]).range_breaks() == []


def test_trading_around_the_clock_has_no_breaks() -> None:
    assert TimeAxis([days(5, interval=timedelta(hours=20))]).range_breaks() == []


def test_an_instant_without_prices_stands_where_they_begin_again() -> None:
    axis = TimeAxis([days(5, 6)])
    opening, close = axis.place(to_us(make.at("09:15", 6))), axis.place(to_us(make.at("09:18", 5)))

    assert axis.place(to_us(make.at("18:00", 5))) == opening
    assert axis.place(to_us(make.at("09:18", 5)) + 2_000) == opening
    assert close == opening - (timedelta(days=1) - 3 * make.MINUTE) / timedelta(milliseconds=1)
    assert axis.place(to_us(make.at("08:00", 5))) == axis.place(to_us(make.at("09:15", 5)))
    assert axis.place(to_us(make.at("23:00", 6))) == axis.place(to_us(make.at("09:18", 6)))


def test_too_many_breaks_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulse_domain.backtest.page.axis.BREAKS_MAX", 1)

    assert len(TimeAxis([days(5, 6)]).range_breaks()) == 1
    assert TimeAxis([days(5, 6, 7)]).range_breaks() == []


# --- figures ---------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e5, 1e5).map(lambda value: round(value, 2)), min_size=1, max_size=200))
def test_bins_count_every_value_and_tell_costs_from_gains(values: list[float]) -> None:
    found = bins(values)

    assert sum(each.orders for each in found) == len(values)
    assert len(found) <= BINS_MAX + 1
    assert all(each.first >= 0 or each.last <= 1e-9 for each in found) or min(values) == max(values)
    assert not any(each.below for each in found[1:])
    assert not any(each.above for each in found[:-1])


def test_a_value_far_out_is_counted_at_the_end() -> None:
    found = bins([*[float(i % 10) for i in range(100)], 100_000.0])

    assert found[-1].above
    assert found[-1].orders == 1
    assert found[-1].last < 200


def test_spread_weighs_by_value() -> None:
    it = spread([1.0, 3.0], [3.0, 1.0])

    assert (it.mean, it.weighted, it.low, it.high, it.median) == (2.0, 1.5, 1.0, 3.0, 2.0)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (number(None), "—"),
        (number(1234567), "1,234,567"),
        (number(-1234.5, 2), "−1,234.50"),
        (number(Decimal("-0.001"), 2), "0.00"),
        (number(Decimal("0.5"), 1, signed=True), "+0.5"),
        (number(0, 1, signed=True), "0.0"),
        (money(Decimal("-1234567.8")), "−₹1,234,567.80"),
        (money(None), "—"),
        (price(Decimal("1500.0000")), "1,500.00"),
        (price(Decimal("83.1225")), "83.1225"),
        (price(None), "—"),
        (percent(Decimal("-0.0123")), "−1.23%"),
        (percent(None), "—"),
        (span(None), "—"),
        (span(timedelta()), "0 s"),
        (span(timedelta(milliseconds=2500)), "2.5 s"),
        (span(timedelta(seconds=-90)), "−1 min 30 s"),
        (span(timedelta(minutes=54)), "54 min"),
        (span(timedelta(hours=1, minutes=20, seconds=5)), "1 h 20 min"),
        (span(timedelta(days=3, minutes=20)), "3 d"),
    ],
)
def test_figures_in_words(told: str, expected: str) -> None:
    assert told == expected

"""The page about a backtest, in a real browser that cannot reach anything."""

import shutil
import subprocess
from pathlib import Path

import pytest

from pulse_domain.orders.model import Side
from tests.unit.backtest import make

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PLOTS = ('id="plot-equity"', 'id="plot-price-1"', 'id="plot-slippage"')


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_report_draws_its_plots_without_a_network(tmp_path: Path) -> None:
    prices = [(100 + i % 5, 106 + i % 5, 99 + i % 5, 102 + i % 5) for i in range(60)]
    orders = [
        make.timed("09:16", quantity=50, split_config=make.split(5, 20), key="<b>in slices</b>"),
        make.timed("09:40", Side.SELL, 20, limit="500", key="never"),
    ]
    path = make.run(orders, make.series(*prices)).report(tmp_path / "report.html")
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
        "--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip

    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)

    # Errors of scripts, and whatever the policy of the page has refused.
    assert [line for line in ran.stderr.splitlines() if "CONSOLE" in line] == []
    page = ran.stdout.partition("<main>")[2].partition("</main>")[0]
    for plot in PLOTS:
        assert 'class="main-svg"' in page.partition(plot)[2].partition('id="plot-')[0]
    for drawn in ("scatterlayer", "boxlayer", "barlayer", 'class="point"', ">Drawdown from the peak<"):
        assert drawn in page
    assert "<b>&lt;b&gt;in slices&lt;/b&gt;</b>" in page

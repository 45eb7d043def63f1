"""`pulse up` on recorded prices: fills lie inside the candles that were played."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from tests.acceptance.conftest import pulse_up

SHARED = Path(__file__).parents[3] / "shared/data"


def candle_file(folder: Path) -> dict[datetime, tuple[Decimal, Decimal]]:
    """Candles in a narrow, moving range; a candle's low and high by its start."""
    start = datetime(2026, 1, 5, 3, 45, tzinfo=UTC)
    rows, ranges = ["timestamp,open,high,low,close,volume"], {}
    for minute in range(45):
        at = start + timedelta(minutes=minute)
        low = Decimal(1000 + minute)
        rows.append(f"{at.isoformat()},{low + 1},{low + 2},{low},{low + 1},5000")
        ranges[at] = (low, low + 2)
    (folder / "TCS.csv").write_text("\n".join(rows) + "\n")
    return ranges


def test_fills_of_a_replay_lie_inside_its_candles(tmp_path: Path) -> None:
    ranges = candle_file(tmp_path)
    lowest, highest = min(low for low, _ in ranges.values()), max(high for _, high in ranges.values())
    with pulse_up("--feed", f"replay:{tmp_path / 'TCS.csv'}", "--feed-speed", "60") as up:
        placed = [
            up.json("order", "place", name, "buy", "10", "--splits", "2", "--minutes", "1")
            for name in ("NSE:TCS", "NSE:RELIANCE")
        ]
        for each in placed:
            up.run("order", "watch", each["order_id"])
            shown = up.json("order", "show", each["order_id"])
            fills = [f for s in shown["slices"] for e in s["executions"] for f in e["fills"]]
            assert len(fills) == 2
            assert all(lowest <= Decimal(fill["price"]) <= highest for fill in fills)
            # The candles rise by a rupee each, and a minute is one and a third rounds through the file.
            assert Decimal(fills[0]["price"]) != Decimal(fills[1]["price"])


def test_alert_of_a_public_receiver_is_filled_on_real_candles() -> None:
    alerts = sorted((SHARED / "tradingview-alerts").glob("01*.json"))
    candles = SHARED / "nse-1min/TCS_1min_2024-01_2024-02.csv.gz"
    if not alerts or not candles.exists():
        pytest.skip("the shared alerts and candles are not on this machine")
    rendered = json.loads(alerts[0].read_text())["rendered"]
    with pulse_up("--feed", f"replay:{candles}") as up:
        url, secret = up.webhook.rsplit("/", 1)
        answer = httpx.post(url, content=rendered.replace("REPLACE_WITH_KEY", secret))
        assert answer.status_code == 202, answer.text
        order_id = answer.json()["order_id"]
        assert up.run("order", "watch", order_id).returncode == 0
        shown = up.json("order", "show", order_id)

    fills = [Decimal(f["price"]) for s in shown["slices"] for e in s["executions"] for f in e["fills"]]
    assert len(shown["slices"]) == 6
    assert sum(s["quantity"] for s in shown["slices"]) == 10
    # The first two minutes of the file: low 3776.00, high 3793.00.
    assert all(Decimal("3776") <= price <= Decimal("3793") for price in fills), fills

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from pulse_adapters.telegram.order_api import PositionRow, PositionsAnswer
from pulse_adapters.telegram.result_texts import pnl_text, positions_text

NOTHING: dict[str, Any] = {"realised": "0", "unrealised": "0", "charges": "0", "net": "0"}


def position(**over: Any) -> PositionRow:
    row = NOTHING | {
        "strategy_tag": "macd", "instrument": "NSE:TCS", "product": "MIS", "quantity": 10,
        "average_price": "3000.1250", "last_price": "3001", "price_age_s": 5.4, "price_stale": False,
        "provisional": False,
    }  # fmt: skip
    return msgspec.convert(row | over, PositionRow)


def answer(*rows: PositionRow) -> PositionsAnswer:
    tags = dict.fromkeys(row.strategy_tag for row in rows)
    return msgspec.convert(
        {
            "positions": [msgspec.to_builtins(row) for row in rows],
            "strategies": [NOTHING | {"strategy_tag": tag} for tag in tags],
            "total": NOTHING,
            "today": NOTHING | {"net": "-1234.5", "unrealised": None},
        },
        PositionsAnswer,
    )


@pytest.mark.parametrize(
    ("age_s", "stale", "shown"),
    [
        (5.4, False, "last 3,001.00, 5 s ago;"),
        (600.0, True, "last 3,001.00, 10 min ago (too old to count);"),
        (90_000.0, True, "last 3,001.00, 25 h ago (too old to count);"),
    ],
)
def test_the_age_of_a_price_is_told(age_s: float, stale: bool, shown: str) -> None:
    assert shown in positions_text(answer(position(price_age_s=age_s, price_stale=stale)))


def test_closed_positions_have_no_line() -> None:
    assert positions_text(answer(position(quantity=0))) == "No position is open."


def test_what_rests_on_a_running_total_is_marked() -> None:
    text = positions_text(answer(position(provisional=True), position()))

    first, second, note = text.splitlines()
    assert first.endswith("*")
    assert not second.endswith("*")
    assert note == "* some of its trades are not told yet"


def test_long_lists_fit_into_a_message() -> None:
    huge = Decimal("9999999999.99")
    rows = [
        position(
            strategy_tag=f"{number:064}", instrument="NFO:" + "X" * 60, quantity=10**9, average_price=huge,
            last_price=huge, realised=huge, unrealised=-huge, provisional=True,
        )
        for number in range(60)
    ]  # fmt: skip

    for text in (positions_text(answer(*rows)), pnl_text(answer(*rows))):
        assert "... and 45 more" in text
        assert len(text) < 4096


def test_the_day_comes_first_and_what_is_unknown_is_told() -> None:
    first, *_ = pnl_text(answer(position())).splitlines()

    assert first == "Today: net -1,234.50 (realised 0.00, unrealised unknown, charges 0.00)"

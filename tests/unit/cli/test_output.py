from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pulse import output
from pulse.errors import GatewayError
from pulse.views import JournalRow, Split
from tests.unit.cli import make

NINE_UTC = datetime(2026, 1, 5, 3, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("3787", "3787.00"),
        ("3787.5", "3787.50"),
        ("3787.05", "3787.05"),
        ("3787.0500", "3787.05"),
        ("83.1225", "83.1225"),
        ("83.122", "83.122"),
        ("83.12254", "83.1225"),
        ("100", "100.00"),
    ],
)
def test_price_has_two_to_four_decimals(value: str | None, shown: str) -> None:
    assert output.price(None if value is None else Decimal(value)) == shown


@pytest.mark.usefixtures("kolkata")
def test_instant_is_local_with_its_offset() -> None:
    assert output.instant(NINE_UTC) == "2026-01-05 09:15:00+05:30"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "-"), (0.0123, "+0.012 s"), (75.5, "+75.500 s"), (-0.5, "-0.500 s")]
)
def test_lateness_is_signed(seconds: float | None, shown: str) -> None:
    assert output.lateness(seconds) == shown


def test_text_of_others_cannot_steer_the_terminal() -> None:
    assert output.clean("a\n b\x1b[2Jc\u202e") == "a b\ufffd[2Jc\ufffd"


@pytest.mark.usefixtures("kolkata")
@pytest.mark.parametrize(
    ("event", "rest"),
    [
        ({"kind": "split_claimed", "attempt": 1}, "split_claimed attempt=1"),
        ({"kind": "split_saved", "slices": [[1], [2]]}, "split_saved slices=2"),
        (
            {"kind": "execution_filled", "seq": 3, "chunk": 0, "fill": {"trade_id": "T1", "price": "1.05"}},
            "execution_filled slice=3 chunk=0 trade_id=T1 price=1.05",
        ),
    ],
)
def test_journal_row_is_one_plain_line(event: dict[str, Any], rest: str) -> None:
    row = JournalRow(seq=7, at=NINE_UTC, event=event)

    assert output.journal_line(row) == f"2026-01-05 09:15:00.000+05:30 #7 {rest}"


def test_summary_of_a_filled_order_is_short() -> None:
    order = make.order(
        state="FILLED", quantities=make.quantities(filled=120), average_price=Decimal("3787.0512")
    )

    assert output.summary(order) == "ord_1 FILLED: 120 of 120 filled at 3787.0512"


def test_summary_says_where_the_rest_is_and_why() -> None:
    order = make.order(
        state="FAILED", quantities=make.quantities(filled=20, cancelled=40, failed=60), failure="ATTEMPTS_SPENT"
    )

    assert output.summary(order) == "ord_1 FAILED: 20 of 120 filled, 40 cancelled, 60 failed, ATTEMPTS_SPENT"


@pytest.mark.usefixtures("kolkata")
def test_order_table_shows_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    split = Split(num_splits=6, duration_minutes=1, randomize=True)

    output.show(output.order_table(make.order(split_config=split, limit_price=Decimal("3700.5"))))

    assert capsys.readouterr().out == (
        "order    ord_1\n"
        "key      k-1\n"
        "what     BUY 120 NSE:TCS\n"
        "how      MARKET CNC DAY\n"
        "limit    3700.50\n"
        "split    6 over 1 min, randomised\n"
        "created  2026-01-05 09:15:00+05:30\n"
        "starts   2026-01-05 09:15:00+05:30\n"
        "ends     2026-01-05 09:15:00+05:30\n"
        "state    WORKING: 0 of 120 filled, 120 unsent\n"
    )


@pytest.mark.usefixtures("kolkata")
def test_slices_of_one_day_share_its_date(capsys: pytest.CaptureFixture[str]) -> None:
    slices = [
        make.slice_(1, stage="PROCESSED", outcome="FILLED", executions=(make.filled(20, "3787.05"),)),
        make.slice_(2),
    ]

    output.show(output.slices_table(slices))

    assert capsys.readouterr().out.splitlines() == [
        "   scheduled",
        "#  2026-01-05      quantity  stage      outcome  filled  average",
        "────────────────────────────────────────────────────────────────",
        "1  09:15:00+05:30        20  PROCESSED  FILLED       20  3787.05",
        "2  09:16:00+05:30        20  SCHEDULED  -             0        -",
    ]


@pytest.mark.usefixtures("kolkata")
def test_slices_of_two_days_carry_their_dates(capsys: pytest.CaptureFixture[str]) -> None:
    slices = [make.slice_(1), make.slice_(2, scheduled_at=make.NINE + timedelta(days=1))]

    output.show(output.slices_table(slices))

    assert "2026-01-06 09:15:00+05:30" in capsys.readouterr().out


def test_average_of_a_slice_weighs_its_executions() -> None:
    slice_ = make.slice_(executions=(make.filled(30, "100"), make.filled(10, "104"), make.execution()))

    assert slice_.filled_quantity == 40
    assert slice_.average_price == Decimal(101)


def test_reasons_are_shown_once_and_as_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    refused = make.execution(reason_code="MARGIN", reason="[red]short\x1b[2J of funds")

    output.show(output.slices_table([make.slice_(executions=(refused, refused))]))

    assert capsys.readouterr().out.rstrip().endswith("  MARGIN: [red]short\ufffd[2J of funds")


def test_error_is_code_message_and_what_the_message_leaves_out() -> None:
    error = GatewayError(
        "DUPLICATE_ORDER_UNIQUE_KEY",
        "another order has this key",
        409,
        {"existing_order_id": "ord_1", "field": "order_unique_key"},
    )

    assert str(error) == "DUPLICATE_ORDER_UNIQUE_KEY: another order has this key [existing_order_id=ord_1]"


@pytest.mark.parametrize(("status", "temporary"), [(None, True), (429, True), (503, True), (409, False)])
def test_error_is_temporary_where_asking_again_may_help(status: int | None, temporary: bool) -> None:
    assert GatewayError("X", "y", status).is_temporary is temporary

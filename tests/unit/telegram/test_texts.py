from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_adapters.telegram.texts import cut, length, lines_that_fit, notification_text, value_text
from pulse_domain.ports.notifier import Notification, NotificationKind, Severity


def test_a_notification_is_one_line_of_its_parts() -> None:
    text = notification_text(
        Notification(
            kind=NotificationKind.FILL,
            about="NSE:RELIANCE",
            parts={"side": "BUY", "quantity": 12500, "price": Decimal("1402.35")},
        )
    )

    assert text == "Fill NSE:RELIANCE: side BUY, quantity 12,500, price 1,402.35"


def test_what_matters_is_marked() -> None:
    text = notification_text(
        Notification(kind=NotificationKind.HALT, severity=Severity.HIGH, parts={"reason": "fat\nfinger"})
    )

    assert text == "\u2757 Trading is halted: reason fat finger"


@pytest.mark.parametrize("kind", NotificationKind)
def test_every_kind_has_a_headline(kind: NotificationKind) -> None:
    assert notification_text(Notification(kind=kind))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-1234567, "-1,234,567"),
        (Decimal("1E+3"), "1,000"),
        (Decimal("0.0500"), "0.0500"),
        ("two\n lines\t", "two lines"),
    ],
)
def test_values_read_as_people_write_them(value: int | Decimal | str, text: str) -> None:
    assert value_text(value) == text


@given(st.text(max_size=60), st.integers(2, 40))
def test_cut_texts_fit_and_begin_as_the_text_does(text: str, units: int) -> None:
    short = cut(text, units)

    assert length(short) <= units
    assert short == text or text.startswith(short[:-1])


@given(st.lists(st.text(max_size=12), min_size=1, max_size=12), st.integers(5, 40))
def test_as_many_lines_are_taken_as_fit_and_at_least_one(lines: list[str], units: int) -> None:
    count = lines_that_fit(lines, units)

    assert 1 <= count <= len(lines)
    assert count == 1 or length("\n".join(lines[:count])) <= units
    assert count == len(lines) or length("\n".join(lines[: count + 1])) > units

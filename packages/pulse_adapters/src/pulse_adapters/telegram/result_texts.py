"""Positions and results as a chat reads them. What is not known is told as such."""

from collections.abc import Iterable
from decimal import Decimal

from pulse_adapters.telegram.order_api import PositionRow, PositionsAnswer, ResultRow

# A message holds 4,096 characters.
_SHOWN_MAX = 15


def positions_text(answer: PositionsAnswer) -> str:
    """What is held, each position a line; closed ones of today have no line."""
    held = [row for row in answer.positions if row.quantity]
    if not held:
        return "No position is open."
    lines = [_position(row) for row in held[:_SHOWN_MAX]]
    if len(held) > _SHOWN_MAX:
        lines.append(f"... and {len(held) - _SHOWN_MAX} more")
    if any(row.provisional for row in held):
        lines.append("* some of its trades are not told yet")
    return "\n".join(lines)


def pnl_text(answer: PositionsAnswer) -> str:
    """The day's result, and what came of each strategy since its first fill."""
    if not answer.strategies:
        return "Nothing was traded yet."
    lines = [f"Today: {_result(answer.today)}", f"Since the first fill: {_result(answer.total)}"]
    lines += _cut([f"{_tag(row.strategy_tag)}: {_result(row)}" for row in answer.strategies])
    return "\n".join(lines)


def _position(row: PositionRow) -> str:
    product = f"{_tag(row.strategy_tag)} {row.instrument} {row.product}"
    text = f"{product}: {row.quantity:,} at {_amount(row.average_price)}"
    if row.last_price is None or row.price_age_s is None:
        price = "no price is known"
    else:
        price = f"last {_amount(row.last_price)}, {_age(row.price_age_s)} ago"
        price += " (too old to count)" if row.price_stale else ""
    mark = " *" if row.provisional else ""
    return f"{text}, {price}; unrealised {_amount(row.unrealised)}, realised {_amount(row.realised)}{mark}"


def _result(row: ResultRow) -> str:
    return (
        f"net {_amount(row.net)} (realised {_amount(row.realised)}, unrealised {_amount(row.unrealised)},"
        f" charges {_amount(row.charges)})"
    )


def _amount(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"{amount:,.2f}"


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _tag(tag: str | None) -> str:
    return tag or "(no tag)"


def _cut(lines: Iterable[str]) -> list[str]:
    kept = list(lines)
    more = len(kept) - _SHOWN_MAX
    return [*kept[:_SHOWN_MAX], f"... and {more} more"] if more > 0 else kept

"""`pulse positions` and `pulse ledger`: what is held and what came of it, asked of the gateway."""

import re
from collections.abc import Iterator
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from pulse import output
from pulse.errors import BadInput
from pulse.orders import AsJson, Token, Url, open_gateway
from pulse.views import Json, LedgerPage, LedgerRow, Position, Positions, Result

if TYPE_CHECKING:
    from rich.table import Table

    from pulse.client import Gateway

_PAGE = 200
_matches_tag = re.compile(r"[A-Za-z0-9_.:-]{1,64}").fullmatch
_matches_instrument = re.compile(r"[A-Z]{2,6}:\S{1,64}").fullmatch


class Status(StrEnum):
    OPEN = "OPEN"
    TRADED = "TRADED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"


Strategy = Annotated[str | None, typer.Option("--strategy", metavar="TAG", help="Of one strategy only.")]


def positions(
    strategy: Strategy = None,
    closed: Annotated[bool, typer.Option("--closed", help="Also what was closed on earlier days.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Show positions and their results, by strategy. What is not known is shown as `-`."""
    query = _query(strategy_tag=_tag(strategy), closed="true" if closed else None)
    with open_gateway(url, token) as gateway:
        answer = gateway.positions(query)
    if as_json:
        output.say_json(answer)
        return
    found = msgspec.convert(answer, Positions)
    if found.positions:
        output.show(_positions_table(found.positions))
        output.say("")
    output.show(_results_table(found))


def ledger(
    day: Annotated[
        str | None, typer.Option(metavar="DAY", help="Due on this trading day, such as 2026-01-05.")
    ] = None,
    strategy: Strategy = None,
    instrument: Annotated[
        str | None, typer.Option(metavar="INSTRUMENT", help="EXCHANGE:SYMBOL, such as NSE:TCS.")
    ] = None,
    status: Annotated[Status | None, typer.Option(case_sensitive=False, help="In this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=_PAGE, help="So many, the newest.")] = 20,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on behind a former list: its next_cursor.")
    ] = None,
    csv: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write all rows into a CSV file; - is stdout.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file where it exists.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List what became of each order at the broker, newest first; or write all of it as CSV."""
    query = _query(
        day=_day(day), strategy_tag=_tag(strategy), instrument=_instrument(instrument), status=status
    )
    if csv is None:
        if force:
            raise BadInput("--force goes with --csv")
        with open_gateway(url, token) as gateway:
            answer = gateway.ledger(query | {"limit": limit} | ({"cursor": cursor} if cursor else {}))
        _show(answer, as_json=as_json)
        return
    if as_json or cursor:
        raise BadInput("--csv goes with neither --json nor --cursor: it writes all rows")
    from pulse.ledger_csv import check_target, write_csv

    target = None if csv == "-" else Path(csv)
    if target is not None:
        check_target(target, force=force)
    with open_gateway(url, token) as gateway:
        count = write_csv(target, _rows(gateway, query))
    if target is not None:
        output.say(f"{count} rows in {target}")


def _rows(gateway: "Gateway", query: Json) -> Iterator[LedgerRow]:
    cursor: str | None = None
    while True:
        answer = gateway.ledger(query | {"limit": _PAGE} | ({"cursor": cursor} if cursor else {}))
        page = msgspec.convert(answer, LedgerPage)
        yield from page.rows
        cursor = page.next_cursor
        if cursor is None:
            return


def _show(answer: Json, *, as_json: bool) -> None:
    if as_json:
        output.say_json(answer)
        return
    page = msgspec.convert(answer, LedgerPage)
    if page.rows:
        output.show(_ledger_table(page.rows))
    else:
        output.say("no rows")
    if page.next_cursor:
        output.say(f"more: the same with --cursor {page.next_cursor}")


def _query(**given: str | None) -> dict[str, Any]:
    return {name: str(value) for name, value in given.items() if value is not None}


def _tag(text: str | None) -> str | None:
    if text is not None and _matches_tag(text) is None:
        raise BadInput("--strategy must be 1 to 64 of letters, digits and _.:-")
    return text


def _instrument(text: str | None) -> str | None:
    if text is not None and _matches_instrument(text) is None:
        raise BadInput("--instrument must be EXCHANGE:SYMBOL, such as NSE:TCS")
    return text


def _day(text: str | None) -> str | None:
    try:
        return None if text is None else date.fromisoformat(text).isoformat()
    except ValueError:
        raise BadInput("--day must be a date, such as 2026-01-05") from None


def _positions_table(rows: tuple[Position, ...]) -> "Table":
    table = output.plain_table(
        ("strategy", "left"), ("instrument", "left"), ("product", "left"), ("quantity", "right"),
        ("average", "right"), ("last", "right"), ("age", "right"), ("realised", "right"),
        ("unrealised", "right"), ("charges", "right"), ("net", "right"),
    )  # fmt: skip
    for row in rows:
        table.add_row(
            output.clean(row.strategy_tag or "-"),
            output.clean(row.instrument),
            row.product,
            f"{row.quantity}{' *' if row.provisional else ''}",
            output.price(row.average_price),
            output.price(row.last_price),
            "-" if row.price_age_s is None else f"{row.price_age_s:.0f} s{' !' if row.price_stale else ''}",
            *_amounts(row),
        )
    return table


def _results_table(found: Positions) -> "Table":
    table = output.plain_table(
        ("strategy", "left"), ("realised", "right"), ("unrealised", "right"), ("charges", "right"),
        ("net", "right"),
    )  # fmt: skip
    for row in found.strategies:
        table.add_row(output.clean(row.strategy_tag or "-"), *_amounts(row))
    table.add_row("all", *_amounts(found.total))
    table.add_row("today", *_amounts(found.today))
    return table


def _amounts(row: Result) -> tuple[str, str, str, str]:
    return (
        output.price(row.realised), output.price(row.unrealised), output.price(row.charges),
        output.price(row.net),
    )  # fmt: skip


def _ledger_table(rows: tuple[LedgerRow, ...]) -> "Table":
    table = output.plain_table(
        ("due", "left"), ("strategy", "left"), ("instrument", "left"), ("side", "left"),
        ("filled", "right"), ("of", "right"), ("average", "right"), ("status", "left"),
        ("exchange id", "left"), ("execution", "left"), ("reason", "left"),
    )  # fmt: skip
    for row in rows:
        table.add_row(
            output.instant(row.due_at),
            output.clean(row.strategy_tag or "-"),
            output.clean(row.instrument),
            row.side,
            str(row.filled_quantity),
            str(row.quantity),
            output.price(row.average_price),
            output.status(row.status),
            output.clean(row.exchange_id or "-"),
            row.execution_id,
            output.clean(" ".join(word for word in (row.reason_code, row.reason) if word)),
        )
    return table

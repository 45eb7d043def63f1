"""/internal/positions and /internal/ledger."""

import re
from datetime import date
from typing import Annotated

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter

from pulse_api.bootstrap import Services
from pulse_api.ledger_wire import LedgerOut, PositionsOut, ledger_row_out, positions_out
from pulse_api.routes.orders import ClientHeader, client_id
from pulse_domain.instruments import Instrument
from pulse_domain.orders.ids import execution_id, place_of
from pulse_domain.orders.status import LedgerStatus
from pulse_domain.ports.order_store import LedgerPlace, LedgerWish
from service_kit import ServiceError

_is_tag = re.compile(r"[A-Za-z0-9_.:-]{1,64}").fullmatch


@get("/positions", summary="Show positions and their results", tags=["ledger"])
async def get_positions(
    services: NamedDependency[Services],
    client: ClientHeader = None,
    strategy_tag: FromQuery[str | None] = None,
    closed: FromQuery[bool] = False,
) -> PositionsOut:
    return positions_out(
        await services.positions(client_id(client), strategy_tag=_tag(strategy_tag), closed=closed)
    )


@get("/ledger", summary="List what became of each order at the broker", tags=["ledger"])
async def list_ledger(
    services: NamedDependency[Services],
    client: ClientHeader = None,
    day: FromQuery[str | None] = None,
    strategy_tag: FromQuery[str | None] = None,
    instrument: FromQuery[str | None] = None,
    status: FromQuery[str | None] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
    cursor: FromQuery[str | None] = None,
) -> LedgerOut:
    wish = LedgerWish(
        client_id=client_id(client),
        day=_day(day),
        strategy_tag=_tag(strategy_tag),
        instrument=None if instrument is None else Instrument.parse(instrument),
        status=_status(status),
    )
    rows, following = await services.ledger.page(wish, limit=limit, before=_place(cursor))
    return LedgerOut(
        rows=[ledger_row_out(row) for row in rows],
        next_cursor=None if following is None else execution_id(*following),
    )


def _tag(text: str | None) -> str | None:
    if text is not None and _is_tag(text) is None:
        raise _invalid("strategy_tag", "is malformed")
    return text


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
        if not 1970 <= day.year <= 9998 or day.isoformat() != text:
            raise ValueError(text)
    except ValueError:
        raise _invalid("day", "must be a date such as 2026-01-05") from None
    return day


def _status(text: str | None) -> LedgerStatus | None:
    if text is None:
        return None
    try:
        return LedgerStatus(text)
    except ValueError:
        raise _invalid("status", f"must be one of {', '.join(LedgerStatus)}") from None


def _place(cursor: str | None) -> LedgerPlace | None:
    if cursor is None:
        return None
    order_id, seq, chunk = place_of(cursor) or (None, None, None)
    if order_id is None or seq is None or chunk is None:
        raise _invalid("cursor", "is not one of ours")
    return order_id, seq, chunk


def _invalid(field: str, why: str) -> ServiceError:
    return ServiceError("INVALID_REQUEST", f"{field} {why}", {"field": field})


HANDLERS = [get_positions, list_ledger]

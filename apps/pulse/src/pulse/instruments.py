"""`pulse instruments`: store what the brokers list, and look it up. The database must be migrated."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pulse.database import database_url
from pulse.errors import BadInput
from pulse.orders import AsJson
from pulse_domain.errors import InvalidInstrument
from pulse_domain.instruments import Exchange, Instrument

app = typer.Typer(help="Store the brokers' instrument files, and look instruments up.", rich_markup_mode="rich")


class Vendor(StrEnum):
    ZERODHA = "zerodha"
    KOTAK = "kotak"


@app.command()
def sync(
    broker: Annotated[Vendor, typer.Option(help="Whose file it is.")] = Vendor.ZERODHA,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file on disk, also .gz, instead of the broker's own.")
    ] = None,
    exchange: Annotated[
        list[Exchange] | None,
        typer.Option(help="Only this exchange; may be given several times. Else all that the file has."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, max=3600, help="Seconds for one file.")] = 60,
    allow_shrink: Annotated[
        bool, typer.Option("--allow-shrink", help="Also where more than half of what is stored would end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read a broker's instrument file and store what has changed since the last one."""
    from pulse.instrument_store import SyncRequest, run_sync

    run_sync(
        SyncRequest(
            dsn=database_url("instruments"),
            broker=broker.value,
            file=file,
            url="" if file is not None else _url(broker),
            access_token=os.environ.get("KOTAK_ACCESS_TOKEN", ""),
            exchanges=frozenset(exchange or ()),
            timeout_s=timeout,
            allow_shrink=allow_shrink,
        ),
        as_json=as_json,
    )


@app.command()
def show(
    instrument: Annotated[str, typer.Argument(metavar="INSTRUMENT", help="EXCHANGE:SYMBOL, such as NSE:TCS.")],
    broker: Annotated[Vendor | None, typer.Option(help="At this broker only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show an instrument as the brokers list it, and the terms that an order would get today."""
    from pulse.instrument_store import run_show

    try:
        wanted = Instrument.parse(instrument)
    except InvalidInstrument as error:
        raise BadInput(error.message) from None
    run_show(
        database_url("instruments"),
        wanted,
        [each.value for each in Vendor if broker in (None, each)],
        as_json=as_json,
    )


def _url(broker: Vendor) -> str:
    if broker is Vendor.ZERODHA:
        from pulse_adapters.instruments import KITE_URL

        return (os.environ.get("ZERODHA_BASE_URL", "") or KITE_URL).rstrip("/")
    url = os.environ.get("KOTAK_BASE_URL", "").rstrip("/")
    if not url:
        raise BadInput("KOTAK_BASE_URL is not set: the login answers with it; or give --file")
    return url

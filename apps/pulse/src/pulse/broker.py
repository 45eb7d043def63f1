"""`pulse broker`: sessions at real brokers. The database must be migrated."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from pulse.errors import BadInput

app = typer.Typer(help="Open sessions at brokers.", rich_markup_mode="rich")


class Vendor(StrEnum):
    KOTAK = "kotak"
    ZERODHA = "zerodha"


@app.command()
def login(
    broker: Annotated[Vendor, typer.Argument(help="Whose session it is.")],
) -> None:
    """Log in at a broker for the day.

    Zerodha: open the page that is shown, and paste where it leads to. Kotak: what the environment does not have
    of mobile number, client code, MPIN and one-time code is asked for, in this order. What is secret is not
    shown; answers are read from stdin. Every process uses the new session within seconds.
    """
    try:
        match broker:
            case Vendor.KOTAK:
                from pulse.broker_login_kotak import log_in_at_kotak

                log_in_at_kotak(os.environ, _ask)
            case Vendor.ZERODHA:
                from pulse.broker_login import log_in_at_zerodha

                log_in_at_zerodha(
                    os.environ, lambda: _ask("Paste the address that it led to, or its request_token", True)
                )
    except ModuleNotFoundError as error:
        raise BadInput(f'{error.name} is not installed: pip install "pulse-adapters[{broker}]"') from error


def _ask(what: str, is_secret: bool) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(what, hide_input=is_secret))
    return sys.stdin.readline()

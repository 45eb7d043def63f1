"""What a client sends about strategies. Kinds and their parameters are Pulse's to judge."""

import re
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gapi.orders import END, INSTRUMENT, invalid
from service_kit import ServiceError

_matches_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}").fullmatch

Instrument = Annotated[str, Meta(pattern=INSTRUMENT, examples=["NSE:RELIANCE"])]
# Judged by Pulse, which names the one that is wrong.
Parameters = Annotated[
    dict[str, Any],
    Meta(
        description="By name. What is left out has the default of the kind.",
        extra_json_schema={"additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
    ),
]

# Not Decimal, as prices of orders; Pulse looks at the decimals and at 0.
Capital = (
    Annotated[str, Meta(pattern=r"^[0-9]{1,13}(\.[0-9]{1,2})?" + END, examples=["500000"])]
    | Annotated[int, Meta(gt=0, le=1_000_000_000_000)]
    | Annotated[float, Meta(gt=0, le=1_000_000_000_000)]
)


class StrategyRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a strategy is to be."""

    kind: Annotated[str, Meta(min_length=1, max_length=64, description="Of those that are shipped.")]
    instruments: Annotated[list[Instrument], Meta(min_length=1, max_length=50)]
    parameters: Parameters = {}
    mode: Annotated[Literal["live", "paper"], Meta(description="Of paper no broker hears; live trades.")] = (
        "paper"
    )
    capital: Annotated[
        Capital | None,
        Meta(
            description="Rupees that it counts with, above 0 and with at most 2 decimals; without it those of"
            " STRATEGY_CAPITAL."
        ),
    ] = None


def check_name(name: str) -> None:
    """Check the name of one that may be new.

    Raises:
        ServiceError: INVALID_REQUEST.
    """
    if _matches_name(name) is None:
        raise invalid("name", "must be 1 to 64 of A-Z a-z 0-9 _ . : -, the first a letter or digit")


def strategy_path(name: str) -> str:
    """Where Pulse has the strategy.

    Raises:
        ServiceError: NOT_FOUND: there can be none of that name.
    """
    if _matches_name(name) is None:
        raise ServiceError("NOT_FOUND", "there is no such strategy")
    return f"/internal/strategies/{name}"

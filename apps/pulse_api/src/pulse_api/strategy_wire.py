"""The shapes of strategies, to and from the domain."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from msgspec import Meta, Struct

from pulse_domain.errors import InvalidInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.ports.strategy_store import StrategyMode, StrategyRow
from pulse_domain.use_cases.strategies import INSTRUMENTS_MAX, StrategyAsk


class StrategyBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a strategy is to be; on paper, unless it says live."""

    kind: Annotated[str, Meta(min_length=1, max_length=500, examples=["macd"])]
    instruments: Annotated[
        list[Annotated[str, Meta(max_length=80)]],
        Meta(min_length=1, max_length=INSTRUMENTS_MAX, examples=[["NSE:TCS"]]),
    ]
    # Each is checked with the kind, which names the one that is wrong.
    parameters: dict[str, Any] = {}
    mode: StrategyMode = StrategyMode.PAPER
    capital: Decimal | None = None

    def ask(self, name: str) -> StrategyAsk:
        """The domain's ask, not yet checked.

        Raises:
            InvalidInstrument: an instrument is malformed.
        """
        return StrategyAsk(
            name=name,
            kind=self.kind,
            instruments=[_instrument(place, text) for place, text in enumerate(self.instruments)],
            parameters=self.parameters,
            mode=self.mode,
            capital=self.capital,
        )


class StrategyOut(Struct, frozen=True, kw_only=True):
    name: str
    kind: str
    instruments: list[str]
    parameters: dict[str, Any]
    mode: str
    capital: Decimal | None
    wanted: str
    state: str
    detail: str | None
    version: int
    changed_by: str
    changed_at: datetime
    reported_at: datetime | None


class StrategiesOut(Struct, frozen=True, kw_only=True):
    strategies: list[StrategyOut]


def strategy_out(row: StrategyRow) -> StrategyOut:
    plan = row.plan
    return StrategyOut(
        name=plan.name,
        kind=plan.kind,
        instruments=[str(instrument) for instrument in plan.instruments],
        parameters=dict(plan.parameters),
        mode=plan.mode,
        capital=plan.capital,
        wanted=plan.wanted,
        state=row.state,
        detail=row.detail,
        version=plan.version,
        changed_by=plan.changed_by,
        changed_at=plan.changed_at,
        reported_at=row.reported_at,
    )


def _instrument(place: int, text: str) -> Instrument:
    try:
        return Instrument.parse(text)
    except InvalidInstrument as error:
        raise InvalidInstrument(error.message, **(error.details | {"field": f"instruments[{place}]"})) from None

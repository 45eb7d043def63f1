"""`/strategies`, and what `/strategy` asks for: read here, confirmed and carried out by the desk."""

import re
from collections.abc import Sequence

from pulse_adapters.telegram.order_api import OrderApi, OrderApiError, StrategyRow
from pulse_adapters.telegram.texts import value_text
from pulse_adapters.telegram.wishes import Refusal, Wish

USAGE = "Write /strategy start NAME, /strategy stop NAME, or /strategy set NAME PARAMETER=VALUE ..."

_CHANGES_MAX = 20
_matches_change = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,63})=(.{0,200})").fullmatch


class StrategyCommands:
    def __init__(self, api: OrderApi) -> None:
        self._api = api

    async def listing(self) -> str:
        """All of them, as they stand. Raises: OrderApiError."""
        rows = await self._api.strategies()
        return "\n".join(map(strategy_text, rows)) or "There is no strategy."

    async def wish(self, rest: str) -> Wish:
        """What is asked for, behind the word /strategy.

        Raises:
            Refusal: it makes no sense, or not now; the text says why.
            OrderApiError.
        """
        verb, _, rest = rest.partition(" ")
        name, *changes = rest.split() or [""]
        if verb not in ("start", "stop", "set") or not name or bool(changes) is not (verb == "set"):
            raise Refusal(f"strategy {verb}".strip()[:32], USAGE)
        action = f"strategy {verb}"
        row = next((row for row in await self._api.strategies() if row.name == name), None)
        if row is None:
            raise Refusal(action, f"There is no strategy {name[:64]}; /strategies lists them.")
        if verb == "set":
            return self._change(row, changes)
        return Wish(
            action=action,
            question=_question(verb, row),
            yes=f"Yes, {verb} {name}",
            detail=name,
            work=lambda who: self._move(row.name, verb, who),
        )

    def _change(self, row: StrategyRow, changes: Sequence[str]) -> Wish:
        action, asked = "strategy set", _changes(changes)
        if asked is None:
            raise Refusal(action, USAGE)
        if row.wanted != "STOPPED":
            raise Refusal(action, f"Strategy {row.name} is to be stopped first: /strategy stop {row.name}")
        what = " ".join(f"{name}={value}" for name, value in asked.items())
        return Wish(
            action=action,
            question=f"Set {what} of strategy {row.name}? It forgets what it knew, and stays stopped.",
            yes=f"Yes, set {row.name}",
            detail=f"{row.name}: {what}",
            work=lambda who: self._set(row.name, asked, who),
        )

    async def _move(self, name: str, verb: str, who: str) -> str:
        return strategy_text(await self._api.move_strategy(name, verb, who))

    async def _set(self, name: str, asked: dict[str, str], who: str) -> str:
        # As it is now, and not as it was when the question was asked.
        row = next((row for row in await self._api.strategies() if row.name == name), None)
        if row is None:
            raise OrderApiError(f"there is no strategy {name} any more")
        return strategy_text(await self._api.set_strategy(row, row.parameters | asked, who))


def strategy_text(row: StrategyRow) -> str:
    """One line: what it is, and how it fares."""
    state = row.state
    if row.state == "FAILED":
        state = f"FAILED: {row.detail or 'nobody knows why'}"
    elif row.state != row.wanted:
        state = f"{row.state}, to be {row.wanted}"
    parameters = "".join(f" {name}={value}" for name, value in row.parameters.items())
    what = f"{row.kind} on {', '.join(row.instruments)}{parameters}{_capital(row)}"
    text = f"{row.name} ({row.mode}, {what}): {state}"
    return " ".join(text.split())


def _question(verb: str, row: StrategyRow) -> str:
    on = f"{row.name} ({row.kind} on {', '.join(row.instruments)}{_capital(row)})"
    if verb == "stop":
        return f"Stop strategy {on}? Its orders and its position stay as they are."
    if row.mode == "live":
        return f"Start strategy {on}? It is LIVE: its orders go to the broker."
    return f"Start strategy {on}, on paper?"


def _capital(row: StrategyRow) -> str:
    return "" if row.capital is None else f", capital {value_text(row.capital)}"


def _changes(texts: Sequence[str]) -> dict[str, str] | None:
    """None where one is not written PARAMETER=VALUE, or is there twice."""
    found = [match for text in texts if (match := _matches_change(text))]
    changes = {match[1]: match[2] for match in found}
    return changes if len(changes) == len(texts) <= _CHANGES_MAX else None

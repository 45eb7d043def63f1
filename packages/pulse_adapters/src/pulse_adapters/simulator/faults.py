"""Misbehaviour on demand: rules from a plan or the control endpoint, with chance from a seed."""

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from pulse_adapters.simulator.values import Doom, Stage


class Call(StrEnum):
    PLACE = "place"
    MODIFY = "modify"
    CANCEL = "cancel"
    BOOK = "book"
    READ = "read"  # every other read
    UPDATE = "update"  # a pushed update, not a call


class FaultKind(StrEnum):
    REJECT = "reject"  # a definite no at once
    REJECT_LATER = "reject_later"  # accepted, then refused by risk management or the exchange
    TOO_MANY = "too_many"  # 429 for the rest of the calendar second
    TIMEOUT_BEFORE = "timeout_before"  # never accepted, never answered
    DROP_BEFORE = "drop_before"  # never accepted, the connection is cut
    HTML_504_BEFORE = "html_504_before"  # never accepted, a proxy's page
    HANG_AFTER = "hang_after"  # accepted, never answered
    DROP_AFTER = "drop_after"  # accepted, the connection is cut
    HTML_504_AFTER = "html_504_after"  # accepted, a proxy's page
    TIMED_OUT_400 = "timed_out_400"  # accepted, answered as a bad request that timed out
    HIDE = "hide"  # accepted, in the order book only later
    STALL = "stall"  # accepted, and then for a while nothing moves
    TRUNCATE = "truncate"  # an order book without its newest rows
    LOSE_UPDATE = "lose_update"
    DOUBLE_UPDATE = "double_update"
    DELAY_UPDATE = "delay_update"  # it comes after the one that follows it
    EXPIRE_TOKEN = "expire_token"  # noqa: S105  # all sessions end


_DEFAULT_CALLS = {
    FaultKind.TRUNCATE: Call.BOOK,
    FaultKind.LOSE_UPDATE: Call.UPDATE,
    FaultKind.DOUBLE_UPDATE: Call.UPDATE,
    FaultKind.DELAY_UPDATE: Call.UPDATE,
}
# These change what happens besides the answer, and go with one that changes the answer.
_BESIDES = (FaultKind.HIDE, FaultKind.STALL, FaultKind.REJECT_LATER)

# How late orders have been seen to appear.
LATE_S = (8.0, 90.0)


class FaultRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When something goes wrong, and how.

    call: place, modify, cancel, book, read or update; where not given, what the kind is made for.
    times: how often it strikes; null is for ever.
    skip: so many calls go well before.
    probability: of each call after those.
    symbol: only orders of this trading symbol; only for place.
    seconds: how long a hang lasts, or an order is hidden or stalled: from, to. Divided by the venue's speed.
    rows: how many rows a truncated book lacks.
    status, reason, message: of an answer that is a refusal, or pretends to be one; the reason in the face's
        own words (an error type).
    stage: who refuses later: RISK or EXCHANGE.
    """

    kind: FaultKind
    call: Call | None = None
    times: Annotated[int, Meta(ge=1)] | None = 1
    skip: Annotated[int, Meta(ge=0)] = 0
    probability: Annotated[float, Meta(gt=0, le=1)] = 1.0
    symbol: str | None = None
    seconds: tuple[float, float] | None = None
    rows: Annotated[int, Meta(ge=1)] = 1
    status: Annotated[int, Meta(ge=200, le=599)] = 400
    reason: str | None = None
    message: str | None = None
    stage: Stage = Stage.EXCHANGE

    @property
    def struck_call(self) -> Call:
        return self.call or _DEFAULT_CALLS.get(self.kind, Call.PLACE)

    @property
    def doom(self) -> Doom | None:
        if self.kind is not FaultKind.REJECT_LATER:
            return None
        message = self.message or "The order was refused by the exchange."
        return Doom(stage=self.stage, message=message, raw_message=f"{self.stage}: {message}")


class FaultPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rules: tuple[FaultRule, ...] = ()


class FaultPlanError(Exception):
    """The plan cannot be used; the message says why."""


def load_plan(path: Path) -> FaultPlan:
    """Read a plan, a JSON object with `rules`.

    Raises:
        FaultPlanError: it cannot be read, or is no plan.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=FaultPlan)
    except (OSError, msgspec.DecodeError) as error:
        raise FaultPlanError(f"{path}: {error}") from error


class Standing(Struct):
    """A rule and how much of it is left."""

    rule: FaultRule
    seen: int = 0
    struck: int = 0

    @property
    def is_spent(self) -> bool:
        return self.rule.times is not None and self.struck >= self.rule.times


class Strike(Struct, frozen=True):
    """What goes wrong with one call: at most one fault of its answer, and what is besides."""

    answer: FaultRule | None = None
    besides: tuple[FaultRule, ...] = ()

    @property
    def kind(self) -> FaultKind | None:
        return None if self.answer is None else self.answer.kind

    @property
    def doom(self) -> Doom | None:
        return next((rule.doom for rule in self.besides if rule.doom is not None), None)

    def besides_of(self, kind: FaultKind) -> FaultRule | None:
        return next((rule for rule in self.besides if rule.kind is kind), None)


NO_STRIKE = Strike()


class Faults:
    """The rules in force, in the order of their coming; `rng` decides where a rule leaves it to chance."""

    def __init__(self, rng: Random, rules: Iterable[FaultRule] = ()) -> None:
        self._rng = rng
        self.standing = [Standing(rule) for rule in rules]

    def add(self, rules: Iterable[FaultRule]) -> None:
        self.standing.extend(Standing(rule) for rule in rules)

    def clear(self) -> None:
        self.standing.clear()

    def strike(self, call: Call, symbol: str | None = None) -> Strike:
        """What goes wrong with the call that begins now."""
        if not self.standing:
            return NO_STRIKE
        answer: FaultRule | None = None
        besides: list[FaultRule] = []
        for standing in self.standing:
            rule = standing.rule
            if standing.is_spent or rule.struck_call is not call:
                continue
            if rule.symbol is not None and rule.symbol != symbol:
                continue
            is_besides = rule.kind in _BESIDES
            if answer is not None and not is_besides:
                continue
            standing.seen += 1
            if standing.seen <= rule.skip or self._rng.random() >= rule.probability:
                continue
            standing.struck += 1
            if is_besides:
                besides.append(rule)
            else:
                answer = rule
        return Strike(answer, tuple(besides))

    def seconds(self, rule: FaultRule, default: tuple[float, float]) -> float:
        """How long it lasts this time, before it is divided by the speed."""
        return self._rng.uniform(*(rule.seconds or default))

"""Which calls a rule strikes."""

from pathlib import Path
from random import Random

import pytest

from pulse_adapters.simulator.faults import (
    Call,
    FaultKind,
    FaultPlanError,
    FaultRule,
    Faults,
    load_plan,
)


def faults(*rules: FaultRule, seed: int = 1) -> Faults:
    return Faults(Random(seed), rules)


def kinds(made: Faults, call: Call, times: int, symbol: str | None = None) -> list[FaultKind | None]:
    return [made.strike(call, symbol).kind for _ in range(times)]


def test_a_rule_strikes_so_often_after_so_many() -> None:
    made = faults(FaultRule(kind=FaultKind.REJECT, skip=1, times=2))

    assert kinds(made, Call.PLACE, 5) == [None, FaultKind.REJECT, FaultKind.REJECT, None, None]


def test_a_rule_strikes_its_call_only() -> None:
    made = faults(FaultRule(kind=FaultKind.DROP_AFTER, call=Call.CANCEL))

    assert kinds(made, Call.PLACE, 2) == [None, None]
    assert kinds(made, Call.CANCEL, 2) == [FaultKind.DROP_AFTER, None]


@pytest.mark.parametrize(
    ("kind", "call"),
    [(FaultKind.TRUNCATE, Call.BOOK), (FaultKind.LOSE_UPDATE, Call.UPDATE), (FaultKind.REJECT, Call.PLACE)],
)
def test_a_kind_knows_its_call(kind: FaultKind, call: Call) -> None:
    assert FaultRule(kind=kind).struck_call is call


def test_rules_follow_one_another() -> None:
    made = faults(FaultRule(kind=FaultKind.REJECT), FaultRule(kind=FaultKind.TOO_MANY))

    assert kinds(made, Call.PLACE, 3) == [FaultKind.REJECT, FaultKind.TOO_MANY, None]


def test_a_hidden_order_can_also_lose_its_answer() -> None:
    made = faults(FaultRule(kind=FaultKind.HIDE, seconds=(1, 1)), FaultRule(kind=FaultKind.DROP_AFTER))
    strike = made.strike(Call.PLACE)

    assert strike.kind is FaultKind.DROP_AFTER
    hides = strike.besides_of(FaultKind.HIDE)
    assert hides is not None
    assert made.seconds(hides, (8, 90)) == 1


def test_a_rule_can_be_for_one_symbol() -> None:
    made = faults(FaultRule(kind=FaultKind.REJECT, symbol="INFY", times=None))

    assert kinds(made, Call.PLACE, 1, "TCS") == [None]
    assert kinds(made, Call.PLACE, 1, "INFY") == [FaultKind.REJECT]


def test_chance_follows_the_seed() -> None:
    rule = FaultRule(kind=FaultKind.REJECT, times=None, probability=0.3)
    first = kinds(faults(rule), Call.PLACE, 200)

    assert first == kinds(faults(rule), Call.PLACE, 200)
    assert first != kinds(faults(rule, seed=2), Call.PLACE, 200)
    assert 30 < first.count(FaultKind.REJECT) < 90


def test_cleared_rules_are_gone() -> None:
    made = faults(FaultRule(kind=FaultKind.REJECT, times=None))
    made.clear()

    assert kinds(made, Call.PLACE, 1) == [None]


def test_a_plan_is_read_and_nonsense_refused(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('{"rules": [{"kind": "hide", "seconds": [8, 90], "times": null}]}')
    (rule,) = load_plan(plan).rules
    assert (rule.kind, rule.times) == (FaultKind.HIDE, None)

    for text in ('{"rules": [{"kind": "x"}]}', '{"rules": [{"kind": "hide", "more": 1}]}', "[", '{"rule": []}'):
        plan.write_text(text)
        with pytest.raises(FaultPlanError):
            load_plan(plan)
    with pytest.raises(FaultPlanError):
        load_plan(tmp_path / "missing.json")

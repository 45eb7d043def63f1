"""Deliberate sabotage is caught, each by the rule that is named for it."""

import pytest

from tests.simulation.run import judge, quietly
from tests.simulation.sabotage import EVERY_SABOTAGE
from tests.simulation.scenario import (
    Blow,
    BlowKind,
    BrokerFault,
    BrokerTrouble,
    Fault,
    Halt,
    Post,
    Scenario,
    Stage,
    StoreFault,
)

# Two orders at the same instants, so that no worker has all the work.
_ORDERS = tuple(
    Post(
        at=10.0,
        name=f"order-{number}",
        instrument="NSE:INFY",
        side="BUY",
        quantity=1200,
        splits=12,
        minutes=20,
        randomize=False,
        order_type="MARKET",
        starts_in_s=5.0,
    )
    for number in range(1, 13)
)


# In quick succession, so that some are on their way whenever another is lost.
_AT_ONCE = tuple(
    Post(
        at=10.0 + number * 0.02,
        name=f"at-once-{number}",
        instrument="NSE:INFY",
        side="BUY",
        quantity=10,
        splits=1,
        minutes=0,
        randomize=False,
        order_type="MARKET",
        starts_in_s=None,
        at_once=True,
    )
    for number in range(100)
)


def frozen_with_claims() -> Blow:
    return Blow(
        at=0.0,
        kind=BlowKind.FREEZE,
        slot="worker-0",
        lasting_s=130.0,
        on="store.claim_executions",
        stage=Stage.ARRIVED,
    )


_FAULTS: dict[str, tuple[Fault, ...]] = {
    "no fence": (
        # A claim is given back, the answer to that is lost, and another worker has the next one in hand when it
        # is given back again.
        BrokerFault(at=0.0, lasting_s=16.0, trouble=BrokerTrouble.REFUSED),
        StoreFault(at=15.0, lasting_s=4.0, lost=1.0, slot="worker-0", steps=("book",)),
        BrokerFault(at=16.0, lasting_s=60.0, trouble=BrokerTrouble.SLOW),
    ),
    "no tag look-up": (BrokerFault(at=0.0, lasting_s=60.0, trouble=BrokerTrouble.ANSWER_LOST),),
    "no lease check before sending": (frozen_with_claims(),),
    "placing again while a call may be in the air": (
        BrokerFault(at=0.0, lasting_s=60.0, trouble=BrokerTrouble.HANGS),
    ),
    "giving back claims whose answers are on their way": tuple(
        StoreFault(at=10.0 + number * 0.2, lasting_s=0.05, lost=0.5, slot="worker-0", steps=("accept",))
        for number in range(10)
    ),
    "fills from cumulative and trades both": (
        BrokerFault(at=0.0, lasting_s=600.0, trouble=BrokerTrouble.TRADES_LATE),
    ),
    "claims during a halt": (),
    "orders that are acknowledged and lost": (),
}


def scenario_for(sabotage: str, seed: int) -> Scenario:
    halts = (Halt(at=100.0, lasting_s=300.0),) if sabotage == "claims during a halt" else ()
    posts = _AT_ONCE if sabotage.startswith("giving back") else _ORDERS
    return Scenario(seed=seed, posts=posts, cancels=(), halts=halts, faults=_FAULTS[sabotage], close_s=1500.0)


@pytest.mark.parametrize("sabotage", EVERY_SABOTAGE)
def test_sabotage_is_caught_by_its_rule(sabotage: str) -> None:
    parts, rule = EVERY_SABOTAGE[sabotage]
    with quietly():
        verdicts = (judge(scenario_for(sabotage, seed), parts) for seed in range(1, 11))

        assert any(rule in {violation.rule for violation in verdict.violations} for verdict in verdicts)


@pytest.mark.parametrize("sabotage", EVERY_SABOTAGE)
def test_same_day_without_the_sabotage_is_clean(sabotage: str) -> None:
    with quietly():
        for seed in (1, 2):
            assert judge(scenario_for(sabotage, seed)).violations == []

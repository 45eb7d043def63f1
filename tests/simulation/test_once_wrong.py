"""Days that once broke the promise, kept as small as they were found."""

from tests.simulation.run import judge, quietly
from tests.simulation.scenario import BrokerFault, BrokerTrouble, Post, Scenario

_POSTS = tuple(
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
    for number in range(1, 4)
)


def test_leader_whose_clock_is_ahead_does_not_take_for_absent_what_shows_late() -> None:
    with quietly():
        for seed in range(1, 11):
            verdict = judge(
                Scenario(
                    seed=seed,
                    posts=_POSTS,
                    cancels=(),
                    halts=(),
                    faults=(
                        BrokerFault(at=100.0, lasting_s=60.0, trouble=BrokerTrouble.ANSWER_LOST),
                        BrokerFault(at=100.0, lasting_s=60.0, trouble=BrokerTrouble.SHOWN_LATE),
                    ),
                    close_s=1500.0,
                    skews_s=(600.0, 0.0, 0.0, 0.0),
                )
            )

            assert verdict.violations == []
            assert verdict.coverage["adoption by tag"] > 0

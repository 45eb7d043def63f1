"""Strategies are added, changed, started and stopped by people, and each ask is on record."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from pulse_domain.errors import InvalidSettings, InvalidStrategy, NotFound, StorageUnavailable, StrategyRunning
from pulse_domain.instruments import Instrument
from pulse_domain.ports.strategy_store import StrategyMode, StrategyState
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_audit import InMemoryAuditLog
from pulse_domain.testing.memory_strategies import InMemoryStrategyStore
from pulse_domain.use_cases.strategies import CAPITAL_MAX, INSTRUMENTS_MAX, Asker, ManageStrategies, StrategyAsk

ASHA = Asker(channel="api", actor="asha", place="desk-1")
TCS = Instrument.parse("NSE:TCS")
MACD = StrategyAsk(
    name="macd-tcs", kind="macd", instruments=(TCS,), parameters={"fast": 12}, mode=StrategyMode.PAPER
)


def check(kind: str, instruments: Sequence[Instrument], parameters: Mapping[str, Any]) -> None:
    """Knows one kind, of one parameter from 1 to 50."""
    if kind != "macd":
        raise InvalidSettings("kind must be one of macd", field="kind")
    for name, value in parameters.items():
        if name != "fast":
            raise InvalidSettings(f"there is no parameter {name}", field=name)
        if not 1 <= value <= 50:
            raise InvalidSettings("fast must be from 1 to 50", field="fast", allowed="1 to 50")


class Desk:
    def __init__(self) -> None:
        clock = FakeClock()
        self.store = InMemoryStrategyStore(clock)
        self.audit = InMemoryAuditLog(clock)
        self.strategies = ManageStrategies(self.store, self.audit, check)

    async def audited(self) -> list[tuple[str, str, str, str, str, str]]:
        """All but the instant, oldest first."""
        return [
            (entry.channel, entry.actor, entry.place, entry.action, entry.outcome, entry.detail)
            for entry in reversed(await self.audit.newest(100))
        ]


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_life_of_a_strategy_is_on_record(desk: Desk) -> None:
    added = await desk.strategies.put(MACD, ASHA)
    started = await desk.strategies.start("macd-tcs", replace(ASHA, actor="ravi"))
    stopped = await desk.strategies.stop("macd-tcs", ASHA)
    changed = await desk.strategies.put(replace(MACD, parameters={}, mode=StrategyMode.LIVE), ASHA)

    assert (added.plan.wanted, added.plan.version, added.plan.changed_by) == ("STOPPED", 1, "asha")
    assert (started.plan.wanted, started.plan.changed_by) == ("RUNNING", "ravi")
    assert stopped.plan.wanted is StrategyState.STOPPED
    assert (changed.plan.version, changed.plan.mode) == (2, "live")
    assert list(await desk.strategies.rows()) == [changed]
    assert await desk.audited() == [
        ("api", "asha", "desk-1", "strategy put", "done", 'macd-tcs: macd on NSE:TCS, paper, {"fast":12}'),
        ("api", "ravi", "desk-1", "strategy start", "done", "macd-tcs"),
        ("api", "asha", "desk-1", "strategy stop", "done", "macd-tcs"),
        ("api", "asha", "desk-1", "strategy put", "done", "macd-tcs: macd on NSE:TCS, live, {}"),
    ]


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": ".."}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"kind": "rsi"}, "kind"),
        ({"kind": "/tmp/mine.py:Mine"}, "kind"),
        ({"instruments": ()}, "instruments"),
        ({"instruments": (TCS, TCS)}, "instruments"),
        ({"instruments": [replace(TCS, symbol=f"S{n}") for n in range(INSTRUMENTS_MAX + 1)]}, "instruments"),
        ({"parameters": {"slow": 1}}, "parameters.slow"),
        ({"parameters": {"fast": 0}}, "parameters.fast"),
        ({"parameters": {"fast": [1]}}, "parameters.fast"),
        ({"parameters": {"fast": "x" * 201}}, "parameters.fast"),
        ({"parameters": {"fast": "\0"}}, "parameters.fast"),
        ({"parameters": {"a b": 1}}, "parameters"),
        *[
            ({"capital": Decimal(text)}, "capital")
            for text in (
                "0",
                "-1",
                "-0",
                "0.005",
                "1e-30",
                "1.001",
                "NaN",
                "sNaN",
                "Infinity",
                "-Infinity",
                "1e30",
            )
        ],
        ({"capital": CAPITAL_MAX + Decimal("0.01")}, "capital"),
    ],
    ids=str,
)
async def test_what_makes_no_sense_is_refused_by_field_and_changes_nothing(
    desk: Desk, over: dict[str, Any], field: str
) -> None:
    known = await desk.strategies.put(MACD, ASHA)

    with pytest.raises(InvalidStrategy) as caught:
        await desk.strategies.put(replace(MACD, **over), ASHA)

    assert caught.value.details["field"] == field
    assert list(await desk.strategies.rows()) == [known]
    assert [entry[4] for entry in await desk.audited()] == ["done", "refused"]
    assert caught.value.message in (await desk.audited())[-1][5]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("500000", "500000.00"),
        ("5e5", "500000.00"),
        ("0.01", "0.01"),
        ("1.50000", "1.50"),
        ("1e12", "1000000000000.00"),
    ],
)
async def test_a_capital_is_kept_to_the_paisa_and_on_record(desk: Desk, given: str, kept: str) -> None:
    added = await desk.strategies.put(MACD, ASHA)
    row = await desk.strategies.put(replace(MACD, capital=Decimal(given)), ASHA)

    assert str(row.plan.capital) == kept
    assert (added.plan.capital, row.plan.version) == (None, 2)
    assert (await desk.audited())[-1][5] == (f'macd-tcs: macd on NSE:TCS, paper, {{"fast":12}}, capital {kept}')


async def test_what_the_check_knows_besides_the_field_is_handed_on(desk: Desk) -> None:
    with pytest.raises(InvalidStrategy) as caught:
        await desk.strategies.put(replace(MACD, parameters={"fast": 51}), ASHA)

    assert caught.value.details == {"field": "parameters.fast", "allowed": "1 to 50"}


async def test_one_that_is_to_run_is_not_changed_and_the_refusal_is_on_record(desk: Desk) -> None:
    await desk.strategies.put(MACD, ASHA)
    running = await desk.strategies.start("macd-tcs", ASHA)

    with pytest.raises(StrategyRunning):
        await desk.strategies.put(replace(MACD, parameters={"fast": 5}), ASHA)

    assert await desk.strategies.put(MACD, ASHA) == running
    assert [entry[3:5] for entry in await desk.audited()][2:] == [
        ("strategy put", "refused"), ("strategy put", "done"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["rsi-tcs", "", "..", "a b", "x" * 1000, "\0"])
async def test_one_that_is_not_there_is_neither_started_nor_stopped(desk: Desk, name: str) -> None:
    for ask in (desk.strategies.start, desk.strategies.stop):
        with pytest.raises(NotFound, match="there is no strategy"):
            await ask(name, ASHA)

    assert [entry[4] for entry in await desk.audited()] == ["refused", "refused"]


async def test_outages_are_told_and_asking_again_completes(desk: Desk) -> None:
    desk.store.down = True
    for step in (desk.strategies.put(MACD, ASHA), desk.strategies.start("macd-tcs", ASHA)):
        with pytest.raises(StorageUnavailable):
            await step
    desk.store.down = False
    desk.audit.down = True
    with pytest.raises(StorageUnavailable):
        await desk.strategies.put(MACD, ASHA)
    desk.audit.down = False

    row = await desk.strategies.put(MACD, ASHA)

    assert row.plan.version == 1
    assert [entry[3:5] for entry in await desk.audited()] == [("strategy put", "done")]

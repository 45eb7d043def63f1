"""What every strategy store promises."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pulse_domain.errors import StorageRejected, StrategyRunning
from pulse_domain.instruments import Instrument
from pulse_domain.ports.strategy_store import (
    Checkpoint,
    StrategyMode,
    StrategyRow,
    StrategyState,
    StrategyStore,
)

_TCS, _INFY = Instrument.parse("NSE:TCS"), Instrument.parse("NSE:INFY")
_AT = datetime(2026, 1, 20, 3, 45, 7, 250_000, tzinfo=UTC)


async def _put(store: StrategyStore, name: str = "macd-tcs", **over: Any) -> StrategyRow:
    asked: dict[str, Any] = {
        "kind": "macd",
        "instruments": (_TCS,),
        "parameters": {"risk_percent": "1", "fast": 12},
        "mode": StrategyMode.PAPER,
        "changed_by": "asha",
    }
    return await store.put(name, **(asked | over))


async def _only(store: StrategyStore) -> StrategyRow:
    [row] = await store.rows()
    return row


def _checkpoint(version: int, seconds: int = 0, **state: Any) -> Checkpoint:
    return Checkpoint(name="macd-tcs", version=version, at=_AT + timedelta(seconds=seconds), state=state)


class StrategyStoreContract:
    """Subclass it and override `store`, which is empty."""

    @pytest.fixture
    def store(self) -> StrategyStore:
        pytest.fail("a subclass overrides this fixture")

    # --- what is wanted

    async def test_one_that_is_added_is_stopped_and_as_it_was_asked_for(self, store: StrategyStore) -> None:
        parameters = {"a": 1, "b": "0.50", "c": True, "d": [1, None], "e": {"f": -2.5}, "\u20b9": "\u20b9"}

        row = await _put(store, instruments=(_TCS, _INFY), parameters=parameters)

        plan = row.plan
        assert (plan.name, plan.kind, plan.instruments) == ("macd-tcs", "macd", (_TCS, _INFY))
        assert (dict(plan.parameters), plan.mode) == (parameters, StrategyMode.PAPER)
        assert plan.capital is None
        assert (plan.wanted, plan.version, plan.changed_by) == (StrategyState.STOPPED, 1, "asha")
        assert plan.changed_at.tzinfo is not None
        assert (row.state, row.detail, row.reported_at) == (StrategyState.STOPPED, None, None)
        assert await _only(store) == row

    async def test_strategies_come_by_name(self, store: StrategyStore) -> None:
        for name in ("b", "a-2", "B", "a"):
            await _put(store, name)

        assert [row.plan.name for row in await store.rows()] == ["B", "a", "a-2", "b"]

    async def test_an_empty_store_has_none(self, store: StrategyStore) -> None:
        assert list(await store.rows()) == []
        assert await store.want("macd-tcs", StrategyState.RUNNING, "asha") is None
        assert await store.checkpoint("macd-tcs", 1) is None

    @pytest.mark.parametrize(
        "over",
        [
            {"kind": "rsi"},
            {"instruments": (_INFY,)},
            {"instruments": (_TCS, _INFY)},
            {"parameters": {"risk_percent": "2", "fast": 12}},
            {"parameters": {"risk_percent": "1"}},
            {"parameters": {}},
            {"mode": StrategyMode.LIVE},
            {"capital": Decimal("500000.50")},
        ],
        ids=str,
    )
    async def test_a_change_makes_a_version_and_names_who(
        self, store: StrategyStore, over: dict[str, Any]
    ) -> None:
        first = await _put(store)

        changed = await _put(store, **over, changed_by="ravi")

        assert (changed.plan.version, changed.plan.changed_by) == (2, "ravi")
        for name, value in over.items():
            assert getattr(changed.plan, name) == value
        assert changed.plan.changed_at >= first.plan.changed_at
        assert await _only(store) == changed

    async def test_true_is_no_one(self, store: StrategyStore) -> None:
        await _put(store, parameters={"on": 1})

        assert (await _put(store, parameters={"on": True})).plan.version == 2

    async def test_a_capital_comes_back_to_the_digit_and_goes_again(self, store: StrategyStore) -> None:
        first = await _put(store, capital=Decimal("500000.50"))
        again = await _put(store, capital=Decimal("500000.5"))
        other = await _put(store, capital=Decimal("500000.51"))
        none = await _put(store)

        assert str(first.plan.capital) == "500000.50"
        assert again == first
        assert (other.plan.version, other.plan.capital) == (2, Decimal("500000.51"))
        assert (none.plan.version, none.plan.capital) == (3, None)
        assert await _only(store) == none

    async def test_where_nothing_differs_nothing_changes(self, store: StrategyStore) -> None:
        first = await _put(store)
        again = await _put(store, parameters={"fast": 12, "risk_percent": "1"}, changed_by="ravi")
        running = await store.want("macd-tcs", StrategyState.RUNNING, "asha")
        while_it_runs = await _put(store, changed_by="ravi")

        assert again == first
        assert while_it_runs == running

    async def test_one_that_is_to_run_is_not_changed(self, store: StrategyStore) -> None:
        await _put(store)
        running = await store.want("macd-tcs", StrategyState.RUNNING, "asha")

        with pytest.raises(StrategyRunning):
            await _put(store, parameters={"fast": 5})
        assert await _only(store) == running

        await store.report("macd-tcs", 1, StrategyState.FAILED, "it raised")
        with pytest.raises(StrategyRunning):
            await _put(store, parameters={"fast": 5})

    async def test_one_that_is_stopped_again_can_be_changed_and_starts_afresh(
        self, store: StrategyStore
    ) -> None:
        await _put(store)
        await store.want("macd-tcs", StrategyState.RUNNING, "asha")
        await store.report("macd-tcs", 1, StrategyState.FAILED, "it raised")
        await store.want("macd-tcs", StrategyState.STOPPED, "asha")

        changed = await _put(store, parameters={"fast": 5})

        assert (changed.plan.version, changed.plan.wanted) == (2, StrategyState.STOPPED)
        assert (changed.state, changed.detail, changed.reported_at) == (StrategyState.STOPPED, None, None)

    async def test_starts_and_stops_make_no_version(self, store: StrategyStore) -> None:
        added = await _put(store)

        started = await store.want("macd-tcs", StrategyState.RUNNING, "ravi")
        stopped = await store.want("macd-tcs", StrategyState.STOPPED, "mira")

        assert started is not None
        assert stopped is not None
        assert (started.plan.wanted, started.plan.changed_by) == (StrategyState.RUNNING, "ravi")
        assert (stopped.plan.wanted, stopped.plan.changed_by) == (StrategyState.STOPPED, "mira")
        assert added.plan.version == started.plan.version == stopped.plan.version == 1
        assert await _only(store) == stopped

    async def test_what_is_wanted_already_keeps_who_wanted_it(self, store: StrategyStore) -> None:
        await _put(store)
        started = await store.want("macd-tcs", StrategyState.RUNNING, "ravi")

        assert await store.want("macd-tcs", StrategyState.RUNNING, "mira") == started

    # --- how it fares

    async def test_what_is_reported_is_shown(self, store: StrategyStore) -> None:
        await _put(store)
        await store.want("macd-tcs", StrategyState.RUNNING, "asha")

        await store.report("macd-tcs", 1, StrategyState.RUNNING, None)
        running = await _only(store)
        await store.report("macd-tcs", 1, StrategyState.FAILED, "ValueError: \u20b9 \0 \ud800")
        failed = await _only(store)

        assert (running.state, running.detail) == (StrategyState.RUNNING, None)
        assert running.reported_at is not None
        assert (failed.state, failed.detail) == (StrategyState.FAILED, "ValueError: \u20b9  ?")
        assert failed.plan == running.plan

    async def test_of_another_version_or_an_unknown_name_nothing_is_noted(self, store: StrategyStore) -> None:
        await _put(store)
        row = await _put(store, parameters={})

        await store.report("macd-tcs", 1, StrategyState.FAILED, "late")
        await store.report("macd-tcs", 3, StrategyState.FAILED, "early")
        await store.report("rsi-tcs", 1, StrategyState.RUNNING, None)

        assert await _only(store) == row

    async def test_one_that_failed_is_tried_again_when_it_is_wanted_again(self, store: StrategyStore) -> None:
        await _put(store)
        await store.want("macd-tcs", StrategyState.RUNNING, "asha")
        await store.save_checkpoint(_checkpoint(1, seen=4))
        await store.report("macd-tcs", 1, StrategyState.FAILED, "it raised")

        again = await store.want("macd-tcs", StrategyState.RUNNING, "ravi")

        assert again is not None
        assert (again.plan.wanted, again.plan.changed_by) == (StrategyState.RUNNING, "ravi")
        assert (again.state, again.detail) == (StrategyState.STOPPED, None)
        assert await store.checkpoint("macd-tcs", 1) == _checkpoint(1, seen=4)

    async def test_one_that_failed_and_is_stopped_still_says_why(self, store: StrategyStore) -> None:
        await _put(store)
        await store.want("macd-tcs", StrategyState.RUNNING, "asha")
        await store.report("macd-tcs", 1, StrategyState.FAILED, "it raised")

        row = await store.want("macd-tcs", StrategyState.STOPPED, "asha")

        assert row is not None
        assert (row.state, row.detail) == (StrategyState.FAILED, "it raised")

    # --- what it knows

    async def test_a_checkpoint_comes_back_as_it_was_kept(self, store: StrategyStore) -> None:
        await _put(store)
        kept = _checkpoint(1, closes=["3001.50", "2999.95"], position=-10, last=None, inner={"x": 0.5})

        await store.save_checkpoint(kept)

        assert await store.checkpoint("macd-tcs", 1) == kept
        assert await store.checkpoint("macd-tcs", 2) is None
        assert await store.checkpoint("rsi-tcs", 1) is None

    async def test_the_checkpoint_that_came_last_holds(self, store: StrategyStore) -> None:
        await _put(store)

        await store.save_checkpoint(_checkpoint(1, 60, seen=2))
        await store.save_checkpoint(_checkpoint(1, 0, seen=1))

        assert await store.checkpoint("macd-tcs", 1) == _checkpoint(1, 0, seen=1)

    async def test_a_change_forgets_what_was_known_and_keeps_nothing_older(self, store: StrategyStore) -> None:
        await _put(store)
        await store.save_checkpoint(_checkpoint(1, seen=1))

        await _put(store, parameters={})
        assert await store.checkpoint("macd-tcs", 1) is None
        await store.save_checkpoint(_checkpoint(1, seen=2))
        assert await store.checkpoint("macd-tcs", 1) is None
        await store.save_checkpoint(_checkpoint(2, seen=3))
        await store.save_checkpoint(_checkpoint(1, seen=4))

        assert await store.checkpoint("macd-tcs", 2) == _checkpoint(2, seen=3)

    async def test_what_is_put_without_a_change_forgets_nothing(self, store: StrategyStore) -> None:
        await _put(store)
        await store.save_checkpoint(_checkpoint(1, seen=1))

        await _put(store)
        await store.want("macd-tcs", StrategyState.RUNNING, "asha")
        await store.want("macd-tcs", StrategyState.STOPPED, "asha")

        assert await store.checkpoint("macd-tcs", 1) == _checkpoint(1, seen=1)

    async def test_a_checkpoint_with_an_impossible_value_is_refused_and_the_last_stays(
        self, store: StrategyStore
    ) -> None:
        await _put(store)
        await store.save_checkpoint(_checkpoint(1, seen=1))

        with pytest.raises(StorageRejected):
            await store.save_checkpoint(_checkpoint(1, text="a\0b"))

        assert await store.checkpoint("macd-tcs", 1) == _checkpoint(1, seen=1)

    async def test_a_checkpoint_of_no_strategy_is_not_kept(self, store: StrategyStore) -> None:
        await store.save_checkpoint(_checkpoint(1, seen=1))
        await _put(store)

        assert await store.checkpoint("macd-tcs", 1) is None

    # --- at once

    async def test_one_name_that_many_add_at_once_is_one_strategy(self, store: StrategyStore) -> None:
        rows = await asyncio.gather(*(_put(store, changed_by=f"p{number}") for number in range(20)))

        assert {row.plan.version for row in rows} == {1}
        assert len({row.plan.changed_by for row in rows}) == 1
        assert await _only(store) == rows[0]

    async def test_changes_at_once_are_each_a_version(self, store: StrategyStore) -> None:
        await _put(store)

        rows = await asyncio.gather(*(_put(store, parameters={"n": number}) for number in range(20)))

        assert sorted(row.plan.version for row in rows) == list(range(2, 22))
        last = max(rows, key=lambda row: row.plan.version)
        assert await _only(store) == last

    async def test_a_start_and_a_change_at_once_never_change_what_runs(self, store: StrategyStore) -> None:
        for number in range(20):
            name = f"s{number}"
            await _put(store, name)

            changed, started = await asyncio.gather(
                _put(store, name, parameters={"n": 1}),
                store.want(name, StrategyState.RUNNING, "ravi"),
                return_exceptions=True,
            )

            assert isinstance(started, StrategyRow)
            [row] = [row for row in await store.rows() if row.plan.name == name]
            assert row == started
            if isinstance(changed, StrategyRow):
                assert (changed.plan.version, changed.plan.wanted) == (2, StrategyState.STOPPED)
                assert (row.plan.version, row.plan.parameters) == (2, {"n": 1})
            else:
                assert isinstance(changed, StrategyRunning)
                assert row.plan.version == 1

    async def test_checkpoints_and_changes_at_once_leave_no_older_one(self, store: StrategyStore) -> None:
        await _put(store)
        for version in range(1, 16):
            await asyncio.gather(
                *(store.save_checkpoint(_checkpoint(version, seen=seen)) for seen in range(3)),
                _put(store, parameters={"n": version}),
                store.report("macd-tcs", version, StrategyState.RUNNING, None),
            )
            await store.save_checkpoint(_checkpoint(version, seen=9))

            row = await _only(store)
            assert row.plan.version == version + 1
            assert row.state is StrategyState.STOPPED
            assert await store.checkpoint("macd-tcs", version + 1) is None

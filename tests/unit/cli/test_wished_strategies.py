"""`pulse up --strategy`: what is typed, and what becomes of it in the store."""

from typing import Any

import pytest

from pulse.cli import main
from pulse.errors import BadInput
from pulse.wished_strategies import read_wishes, run_wishes
from pulse_domain.instruments import Instrument
from pulse_domain.ports.strategy_store import StrategyMode, StrategyState
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_audit import InMemoryAuditLog
from pulse_domain.testing.memory_strategies import InMemoryStrategyStore

TCS, INFY = Instrument.parse("NSE:TCS"), Instrument.parse("NSE:INFY")


@pytest.mark.parametrize(
    ("text", "instruments"),
    [("macd", ()), ("macd:NSE:TCS", (TCS,)), ("rsi:NSE:TCS, NSE:INFY", (TCS, INFY))],
)
def test_a_kind_and_its_instruments(text: str, instruments: Any) -> None:
    [wish] = read_wishes([text], {})

    assert (wish.kind, wish.instruments) == (text.partition(":")[0], instruments)


@pytest.mark.parametrize(
    ("texts", "parameters", "said"),
    [
        (["nonsense"], {}, "--strategy must be one of macd, rsi"),
        (["macd:TCS"], {}, "--strategy macd:TCS: instrument must be written"),
        (["macd"], {"fsat": "3"}, "there is no parameter 'fsat'"),
        (["macd"], {"fast": "x"}, "parameter fast cannot be 'x'"),
        (["macd", "rsi"], {"candle_minutes": "5"}, "--param goes with one --strategy"),
        (["macd", "macd:NSE:TCS"], {}, "--strategy names a kind twice"),
        ([], {"fast": "3"}, "--param goes with one --strategy"),
    ],
)
def test_what_cannot_be_read_is_said(texts: list[str], parameters: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_wishes(texts, parameters)
    assert said in str(caught.value)


def test_a_bad_wish_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--strategy", "nonsense"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


async def test_it_is_added_once_and_runs() -> None:
    store, audit = InMemoryStrategyStore(FakeClock()), InMemoryAuditLog(FakeClock())
    wishes = read_wishes(["macd:NSE:INFY"], {"fast": "3"})

    await run_wishes(wishes, "synthetic", store, audit)
    await store.want("macd", StrategyState.STOPPED, "asha")
    await run_wishes(read_wishes(["macd"], {}), "synthetic", store, audit)

    [row] = await store.rows()
    assert (row.plan.kind, row.plan.instruments, row.plan.mode) == ("macd", (INFY,), StrategyMode.LIVE)
    assert (dict(row.plan.parameters), row.plan.version) == ({"fast": "3"}, 1)
    assert row.plan.wanted is StrategyState.RUNNING


@pytest.mark.parametrize(
    ("feed", "instruments"),
    [
        ("synthetic", (TCS,)),
        ("replay:/some/file.csv", (TCS,)),
        ("replay:NSE:INFY=/a.csv,NSE:TCS=/b.csv", (INFY, TCS)),
    ],
)
async def test_without_instruments_it_trades_those_of_the_feed(feed: str, instruments: Any) -> None:
    store = InMemoryStrategyStore(FakeClock())
    await run_wishes(read_wishes(["rsi"], {}), feed, store, InMemoryAuditLog(FakeClock()))

    [row] = await store.rows()
    assert row.plan.instruments == instruments

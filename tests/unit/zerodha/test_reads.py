import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from kiteconnect import KiteConnect

from pulse_adapters.real_broker.rows import UnreadableRow
from pulse_adapters.zerodha.reads import ZerodhaReads
from pulse_adapters.zerodha.wire import read_circuits, read_holding, read_position, read_quote
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.testing.fake_clock import FakeClock

INFY = Instrument.parse("NSE:INFY")
SAMPLES = Path(__file__).parents[4] / "shared/data/kite-mocks"
QUOTE: dict[str, Any] = {
    "instrument_token": 408065,
    "timestamp": "2026-11-20 14:30:01",
    "last_price": 1412.95,
    "volume": 7360198,
    "lower_circuit_limit": 1250.7,
    "upper_circuit_limit": 1528.6,
    "depth": {
        "buy": [{"price": 1412.9, "quantity": 5, "orders": 1}, {"price": 0, "quantity": 0, "orders": 0}],
        "sell": [{"price": 1413, "quantity": 7, "orders": 2}],
    },
}
POSITION: dict[str, Any] = {
    "tradingsymbol": "CRUDEOIL26DECFUT",
    "exchange": "MCX",
    "product": "NRML",
    "quantity": -2,
    "multiplier": 100,
    "average_price": 6012.5,
}
HOLDING: dict[str, Any] = {
    "tradingsymbol": "INFY",
    "exchange": "NSE",
    "quantity": 10,
    "t1_quantity": 5,
    "average_price": 1400.05,
}


def sample(name: str) -> Any:
    if not SAMPLES.exists():
        pytest.skip("the broker's samples are not kept here")
    return json.loads((SAMPLES / name).read_text())["data"]


def test_a_quote() -> None:
    quote = read_quote(INFY, QUOTE)

    assert quote is not None
    assert (quote.last_price, quote.bid, quote.ask) == (Decimal("1412.95"), Decimal("1412.9"), Decimal(1413))
    assert quote.at == datetime(2026, 11, 20, 9, 0, 1, tzinfo=UTC)
    assert quote.volume == 7360198


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("levels", [[], [{"price": 0, "quantity": 0, "orders": 0}]])
def test_where_one_side_is_empty_there_is_no_quote(side: str, levels: list[Any]) -> None:
    assert read_quote(INFY, QUOTE | {"depth": QUOTE["depth"] | {side: levels}}) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"last_price": None},
        {"last_price": "1412"},
        {"timestamp": None},
        {"timestamp": "yesterday"},
        {"depth": None},
        {"depth": {"buy": [], "sell": {}}, "last_price": float("nan")},
        {"depth": {"buy": [5], "sell": []}},
    ],
)
def test_a_quote_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableRow):
        read_quote(INFY, QUOTE | changes)


def test_circuit_limits() -> None:
    assert read_circuits(QUOTE) == (Decimal("1250.7"), Decimal("1528.6"))


@pytest.mark.parametrize(
    "changes",
    [
        {"lower_circuit_limit": None}, {"upper_circuit_limit": None}, {"lower_circuit_limit": 0},
        {"lower_circuit_limit": 1528.6}, {"lower_circuit_limit": -1}, {"upper_circuit_limit": 0},
    ],
)  # fmt: skip
def test_what_are_no_limits_is_none(changes: dict[str, Any]) -> None:
    assert read_circuits(QUOTE | changes) is None


async def test_limits_that_make_no_sense_cost_the_others_nothing() -> None:
    other = Instrument.parse("NSE:TCS")
    # It has limits, and neither depth nor price.
    limits = {name: QUOTE[name] for name in ("lower_circuit_limit", "upper_circuit_limit")}
    call = Answers({"NSE:INFY": QUOTE | {"upper_circuit_limit": "much"}, "NSE:TCS": limits})

    read = await ZerodhaReads(call, FakeClock()).read_circuits([INFY, other])

    assert read == {other: (Decimal("1250.7"), Decimal("1528.6"))}


async def test_limits_are_asked_for_in_turn_with_quotes() -> None:
    clock = FakeClock(auto=True)
    reads = ZerodhaReads(Answers({"NSE:INFY": QUOTE}, {"NSE:INFY": QUOTE}), clock)

    await reads.quotes([INFY])
    await reads.read_circuits([INFY])

    assert clock.monotonic() == 1


def test_a_position_in_lots_counts_units() -> None:
    position = read_position(POSITION)

    assert position is not None
    assert (str(position.instrument), position.product) == ("MCX:CRUDEOIL26DECFUT", "NRML")
    assert (position.quantity, position.average_price) == (-200, Decimal("6012.5"))


@pytest.mark.parametrize("changes", [{"quantity": 0}, {"exchange": "NCO"}])
def test_flat_and_foreign_positions_are_left_out(changes: dict[str, Any]) -> None:
    assert read_position(POSITION | changes) is None


def test_a_holding_counts_what_is_on_its_way() -> None:
    holding = read_holding(HOLDING)

    assert holding is not None
    assert (holding.instrument, holding.quantity, holding.average_price) == (INFY, 15, Decimal("1400.05"))
    assert read_holding(HOLDING | {"quantity": 0, "t1_quantity": 0}) is None


def test_the_brokers_samples_can_be_read() -> None:
    positions = [read_position(row) for row in sample("positions.json")["net"]]
    holdings = [read_holding(row) for row in sample("holdings.json")]

    assert [(str(p.instrument), p.quantity) for p in positions if p][:1] == [("MCX:LEADMINI17DECFUT", 1000)]
    assert holdings
    assert all(holding is None or holding.quantity > 0 for holding in holdings)
    assert read_circuits(sample("quote.json")["NSE:INFY"]) == (Decimal("1250.7"), Decimal("1528.6"))
    # Nobody buys in it.
    assert read_quote(INFY, sample("quote.json")["NSE:INFY"]) is None


class Answers:
    """What the broker says to each call, whatever is asked."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[Any, ...]] = []

    async def __call__(self, work: Any) -> Any:
        class Asked(KiteConnect):  # type: ignore[misc]  # the SDK publishes no types
            def _get(self, route: str, url_args: Any = None, params: Any = None, is_json: bool = False) -> Any:
                asked.append((route, len(params["i"]) if params else 0))
                return {}

        asked = self.asked
        work(Asked("key"))
        return self._answers.pop(0)


async def test_more_than_the_broker_takes_at_once_are_asked_for_in_turns_a_second_apart() -> None:
    clock = FakeClock(auto=True)
    instruments = [Instrument.parse(f"NSE:S{number:04}") for number in range(1001)]
    call = Answers(*[{str(instrument): QUOTE for instrument in instruments} for _ in range(3)])

    quotes = await ZerodhaReads(call, clock).quotes(instruments)

    assert set(quotes) == set(instruments)
    assert [count for _, count in call.asked] == [500, 500, 1]
    assert clock.monotonic() == 2


async def test_a_quote_that_cannot_be_read_costs_the_others_nothing() -> None:
    other = Instrument.parse("NSE:NIFTY")
    call = Answers({"NSE:INFY": QUOTE, "NSE:NIFTY": {"last_price": 25000}})

    assert set(await ZerodhaReads(call, FakeClock()).quotes([INFY, other])) == {INFY}


@pytest.mark.parametrize(
    ("read", "answer"),
    [
        ("positions", []),
        ("positions", {"day": []}),
        ("positions", {"net": [POSITION, {"exchange": "NSE"}]}),
        ("holdings", {}),
        ("holdings", [HOLDING | {"quantity": "10"}]),
    ],
)
async def test_an_account_that_cannot_be_read_in_full_is_an_error(read: str, answer: Any) -> None:
    with pytest.raises(BrokerUnavailable, match="cannot be read"):
        await getattr(ZerodhaReads(Answers(answer), FakeClock()), read)()


async def test_quotes_of_another_shape_are_an_error() -> None:
    with pytest.raises(BrokerUnavailable):
        await ZerodhaReads(Answers([]), FakeClock()).quotes([INFY])

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from pulse_adapters.kotak.outcomes import Answer, rows_of
from pulse_adapters.kotak.reads import KotakReads
from pulse_adapters.kotak.wire import (
    SEGMENTS,
    read_circuits,
    read_holding,
    read_position,
    read_quote,
    scrip_name,
)
from pulse_adapters.real_broker.calls import INVALID_INPUT, NotSent
from pulse_adapters.real_broker.rows import UnreadableRow
from pulse_domain.errors import BrokerUnavailable, StorageUnavailable
from pulse_domain.instruments import Instrument

RELIANCE = Instrument.parse("NSE:RELIANCE")
USDINR = Instrument.parse("CDS:USDINR26DECFUT")
LEVEL = {"price": "1412.9000", "quantity": "5", "orders": "1"}
QUOTE: dict[str, Any] = {
    "exchange_token": "2885",
    "display_symbol": "RELIANCE-EQ",
    "exchange": "nse_cm",
    "lstup_time": "1795165201",
    "ltp": "1412.9500",
    "last_volume": "7360198",
    "low_price_range": "1284.5000",
    "high_price_range": "1569.8000",
    "depth": {"buy": [LEVEL], "sell": [LEVEL | {"price": "1413.0000"}]},
}
POSITION: dict[str, Any] = {
    "trdSym": "CRUDEOIL26DECFUT", "sym": "CRUDEOIL", "tok": "1", "exSeg": "mcx_fo", "prod": "NRML",
    "multiplier": "100", "precision": "2", "genNum": "1", "genDen": "1", "prcNum": "1", "prcDen": "1",
    "cfBuyQty": "1", "cfSellQty": "0", "flBuyQty": "2", "flSellQty": "1",
    "cfBuyAmt": "600000.00", "cfSellAmt": "0", "buyAmt": "1206000.00", "sellAmt": "610000.00",
}  # fmt: skip
HOLDING: dict[str, Any] = {
    "symbol": "RELIANCE",
    "averagePrice": 1400.05,
    "quantity": 15,
    "sellableQuantity": 10,
    "exchangeSegment": "nse_cm",
}


def test_a_quote() -> None:
    quote = read_quote(RELIANCE, QUOTE)

    assert quote is not None
    assert (quote.last_price, quote.bid, quote.ask) == (Decimal("1412.95"), Decimal("1412.9"), Decimal(1413))
    assert quote.at == datetime.fromtimestamp(1795165201, UTC)
    assert quote.volume == 7360198


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("levels", [[], [{"price": "0.0000", "quantity": "0", "orders": "0"}]])
def test_where_one_side_is_empty_there_is_no_quote(side: str, levels: list[Any]) -> None:
    assert read_quote(RELIANCE, QUOTE | {"depth": QUOTE["depth"] | {side: levels}}) is None


def test_circuit_limits() -> None:
    assert read_circuits(QUOTE) == (Decimal("1284.50"), Decimal("1569.80"))


@pytest.mark.parametrize(
    "changes",
    [
        {"low_price_range": ""}, {"high_price_range": "NA"}, {"low_price_range": "0.0000"},
        {"low_price_range": "1569.8000"}, {"low_price_range": "-1"}, {"high_price_range": "0"},
    ],
)  # fmt: skip
def test_what_are_no_limits_is_none(changes: dict[str, Any]) -> None:
    assert read_circuits(QUOTE | changes) is None


async def test_limits_that_make_no_sense_cost_the_others_nothing() -> None:
    class Confused(Broker):
        async def __call__(self, work: Any) -> list[Any]:
            first, second = await super().__call__(work)
            return [first | {"low_price_range": "much"}, second | {"depth": None, "ltp": "NA"}]

    limits = await KotakReads(Confused("0", "1"), token_of).read_circuits(shares(2))

    assert limits == {shares(2)[1]: (Decimal("1284.50"), Decimal("1569.80"))}


async def test_every_fifty_limits_take_a_call() -> None:
    broker = Broker(*map(str, range(120)))

    assert set(await KotakReads(broker, token_of).read_circuits(shares(120))) == set(shares(120))
    assert sorted(map(len, broker.asked)) == [20, 50, 50]


@pytest.mark.parametrize("token", ["2885", "nse_cm|", "nse_fo|2885", ""])
def test_a_name_of_another_segment_is_none(token: str) -> None:
    assert scrip_name(RELIANCE, token) is None
    assert scrip_name(RELIANCE, "nse_cm|2885") == ("nse_cm", "2885")


def test_a_position_counts_units_at_the_price_of_one() -> None:
    long, short = (
        read_position(POSITION),
        read_position(POSITION | {"flSellQty": "5", "sellAmt": "3050000.00"}),
    )

    assert long is not None
    assert short is not None
    assert str(long.instrument) == "MCX:CRUDEOIL26DECFUT"
    assert (long.quantity, long.average_price) == (200, Decimal("6020.00"))
    assert (short.quantity, short.average_price) == (-200, Decimal("6100.00"))


@pytest.mark.parametrize("changes", [{"flSellQty": "3"}, {"exSeg": "cde_fo"}])
def test_flat_and_foreign_positions_are_left_out(changes: dict[str, Any]) -> None:
    assert read_position(POSITION | changes) is None


@pytest.mark.parametrize("changes", [{"multiplier": "0.5"}, {"genDen": "0"}, {"cfBuyQty": "NA"}, {"prod": ""}])
def test_a_position_that_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UnreadableRow):
        read_position(POSITION | changes)


def test_a_holding() -> None:
    holding = read_holding(HOLDING)

    assert holding is not None
    assert (holding.instrument, holding.quantity) == (RELIANCE, 15)
    assert holding.average_price == Decimal("1400.05")
    assert read_holding(HOLDING | {"quantity": 0}) is None


@pytest.mark.parametrize(
    ("answer", "rows"),
    [
        (Answer(status=200, body=None, items=[QUOTE]), [QUOTE]),
        (Answer(status=200, body={"stat": "ok", "data": [1]}), [1]),
        (Answer(status=200, body={"data": [1]}), [1]),
        (Answer(status=200, body={"stat": "Not_Ok", "stCode": 5203, "errMsg": "No Data"}), []),
        (Answer(status=424, body={"stat": "Not_Ok", "stCode": 5203, "errMsg": "No Data"}), []),
        (Answer(status=200, body={"stat": "Not_Ok", "data": [1]}), None),
        (Answer(status=200, body={"stat": "ok"}), None),
        (Answer(status=500, body={"data": [1]}), None),
        (Answer(status=500, body=None, items=[1]), None),
        (Answer(status=200, body=None), None),
        (NotSent("UNREACHABLE"), None),
    ],
)
def test_which_answers_have_rows(answer: Any, rows: list[Any] | None) -> None:
    assert rows_of(answer) == rows


class Broker:
    """Knows some tokens, and refuses a request with any other."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = tokens
        self.asked: list[list[str]] = []

    async def __call__(self, work: Any) -> list[Any]:
        names: list[tuple[str, str]] = work(self)
        self.asked.append([token for _, token in names])
        if len(names) > 50 or any(token not in self._tokens for _, token in names):
            raise BrokerUnavailable(INVALID_INPUT, "Invalid neosymbol values")
        return [QUOTE | {"exchange": segment, "exchange_token": token} for segment, token in names]

    def quotes(self, names: list[tuple[str, str]]) -> Any:
        return names


async def token_of(instrument: Instrument) -> str | None:
    number = instrument.symbol.removeprefix("S")
    return None if number == "UNLISTED" else f"{SEGMENTS.get(instrument.exchange, 'cde_fo')}|{number}"


def shares(count: int) -> list[Instrument]:
    return [Instrument.parse(f"NSE:S{number}") for number in range(count)]


async def test_every_fifty_take_a_call() -> None:
    broker = Broker(*map(str, range(120)))

    quotes = await KotakReads(broker, token_of).quotes(shares(120))

    assert set(quotes) == set(shares(120))
    assert sorted(map(len, broker.asked)) == [20, 50, 50]


async def test_one_that_the_broker_does_not_know_costs_the_others_nothing() -> None:
    broker = Broker(*(str(number) for number in range(50) if number != 31))

    quotes = await KotakReads(broker, token_of).quotes(shares(50))

    assert set(shares(50)) - set(quotes) == {Instrument.parse("NSE:S31")}


async def test_what_the_file_does_not_list_is_not_asked_for() -> None:
    broker = Broker("2885")

    assert await KotakReads(broker, token_of).quotes([Instrument.parse("NSE:UNLISTED"), USDINR]) == {}
    assert broker.asked == []


async def test_where_tokens_cannot_be_read_there_are_no_quotes() -> None:
    async def away(instrument: Instrument) -> str | None:
        raise StorageUnavailable

    with pytest.raises(BrokerUnavailable):
        await KotakReads(Broker(), away).quotes([RELIANCE])


async def test_an_account_that_cannot_be_read_in_full_is_an_error() -> None:
    async def call(work: Any) -> list[Any]:
        return [POSITION, {}]

    for read in ("positions", "holdings"):
        with pytest.raises(BrokerUnavailable, match="cannot be read"):
            await getattr(KotakReads(call, token_of), read)()

"""Positions folded from fills: average cost, and the proofs that nothing is lost."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.account import Account, AccountOrder, AccountSettings
from pulse_domain.charges import NO_CHARGES, ZERODHA, Segment, charges_on
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Filled
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.orders.model import Product, Side, Source
from pulse_domain.positions import (
    FLAT,
    LedgerFill,
    PositionKey,
    Standing,
    charges_of_fills,
    fold,
    total,
)

AT = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
TCS = Instrument.parse("NSE:TCS")
BUY, SELL = Side.BUY, Side.SELL


def fill(
    side: Side,
    quantity: int,
    price: str | Decimal | None = "100",
    *,
    after_s: int = 0,
    order: int = 1,
    trade: str = "T-1",
    tag: str | None = "macd",
    instrument: Instrument = TCS,
    product: Product = Product.MIS,
) -> LedgerFill:
    return LedgerFill(
        client_id=ClientId("desk-1"),
        strategy_tag=tag,
        instrument=instrument,
        product=product,
        side=side,
        source=Source.STRATEGY,
        quantity=quantity,
        value=None if price is None else Decimal(price) * quantity,
        at=AT + timedelta(seconds=after_s),
        order_id=OrderId(f"ord_{order:026}"),
        seq=1,
        chunk=0,
        trade_id=trade,
    )


def in_turn(*fills: tuple[Side, int, str | None]) -> Standing:
    """The standing after fills of one position, a second apart."""
    [standing] = fold(
        fill(side, quantity, price, after_s=second) for second, (side, quantity, price) in enumerate(fills)
    ).values()
    return standing


def test_nothing_gives_no_position() -> None:
    assert fold([]) == {}


def test_adding_averages_the_cost() -> None:
    standing = in_turn((BUY, 10, "100"), (BUY, 30, "104"))

    assert standing == Standing(40, Decimal(4120), Decimal(-4120))
    assert standing.average_price == Decimal(103)
    assert standing.realised == 0


@pytest.mark.parametrize(("opens", "closes", "gain"), [(BUY, SELL, 50), (SELL, BUY, -50)])
def test_closing_a_part_leaves_the_average_as_it_was(opens: Side, closes: Side, gain: int) -> None:
    standing = in_turn((opens, 10, "100"), (closes, 5, "110"))

    assert standing.quantity == (5 if opens is BUY else -5)
    assert (standing.average_price, standing.realised) == (Decimal(100), Decimal(gain))


@pytest.mark.parametrize("side", [BUY, SELL])
def test_crossing_zero_closes_and_then_opens_at_the_fills_price(side: Side) -> None:
    other = SELL if side is BUY else BUY
    standing = in_turn((side, 10, "100"), (other, 25, "110"))

    assert standing.quantity == (-15 if side is BUY else 15)
    assert standing.average_price == Decimal(110)
    assert standing.realised == (100 if side is BUY else -100)


def test_closing_all_takes_all_that_is_left_of_the_cost() -> None:
    # A third of 100 is no whole number of paise.
    standing = in_turn((BUY, 3, "33.3333"), (SELL, 1, "40"), (SELL, 1, "40"), (SELL, 1, "40"))

    assert standing.quantity == 0
    assert standing.cost == 0
    assert standing.realised == Decimal("20.0001")
    assert standing.average_price is None
    assert standing.unrealised(None) == 0


def test_strategies_and_products_are_kept_apart() -> None:
    standings = fold(
        [
            fill(BUY, 10, tag="macd"),
            fill(SELL, 4, tag="rsi", trade="T-2"),
            fill(BUY, 1, tag=None, trade="T-3"),
            fill(BUY, 2, tag="macd", product=Product.CNC, trade="T-4"),
        ]
    )

    assert {key: it.quantity for key, it in standings.items()} == {
        PositionKey("macd", TCS, Product.MIS): 10,
        PositionKey("rsi", TCS, Product.MIS): -4,
        PositionKey(None, TCS, Product.MIS): 1,
        PositionKey("macd", TCS, Product.CNC): 2,
    }


def test_a_fill_without_a_price_leaves_the_quantity_and_no_result() -> None:
    standing = in_turn((BUY, 10, "100"), (SELL, 4, None), (SELL, 6, "110"))

    assert standing.quantity == 0
    assert (standing.realised, standing.unrealised(Decimal(1)), standing.average_price) == (None, None, None)


def test_an_open_position_has_no_result_without_a_price() -> None:
    standing = in_turn((SELL, 10, "100"))

    assert standing.unrealised(None) is None
    assert standing.unrealised(Decimal("90.5")) == Decimal(95)


def test_the_sum_of_what_is_not_known_is_not_known() -> None:
    assert total([Decimal(1), Decimal(2)]) == 3
    assert total([Decimal(1), None]) is None
    assert total([]) == 0


# --- proofs

_FILLS = st.lists(
    st.builds(
        fill,
        side=st.sampled_from(Side),
        quantity=st.integers(1, 100_000),
        price=st.decimals("0.05", "100000", places=2),
        after_s=st.integers(0, 20),
        order=st.integers(1, 4),
        trade=st.integers(1, 1_000_000).map(str),
        tag=st.sampled_from(["macd", None]),
        product=st.sampled_from([Product.MIS, Product.CNC]),
    ),
    unique_by=lambda it: it.place,
    max_size=30,
)


def signed(it: LedgerFill) -> int:
    return it.quantity if it.side is BUY else -it.quantity


@given(_FILLS)
def test_quantity_is_the_sum_of_signed_fills(fills: list[LedgerFill]) -> None:
    standings = fold(fills)

    assert {it.key for it in fills} == standings.keys()
    for key, standing in standings.items():
        assert standing.quantity == sum(signed(it) for it in fills if it.key == key)


@given(_FILLS, st.decimals("0.05", "100000", places=2))
def test_realised_and_unrealised_are_cash_flow_and_mark(fills: list[LedgerFill], price: Decimal) -> None:
    for key, standing in fold(fills).items():
        own = [it for it in fills if it.key == key]
        cash = sum(
            (-it.value if it.side is BUY else it.value for it in own if it.value is not None), Decimal(0)
        )
        realised, unrealised = standing.realised, standing.unrealised(price)
        assert realised is not None
        assert unrealised is not None
        assert realised + unrealised == cash + price * standing.quantity


@given(_FILLS)
def test_the_cost_has_the_sign_of_the_position(fills: list[LedgerFill]) -> None:
    for standing in fold(fills).values():
        assert standing.cost is not None
        if standing.quantity:
            assert standing.average_price is not None
            # Within the prices that were traded, but for the paise of the shares that were closed before.
            assert standing.average_price >= 0
        else:
            assert standing.cost == 0


@given(_FILLS, st.randoms(use_true_random=False))
def test_the_order_in_which_fills_are_told_does_not_matter(fills: list[LedgerFill], rng: Random) -> None:
    shuffled = list(fills)
    rng.shuffle(shuffled)

    assert fold(shuffled) == fold(fills)


@given(
    st.sampled_from(Side),
    st.lists(st.integers(1, 1000), min_size=1, max_size=8),
    st.integers(-2000, 2000),
    st.decimals("0.05", "100000", places=2),
    st.permutations(range(8)),
)
def test_names_of_fills_of_one_instant_side_and_price_do_not_matter(
    side: Side, quantities: list[int], before: int, price: Decimal, names: list[int]
) -> None:
    opened = [fill(BUY if before > 0 else SELL, abs(before), "100")] if before else []

    def together(order: list[int]) -> Standing:
        fills = [
            fill(side, quantity, price, after_s=1, order=1 + order[place])
            for place, quantity in enumerate(quantities)
        ]
        [standing] = fold([*opened, *fills]).values()
        return standing

    one, other = together(names), together(list(range(8)))

    assert (one.quantity, one.cash) == (other.quantity, other.cash)
    assert one.realised is not None
    assert other.realised is not None
    # Closed in parts, each part of the cost is a whole number of paise.
    assert abs(one.realised - other.realised) <= Decimal("0.01") * len(quantities)
    if (before > 0) is (side is BUY) or not before:
        assert one == other


@given(_FILLS, st.integers(0, 30))
def test_folding_in_two_halves_is_folding_whole(fills: list[LedgerFill], cut: int) -> None:
    ordered = sorted(fills, key=lambda it: it.place)

    assert fold(ordered[cut:], fold(ordered[:cut])) == fold(fills)


def on_the_tick(rng: Random) -> Decimal:
    return Decimal(rng.randint(9_900, 10_100)) / 20


@pytest.mark.parametrize("seed", range(20))
def test_results_are_those_of_the_account(seed: int) -> None:
    """The account that backtests trade on keeps its positions by itself; the two must not disagree."""
    rng = Random(seed)  # repeatable, not secret
    account = Account(AccountSettings(charges=NO_CHARGES))
    account.open(Decimal(10**9))
    fills = []
    for number in range(60):
        side, quantity, price = rng.choice(list(Side)), rng.randint(1, 50), on_the_tick(rng)
        order = AccountOrder(
            order_id=str(number), instrument=TCS, side=side, quantity=quantity, product=Product.MIS, price=price
        )
        account.block(order)
        made = fill(side, quantity, price, after_s=number, order=number)
        account.apply_fill(Filled(order_id=order.order_id, quantity=quantity, price=price, at=made.at))
        fills.append(made)

    mark = on_the_tick(rng)
    account.mark({TCS: mark})
    [position] = account.positions()
    [standing] = fold(fills).values()
    assert (standing.quantity, standing.cost, standing.realised, standing.unrealised(mark)) == (
        position.quantity,
        position.cost,
        position.realised,
        position.unrealised,
    )


# --- charges


def test_charges_are_of_an_executed_order_and_day_as_a_whole() -> None:
    fills = [
        fill(BUY, 10, "100", trade="T-1"),
        fill(BUY, 20, "101", trade="T-2"),
        fill(SELL, 5, "102", order=2, after_s=60),
        fill(BUY, 1, "100", trade="T-3", after_s=86_400),
    ]

    charges = charges_of_fills(fills, ZERODHA)

    def of(turnover: str, side: Side, day: date) -> Decimal:
        return charges_on(
            Decimal(turnover), instrument=TCS, segment=Segment.INTRADAY, side=side, trade_date=day,
            schedule=ZERODHA,
        ).total  # fmt: skip

    first, second = date(2026, 1, 5), date(2026, 1, 6)
    one, two = OrderId(f"ord_{1:026}"), OrderId(f"ord_{2:026}")
    assert charges == {
        (one, 1, 0, first): of("3020", BUY, first),
        (two, 1, 0, first): of("510", SELL, first),
        (one, 1, 0, second): of("100", BUY, second),
    }


def test_the_depository_is_paid_once_for_an_instrument_and_day() -> None:

    def sale(**over: Any) -> LedgerFill:
        return fill(SELL, 10, "100", product=Product.CNC, **over)

    fills = [
        sale(order=1, tag="macd"),
        sale(order=2, tag="rsi", after_s=1),
        sale(order=3, instrument=Instrument.parse("NSE:INFY")),
        sale(order=4, after_s=86_400),
    ]

    by_order = {int(key[0][4:]): amount for key, amount in charges_of_fills(fills, ZERODHA).items()}

    assert by_order[2] is not None
    assert [by_order[order] for order in (1, 3, 4)] == [by_order[2] + Decimal("15.34")] * 3


@pytest.mark.parametrize(
    "unknown",
    [
        fill(BUY, 1, "100", instrument=Instrument.parse("MCX:GOLD26FEBFUT"), product=Product.NRML),
        fill(BUY, 1, "100", instrument=Instrument.parse("NFO:ODD"), product=Product.NRML),
        fill(BUY, 1, "100", after_s=-3_000 * 86_400),
        fill(BUY, 1, None),
    ],
    ids=["no rates", "no segment", "before the first table", "no price"],
)
def test_charges_that_are_not_known_are_not_guessed(unknown: LedgerFill) -> None:
    assert charges_of_fills([unknown], ZERODHA) == {unknown.charged_with: None}


def test_without_a_schedule_nothing_is_known_and_a_free_one_costs_nothing() -> None:
    one = fill(BUY, 1, "100")

    assert charges_of_fills([one], None) == {one.charged_with: None}
    assert charges_of_fills([one], NO_CHARGES) == {one.charged_with: Decimal(0)}


def test_flat_is_where_everything_begins() -> None:
    assert (FLAT.quantity, FLAT.realised, FLAT.unrealised(None)) == (0, Decimal(0), Decimal(0))

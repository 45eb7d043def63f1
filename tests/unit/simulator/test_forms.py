"""What a client may send: read field by field, or refused by name."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_adapters.simulator.kite.errors import KiteError
from pulse_adapters.simulator.kite.forms import read_order

GOOD = {
    "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "order_type": "LIMIT",
    "product": "CNC", "quantity": "10", "price": "1400.0", "validity": "DAY", "variety": "regular",
    "market_protection": "-1", "algo_id": "x",
}  # fmt: skip
WORDS = st.one_of(
    st.text(max_size=25),
    st.sampled_from(["", "0", "-1", "1e3", "NaN", "Infinity", "1e999", "\u0663", "NSE", "IOC", "TTL"]),
)


def test_a_form_is_read_with_what_the_client_repeats() -> None:
    form = read_order(GOOD)

    assert (form.exchange, form.symbol, form.quantity) == ("NSE", "INFY", 10)
    assert form.protection == -1
    assert form.trigger_price is None


@given(st.dictionaries(st.sampled_from(sorted([*GOOD, "tag", "validity_ttl", "iceberg_legs"])), WORDS))
def test_any_form_is_read_or_refused(changes: dict[str, str]) -> None:
    form = None
    with suppress(KiteError):
        form = read_order({**GOOD, **changes})

    assert form is None or (form.quantity > 0 and (form.price is None or form.price.is_finite()))


@pytest.mark.parametrize("name", ["exchange", "tradingsymbol", "transaction_type", "order_type", "quantity"])
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(KiteError, match=name):
        read_order({key: value for key, value in GOOD.items() if key != name})

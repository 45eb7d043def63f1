"""The rules, and what an order that breaks one is told."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from msgspec.structs import replace

from pulse_domain.errors import RiskRejected
from pulse_domain.orders.model import OrderRequest, Side
from pulse_domain.risk.breaches import Breach, RiskRule
from pulse_domain.risk.facts import OrderCounts, PriceFacts, RiskFacts
from pulse_domain.risk.limits import RiskLimits
from pulse_domain.units import INDIA


def reduces(request: OrderRequest, position: int | None) -> bool:
    """Whether an order only takes a position down, so that it takes risk away."""
    if not position or (position > 0) is (request.side is Side.BUY):
        return False
    return request.total_quantity <= abs(position)


def effective_price(request: OrderRequest, price: PriceFacts) -> Decimal:
    """The price that an order is about: its limit, else its trigger, else the market's."""
    return request.limit_price or request.trigger_price or price.last_price


def check_risk(
    request: OrderRequest, facts: RiskFacts, limits: RiskLimits, *, squares_off: bool = False
) -> tuple[Breach, ...]:
    """Judge an order: all rules that refuse it, none where it passes.

    squares_off: it is one of the orders by which the kill switch itself closes positions. It passes where it
    takes a position down, and nowhere else.
    """
    if squares_off:
        if reduces(request, facts.position):
            return ()
        return (Breach(RiskRule.KILL_SWITCH, "this order does not take a position down"),)
    return tuple(breach for rule in RULES.values() if (breach := rule(request, facts, limits)) is not None)


def waived(request: OrderRequest, facts: RiskFacts, limits: RiskLimits) -> tuple[Breach, ...]:
    """What would refuse an order that passes, did it not take a position down."""
    if not reduces(request, facts.position):
        return ()
    opening = replace(facts, position=0)
    rules = (RULES[rule] for rule in _WAIVABLE)
    return tuple(breach for rule in rules if (breach := rule(request, opening, limits)) is not None)


def check_counts(request: OrderRequest, counts: OrderCounts, limits: RiskLimits) -> tuple[Breach, ...]:
    """Judge an order by the rules that count orders and by those that are waived for it, and by no others."""
    facts = RiskFacts(
        now=counts.now,
        killed=False,
        open_orders=counts.open_orders,
        recent_orders=counts.recent_orders,
        same_orders=counts.same_orders,
    )
    rules = (RULES[rule] for rule in _BY_COUNT)
    breaches = tuple(breach for rule in rules if (breach := rule(request, facts, limits)) is not None)
    return breaches + _no_longer_waived(request, counts, limits)


def _no_longer_waived(request: OrderRequest, counts: OrderCounts, limits: RiskLimits) -> tuple[Breach, ...]:
    if limits.waiver is None:
        return ()
    if counts.closable is None or counts.closing is None:
        why = "what is held and being closed is not known just now"
    elif counts.closing + request.total_quantity <= counts.closable:
        return ()
    else:
        why = f"of {max(0, counts.closable)} units to close, orders for {counts.closing} are open already"
    return tuple([replace(breach, reason=f"{breach.reason}; {why}") for breach in limits.waiver.breaches])


def refusal(breaches: tuple[Breach, ...]) -> RiskRejected:
    """What is raised for an order that breaks rules."""
    told = "; ".join(f"{breach.rule}: {breach.reason}" for breach in breaches)
    return RiskRejected(
        f"the risk gate refuses the order: {told}",
        reasons=[
            {"rule": str(breach.rule), "reason": breach.reason, "stale": breach.stale} for breach in breaches
        ],
    )


def _kill_switch(request: OrderRequest, facts: RiskFacts, limits: RiskLimits) -> Breach | None:
    return (
        Breach(RiskRule.KILL_SWITCH, "the kill switch is tripped; a person resumes") if facts.killed else None
    )


def _session(request: OrderRequest, facts: RiskFacts, limits: RiskLimits) -> Breach | None:
    if not limits.in_session_only or facts.session_open is True:
        return None
    if facts.session_open is None:
        return _unknown(RiskRule.SESSION, "whether the market is open")
    return Breach(RiskRule.SESSION, "the market is shut")


def _cut_off(request: OrderRequest, facts: RiskFacts, limits: RiskLimits) -> Breach | None:
    if limits.cut_off is None or reduces(request, facts.position):
        return None
    begins, ends = facts.sends or (facts.now, facts.now)
    cut_off = datetime.combine(begins.astimezone(INDIA), limits.cut_off, INDIA)
    if begins < cut_off and ends <= cut_off:
        return None
    return Breach(RiskRule.CUT_OFF, f"nothing is opened from {limits.cut_off:%H:%M} on")


def _duplicate(request: OrderRequest, facts: RiskFacts, limits: RiskLimits) -> Breach | None:
    if limits.duplicate_window is None:
        return None
    if facts.same_orders is None:
        return _unknown(RiskRule.DUPLICATE_SIGNAL, "the orders of late")
    since = facts.now - limits.duplicate_window
    if not any(at > since for at in facts.same_orders):
        return None
    return Breach(RiskRule.DUPLICATE_SIGNAL, f"the same order came within {_seconds(limits.duplicate_window)}")


def _order_rate(request: OrderRequest, facts: RiskFacts, limits: RiskLimits) -> Breach | None:
    if limits.max_orders is None:
        return None
    if facts.recent_orders is None:
        return _unknown(RiskRule.ORDER_RATE, "the orders of late")
    since = facts.now - limits.orders_window
    count = sum(at > since for at in facts.recent_orders)
    if count < limits.max_orders:
        return None
    return Breach(RiskRule.ORDER_RATE, f"{count} orders came within {_seconds(limits.orders_window)}")


def _order_quantity(request: OrderRequest, facts: RiskFacts, limits: RiskLimits) -> Breach | None:
    if limits.max_order_quantity is None or request.total_quantity <= limits.max_order_quantity:
        return None
    return Breach(RiskRule.ORDER_QUANTITY, f"{request.total_quantity} units, above {limits.max_order_quantity}")


def _order_value(request: OrderRequest, facts: RiskFacts, limits: RiskLimits) -> Breach | None:
    if limits.max_order_value is None:
        return None
    price = _fresh(facts, limits)
    if price is None:
        return _unknown(RiskRule.ORDER_VALUE, "a price")
    # A limit far from the market is no help: what counts is the dearer of the two.
    value = request.total_quantity * max(effective_price(request, price), price.last_price)
    if value <= limits.max_order_value:
        return None
    return Breach(RiskRule.ORDER_VALUE, f"worth {value:.2f}, above {limits.max_order_value}")


def _open_orders(request: OrderRequest, facts: RiskFacts, limits: RiskLimits) -> Breach | None:
    if limits.max_open_orders is None:
        return None
    if facts.open_orders is None:
        return _unknown(RiskRule.OPEN_ORDERS, "the open orders")
    if facts.open_orders < limits.max_open_orders:
        return None
    return Breach(RiskRule.OPEN_ORDERS, f"{facts.open_orders} orders are open already")


def _open_positions(request: OrderRequest, facts: RiskFacts, limits: RiskLimits) -> Breach | None:
    if limits.max_open_positions is None:
        return None
    if facts.open_positions is None or facts.net_position is None:
        return _unknown(RiskRule.OPEN_POSITIONS, "the positions")
    # More of what is held, or less of it, is no further position.
    if facts.net_position or facts.open_positions < limits.max_open_positions:
        return None
    return Breach(RiskRule.OPEN_POSITIONS, f"{facts.open_positions} positions are open already")


def _daily_loss(request: OrderRequest, facts: RiskFacts, limits: RiskLimits) -> Breach | None:
    if limits.max_daily_loss is None or reduces(request, facts.position):
        return None
    if facts.result is None or facts.now - facts.result.at > limits.result_max_age:
        return _unknown(RiskRule.DAILY_LOSS, "the day's result")
    if facts.result.net > -limits.max_daily_loss:
        return None
    return Breach(RiskRule.DAILY_LOSS, f"the day's result is {facts.result.net:.2f} after charges")


def _fat_finger(request: OrderRequest, facts: RiskFacts, limits: RiskLimits) -> Breach | None:
    if limits.fat_finger_percent is None:
        return None
    price = _fresh(facts, limits)
    if price is None or not price.minute_vwap:
        return _unknown(RiskRule.FAT_FINGER, "the average price of the last minute")
    asked = effective_price(request, price)
    if abs(asked - price.minute_vwap) * 100 <= limits.fat_finger_percent * price.minute_vwap:
        return None
    return Breach(
        RiskRule.FAT_FINGER,
        f"{asked} is more than {limits.fat_finger_percent} % away from {price.minute_vwap:.2f}",
    )


def _circuit_band(request: OrderRequest, facts: RiskFacts, limits: RiskLimits) -> Breach | None:
    if limits.circuit_percent is None or reduces(request, facts.position):
        return None
    price = _fresh(facts, limits)
    if price is None or price.lower_circuit is None or price.upper_circuit is None:
        return _unknown(RiskRule.CIRCUIT_BAND, "the circuit limits")
    for at in (effective_price(request, price), price.last_price):
        for limit in (price.lower_circuit, price.upper_circuit):
            if abs(at - limit) * 100 <= limits.circuit_percent * limit:
                return Breach(
                    RiskRule.CIRCUIT_BAND, f"{at} is within {limits.circuit_percent} % of the limit {limit}"
                )
        if not price.lower_circuit < at < price.upper_circuit:
            return Breach(RiskRule.CIRCUIT_BAND, f"{at} is beyond the circuit limits")
    return None


def _fresh(facts: RiskFacts, limits: RiskLimits) -> PriceFacts | None:
    price = facts.price
    # A price of the future is as little to be trusted as an old one; clocks differ by a little.
    if price is None or not -limits.price_max_age <= facts.now - price.at <= limits.price_max_age:
        return None
    return price


def _unknown(rule: RiskRule, what: str) -> Breach:
    return Breach(rule, f"{what} is not known just now", stale=True)


def _seconds(window: timedelta) -> str:
    return f"{window.total_seconds():g} s"


_BY_COUNT = (RiskRule.DUPLICATE_SIGNAL, RiskRule.ORDER_RATE, RiskRule.OPEN_ORDERS)
# Those that an order passes which takes a position down.
_WAIVABLE = (RiskRule.CUT_OFF, RiskRule.DAILY_LOSS, RiskRule.CIRCUIT_BAND)

RULES: dict[RiskRule, Callable[[OrderRequest, RiskFacts, RiskLimits], Breach | None]] = {
    RiskRule.KILL_SWITCH: _kill_switch,
    RiskRule.SESSION: _session,
    RiskRule.CUT_OFF: _cut_off,
    RiskRule.DUPLICATE_SIGNAL: _duplicate,
    RiskRule.ORDER_RATE: _order_rate,
    RiskRule.ORDER_QUANTITY: _order_quantity,
    RiskRule.ORDER_VALUE: _order_value,
    RiskRule.OPEN_ORDERS: _open_orders,
    RiskRule.OPEN_POSITIONS: _open_positions,
    RiskRule.DAILY_LOSS: _daily_loss,
    RiskRule.FAT_FINGER: _fat_finger,
    RiskRule.CIRCUIT_BAND: _circuit_band,
}

"""The risk gate's rules: pure functions of an order, what is known just now, and the limits.

Every rule is off until its limit is set. A rule that is on and lacks a fact, or has only an old one, refuses:
what cannot be judged does not pass.
"""

from pulse_domain.risk.breaches import Breach, RiskRule
from pulse_domain.risk.facts import OrderCounts, PriceFacts, ResultFacts, RiskFacts
from pulse_domain.risk.limits import RiskLimits, Waiver
from pulse_domain.risk.rules import (
    RULES,
    check_counts,
    check_risk,
    effective_price,
    reduces,
    refusal,
    waived,
)

__all__ = [
    "RULES",
    "Breach",
    "OrderCounts",
    "PriceFacts",
    "ResultFacts",
    "RiskFacts",
    "RiskLimits",
    "RiskRule",
    "Waiver",
    "check_counts",
    "check_risk",
    "effective_price",
    "reduces",
    "refusal",
    "waived",
]

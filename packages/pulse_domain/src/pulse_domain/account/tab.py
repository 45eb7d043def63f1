"""What an order is charged: for what it has traded on a day as a whole, however many fills that took."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from pulse_domain.account.book import Book, rupees
from pulse_domain.account.values import ZERO
from pulse_domain.charges import NOTHING, ChargesBreakdown, ChargesSchedule, charges_on
from pulse_domain.orders.model import Side

# The latest day of trading, its turnover, its charges, and the charges of all days.
TabState = tuple[date | None, Decimal, ChargesBreakdown, Decimal]

UNUSED: TabState = (None, ZERO, NOTHING, ZERO)


@dataclass(slots=True, eq=False)
class Tab:
    """What one order has traded and was charged, in rupees; every order has its own.

    trade_date, turnover, day_charges: of its latest day of trading; `charges` of all its days.
    state: all of it, replaced as a whole.
    """

    state: TabState = UNUSED

    @property
    def trade_date(self) -> date | None:
        return self.state[0]

    @property
    def turnover(self) -> Decimal:
        return self.state[1]

    @property
    def day_charges(self) -> ChargesBreakdown:
        return self.state[2]

    @property
    def charges(self) -> Decimal:
        return self.state[3]


def with_fill(
    tab: Tab, book: Book, sign: int, value: int, day: date, schedule: ChargesSchedule
) -> tuple[TabState, Decimal]:
    """The tab after a fill, and what more it charges: for the day's whole, less what it charged already.

    Raises:
        ChargesUnknown: the schedule has no rates for the day, exchange or segment.
    """
    turnover, before = rupees(value), NOTHING
    trade_date, day_turnover, day_charges, charges = tab.state
    if trade_date == day:
        turnover, before = turnover + day_turnover, day_charges
    charged = charges_on(
        turnover, instrument=book.instrument, segment=book.segment,
        side=Side.BUY if sign > 0 else Side.SELL, trade_date=day, schedule=schedule,
        first_delivery_sale=book.depository_paid_on != day or before.depository_fee > 0,
    )  # fmt: skip
    more = charged.total - before.total
    return (day, turnover, charged, charges + more), more

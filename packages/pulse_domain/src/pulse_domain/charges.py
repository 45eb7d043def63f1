"""What a trade costs besides its price: brokerage, taxes and fees, from dated tables.

Turnover is price x quantity, for options premium x quantity. Brokerage is per executed order: the fills
of one order are summed first. Each item is rounded to the paisa, half up, so that an account can book an
order the moment it fills. Securities transaction tax is rounded to the rupee on the contract note of a
day, not on each order: twelve slices that owe 40 paise each owe 5 rupees together, not nothing.
`contract_note` does that.

A day before a schedule's first table, or a segment that it has no rates for, is an error and not a guess.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from pulse_domain.errors import ChargesUnknown, InvalidInstrument
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.matching import Filled
from pulse_domain.orders.model import Product, Side

PAISA = Decimal("0.01")
RUPEE = Decimal(1)
ZERO = Decimal(0)


class Segment(StrEnum):
    """What decides the rates: the same share costs otherwise when it is delivered."""

    DELIVERY = "DELIVERY"
    INTRADAY = "INTRADAY"
    FUTURES = "FUTURES"
    OPTIONS = "OPTIONS"


class Brokerage(Struct, frozen=True, kw_only=True):
    """The broker's own fee for one executed order: flat plus rate x turnover, at most the cap."""

    flat: Decimal = ZERO
    rate: Decimal = ZERO
    cap: Decimal | None = None

    def on(self, turnover: Decimal) -> Decimal:
        fee = self.flat + self.rate * turnover
        return fee if self.cap is None else min(fee, self.cap)


class Rates(Struct, frozen=True, kw_only=True):
    """Fractions of the turnover; in rupees only the brokerage's flat part and `depository_fee`.

    exchange_fee_by_underlying: other exchange fees for symbols that begin so; the longest match counts.
    depository_fee: for the first delivery sale of an instrument on a day, tax included.
    """

    brokerage: Brokerage = Brokerage()
    stt_buy: Decimal = ZERO
    stt_sell: Decimal = ZERO
    exchange_fee: Decimal = ZERO
    exchange_fee_by_underlying: Mapping[str, Decimal] = {}
    investor_protection: Decimal = ZERO
    sebi_fee: Decimal = ZERO
    stamp_duty_buy: Decimal = ZERO
    depository_fee: Decimal = ZERO

    def exchange_fee_of(self, instrument: Instrument) -> Decimal:
        begins = [name for name in self.exchange_fee_by_underlying if instrument.symbol.startswith(name)]
        return self.exchange_fee_by_underlying[max(begins, key=len)] if begins else self.exchange_fee


class RateTable(Struct, frozen=True, kw_only=True):
    """The rates from a day on, until a later table takes over.

    gst_on_investor_protection: brokers that print the exchange's fee and its protection fund as one
    figure tax both; a contract note of 2023 taxed the fee alone.
    """

    effective_from: date
    rates: Mapping[tuple[Exchange, Segment], Rates]
    gst: Decimal
    gst_on_investor_protection: bool = True


class ChargesSchedule(Struct, frozen=True, kw_only=True):
    """Dated tables, in any order. A schedule of your own is such a value.

    quantum: what each item of an order is rounded to; None leaves it unrounded.
    free: nothing costs anything, on any day; there are no tables then.
    """

    name: str
    tables: tuple[RateTable, ...] = ()
    quantum: Decimal | None = PAISA
    free: bool = False

    def table_on(self, trade_date: date) -> RateTable:
        """The table in force.

        Raises:
            ChargesUnknown: the day is before the first table.
        """
        in_force = [table for table in self.tables if table.effective_from <= trade_date]
        if not in_force:
            first = min((table.effective_from for table in self.tables), default=None)
            raise ChargesUnknown(
                f"{self.name} charges begin on {first}: there are none for {trade_date}",
                schedule=self.name, trade_date=trade_date.isoformat(),
            )  # fmt: skip
        return max(in_force, key=lambda table: table.effective_from)

    def with_brokerage(self, name: str, brokerage: Mapping[Segment, Brokerage]) -> "ChargesSchedule":
        """The same taxes and fees at another broker; segments not named keep their brokerage."""
        tables = tuple(
            replace(
                table,
                rates={
                    key: replace(rates, brokerage=brokerage.get(key[1], rates.brokerage))
                    for key, rates in table.rates.items()
                },
            )
            for table in self.tables
        )
        return replace(self, name=name, tables=tables)


class ChargesBreakdown(Struct, frozen=True, kw_only=True):
    """In rupees, each item apart."""

    brokerage: Decimal = ZERO
    stt: Decimal = ZERO
    exchange_fee: Decimal = ZERO
    investor_protection: Decimal = ZERO
    sebi_fee: Decimal = ZERO
    stamp_duty: Decimal = ZERO
    gst: Decimal = ZERO
    depository_fee: Decimal = ZERO

    @property
    def total(self) -> Decimal:
        return (
            self.brokerage + self.stt + self.exchange_fee + self.investor_protection
            + self.sebi_fee + self.stamp_duty + self.gst + self.depository_fee
        )  # fmt: skip

    def __add__(self, other: "ChargesBreakdown") -> "ChargesBreakdown":
        return ChargesBreakdown(
            brokerage=self.brokerage + other.brokerage,
            stt=self.stt + other.stt,
            exchange_fee=self.exchange_fee + other.exchange_fee,
            investor_protection=self.investor_protection + other.investor_protection,
            sebi_fee=self.sebi_fee + other.sebi_fee,
            stamp_duty=self.stamp_duty + other.stamp_duty,
            gst=self.gst + other.gst,
            depository_fee=self.depository_fee + other.depository_fee,
        )

    def rounded(self, quantum: Decimal, *, stt: Decimal | None = None) -> "ChargesBreakdown":
        """Each item to the quantum, half up; transaction tax to its own where given."""
        return ChargesBreakdown(
            brokerage=_round(self.brokerage, quantum),
            stt=_round(self.stt, stt or quantum),
            exchange_fee=_round(self.exchange_fee, quantum),
            investor_protection=_round(self.investor_protection, quantum),
            sebi_fee=_round(self.sebi_fee, quantum),
            stamp_duty=_round(self.stamp_duty, quantum),
            gst=_round(self.gst, quantum),
            depository_fee=_round(self.depository_fee, quantum),
        )


NOTHING = ChargesBreakdown()
NO_CHARGES = ChargesSchedule(name="none", free=True)


def segment_of(instrument: Instrument, product: Product) -> Segment:
    """The segment, read from the exchanges' way of naming contracts: ...FUT, ...CE, ...PE.

    Raises:
        InvalidInstrument: a derivative's symbol ends otherwise; its segment must be said.
    """
    if instrument.exchange.is_cash:
        return Segment.DELIVERY if product is Product.CNC else Segment.INTRADAY
    if instrument.symbol.endswith("FUT"):
        return Segment.FUTURES
    if instrument.symbol.endswith(("CE", "PE")):
        return Segment.OPTIONS
    raise InvalidInstrument(f"{instrument} ends in neither FUT, CE nor PE: say its segment", field="instrument")


def charges_of(
    fills: Iterable[Filled],
    *,
    instrument: Instrument,
    segment: Segment,
    side: Side,
    trade_date: date,
    schedule: ChargesSchedule,
    multiplier: int = 1,
    first_delivery_sale: bool = False,
) -> ChargesBreakdown:
    """What one executed order costs, from all its fills of one day; without fills nothing.

    multiplier: what a unit of the contract stands for, times the price.
    first_delivery_sale: whether the depository's fee for the instrument and day is still due.

    Raises:
        ChargesUnknown: the schedule has no rates for the day, or for the exchange and segment.
    """
    turnover = sum((fill.price * fill.quantity for fill in fills), ZERO) * multiplier
    return charges_on(
        turnover, instrument=instrument, segment=segment, side=side, trade_date=trade_date,
        schedule=schedule, first_delivery_sale=first_delivery_sale,
    )  # fmt: skip


def charges_on(
    turnover: Decimal,
    *,
    instrument: Instrument,
    segment: Segment,
    side: Side,
    trade_date: date,
    schedule: ChargesSchedule,
    first_delivery_sale: bool = False,
) -> ChargesBreakdown:
    """What one executed order of this turnover costs: `charges_of` for those who keep the sum.

    Raises:
        ChargesUnknown: the schedule has no rates for the day, or for the exchange and segment.
    """
    if schedule.free:
        return NOTHING
    table = schedule.table_on(trade_date)
    rates = table.rates.get((instrument.exchange, segment))
    if rates is None:
        raise ChargesUnknown(
            f"{schedule.name} charges of {trade_date} have no rates for {segment} at {instrument.exchange}",
            schedule=schedule.name, exchange=instrument.exchange, segment=segment,
        )  # fmt: skip
    if not turnover:
        return NOTHING
    buys = side is Side.BUY
    items = ChargesBreakdown(
        brokerage=rates.brokerage.on(turnover),
        stt=turnover * (rates.stt_buy if buys else rates.stt_sell),
        exchange_fee=turnover * rates.exchange_fee_of(instrument),
        investor_protection=turnover * rates.investor_protection,
        sebi_fee=turnover * rates.sebi_fee,
        stamp_duty=turnover * rates.stamp_duty_buy if buys else ZERO,
        depository_fee=rates.depository_fee if first_delivery_sale and not buys else ZERO,
    )
    if schedule.quantum is not None:
        items = items.rounded(schedule.quantum)
    taxed = items.brokerage + items.exchange_fee + items.sebi_fee
    if table.gst_on_investor_protection:
        taxed += items.investor_protection
    gst = taxed * table.gst
    return replace(items, gst=gst if schedule.quantum is None else _round(gst, schedule.quantum))


def contract_note(orders: Iterable[ChargesBreakdown]) -> ChargesBreakdown:
    """The sum of a day's orders as the note prints it: transaction tax in whole rupees, the rest in paise."""
    return sum(orders, NOTHING).rounded(PAISA, stt=RUPEE)


def _round(amount: Decimal, quantum: Decimal) -> Decimal:
    return amount.quantize(quantum, ROUND_HALF_UP)


def _percent(text: str) -> Decimal:
    return Decimal(text).scaleb(-2)


def _at(rates: Rates, exchange_fee: str, fund: str = "0", **by_underlying: str) -> Rates:
    """The rates with what one exchange takes, in percent as its circulars print it."""
    return replace(
        rates,
        exchange_fee=_percent(exchange_fee),
        exchange_fee_by_underlying={name: _percent(fee) for name, fee in by_underlying.items()},
        investor_protection=_percent(fund),
    )


def _table(effective_from: date, *, stt_futures: str, stt_options: str) -> RateTable:
    sebi_fee = _percent("0.0001")
    capped = Brokerage(rate=_percent("0.03"), cap=Decimal(20))
    delivery = Rates(
        stt_buy=_percent("0.1"),
        stt_sell=_percent("0.1"),
        sebi_fee=sebi_fee,
        stamp_duty_buy=_percent("0.015"),
        depository_fee=Decimal("15.34"),
    )
    intraday = Rates(
        brokerage=capped,
        stt_sell=_percent("0.025"),
        sebi_fee=sebi_fee,
        stamp_duty_buy=_percent("0.003"),
    )
    futures = Rates(
        brokerage=capped,
        stt_sell=_percent(stt_futures),
        sebi_fee=sebi_fee,
        stamp_duty_buy=_percent("0.002"),
    )
    options = Rates(
        brokerage=Brokerage(flat=Decimal(20)),
        stt_sell=_percent(stt_options),
        sebi_fee=sebi_fee,
        stamp_duty_buy=_percent("0.003"),
    )
    return RateTable(
        effective_from=effective_from,
        gst=_percent("18"),
        rates={
            (Exchange.NSE, Segment.DELIVERY): _at(delivery, "0.00297", fund="0.0001"),
            (Exchange.NSE, Segment.INTRADAY): _at(intraday, "0.00297", fund="0.0001"),
            (Exchange.NFO, Segment.FUTURES): _at(futures, "0.00173", fund="0.0001"),
            (Exchange.NFO, Segment.OPTIONS): _at(options, "0.03503", fund="0.0005"),
            (Exchange.BSE, Segment.DELIVERY): _at(delivery, "0.00375"),
            (Exchange.BSE, Segment.INTRADAY): _at(intraday, "0.00375"),
            (Exchange.BFO, Segment.FUTURES): _at(futures, "0"),
            # Two indices pay more than other options; SENSEX50 begins like one of them and does not.
            (Exchange.BFO, Segment.OPTIONS): _at(
                options, "0.005", SENSEX="0.0325", BANKEX="0.0325", SENSEX50="0.005"
            ),
        },
    )


# From the "true to label" exchange fees on; what was charged before has no table here.
ZERODHA = ChargesSchedule(
    name="zerodha",
    tables=(
        _table(date(2024, 10, 1), stt_futures="0.02", stt_options="0.10"),
        _table(date(2026, 4, 1), stt_futures="0.05", stt_options="0.15"),
    ),
)

# What the rates are known of. A virtual broker charges what Zerodha would.
_AT_BROKERS = {"virtual": ZERODHA, "zerodha": ZERODHA}
# What a person may say that a broker charges.
SCHEDULES = {each.name: each for each in (ZERODHA, NO_CHARGES)}


def charges_at(broker: str) -> ChargesSchedule | None:
    """What a broker charges; None where nobody has told."""
    return _AT_BROKERS.get(broker)

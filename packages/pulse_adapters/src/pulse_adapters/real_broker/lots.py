"""What a broker's quantities count for, where it may count lots and not units."""

from collections.abc import Awaitable, Callable

from pulse_adapters.real_broker.rows import OrderRow, TradeRow, UnreadableRow
from pulse_domain.errors import BrokerRejected, BrokerUnavailable, StorageUnavailable
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.ports.broker import OrderTicket

UNITS_UNKNOWN = "UNITS_UNKNOWN"

Units = Callable[[Instrument], Awaitable[int | None]]


async def no_units(instrument: Instrument) -> int | None:
    return None


class Lots:
    """counted_on: the exchanges where the broker counts lots.
    units: what a lot counts for, known from orders that other processes have placed; None where no order of
        ours is in the instrument.
    """

    def __init__(self, counted_on: frozenset[Exchange], units: Units) -> None:
        self._counted_on = counted_on
        self._units = units
        self._known: dict[Instrument, int] = {}

    def learn(self, ticket: OrderTicket) -> None:
        if ticket.instrument.exchange in self._counted_on:
            self._known[ticket.instrument] = ticket.terms.units_per_broker_quantity

    async def of_row(self, row: OrderRow | TradeRow) -> int:
        """What the quantities of a row are to be multiplied with.

        Raises:
            UnreadableRow: the instrument is none of ours.
            BrokerUnavailable: UNITS_UNKNOWN, it cannot be read now.
        """
        if row.instrument is None:
            raise UnreadableRow("the instrument is none of ours")
        units = await self._units_of(row.instrument)
        # Where nothing of ours is in the instrument, nobody compares the quantity with anything.
        return 1 if units is None else units

    async def count(self, quantity: int, instrument: Instrument | None) -> int:
        """A quantity of ours as the broker counts.

        Raises:
            BrokerUnavailable: UNITS_UNKNOWN.
            BrokerRejected: LOT_SIZE.
        """
        units = await self._units_of(instrument) if instrument is not None else None
        if units is None:
            raise BrokerUnavailable(UNITS_UNKNOWN, "it is not known what a lot of the instrument counts for")
        if quantity % units:
            raise BrokerRejected("LOT_SIZE", f"{quantity} is not a whole number of lots of {units}")
        return quantity // units

    async def _units_of(self, instrument: Instrument) -> int | None:
        if instrument.exchange not in self._counted_on:
            return 1
        if instrument not in self._known:
            try:
                units = await self._units(instrument)
            except StorageUnavailable as error:
                raise BrokerUnavailable(UNITS_UNKNOWN, "the units of a lot cannot be read") from error
            if units is None:
                return None
            self._known[instrument] = units
        return self._known[instrument]

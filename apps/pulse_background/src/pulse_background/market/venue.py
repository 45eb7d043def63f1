"""Where the orders of one strategy go, and what its host wants of that place."""

from typing import Any, Protocol

from msgspec import Struct

from pulse_background.market.messages import KnownOrder, Money, Told
from pulse_domain.orders.model import OrderRequest
from pulse_domain.orders.status import OrderState
from pulse_domain.ports.event_bus import Signal
from pulse_domain.strategy import OrderUpdate


class Opening(Struct, frozen=True, kw_only=True):
    """How things stand as a strategy begins.

    orders: those of its memory that exist, as they stand now. missed: what it was not told of them.
    """

    money: Money
    orders: tuple[KnownOrder, ...] = ()
    missed: tuple[Told, ...] = ()


class Venue(Protocol):
    """fills_by_itself: whether an order at the market ends without a further price."""

    @property
    def fills_by_itself(self) -> bool: ...

    async def open(self, memory: Any, orders: tuple[KnownOrder, ...]) -> Opening:
        """Take up what a memory left; both are empty for a new life.

        Raises:
            StorageUnavailable: try again.
        """
        ...

    async def submit(self, signal: Signal) -> None:
        """Take an order in; when this returns it is accepted, or refused by an update."""
        ...

    async def recall(self, signal: Signal) -> None:
        """The same for a signal that is too old to be acted on: an order that was accepted then is taken up,
        and what was not never will be."""
        ...

    async def cancel(self, order_unique_key: str) -> None:
        """Ask for the end of an order; unknown and done ones stay as they are."""
        ...

    def acknowledge(self, told: Told) -> None:
        """The strategy knows of it."""
        ...

    def memory(self) -> Any:
        """What `open` needs after a crash, as plain JSON."""
        ...

    async def refresh(self) -> Money | None:
        """Look whether others have changed what is held; None where nobody can have.

        Raises:
            StorageUnavailable.
        """
        ...

    def close(self) -> None: ...


def refusal(signal: Signal, reason_code: str) -> OrderUpdate:
    """What a strategy hears of an order that is not taken."""
    request: OrderRequest = signal.request
    return OrderUpdate(
        order_unique_key=signal.order_unique_key,
        at=signal.at,
        instrument=request.instrument,
        side=request.side,
        state=OrderState.REJECTED,
        done=True,
        total_quantity=request.total_quantity,
        filled_quantity=0,
        reason_code=reason_code,
    )


STALE = "STALE_SIGNAL"

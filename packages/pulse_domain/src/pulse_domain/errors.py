"""Every error of the domain.

PulseError
├── DomainError                 the caller asked for something the rules do not allow
│   ├── InvalidOrder
│   │   ├── InvalidInstrument
│   │   │   └── UnknownInstrument
│   │   ├── InvalidQuantity
│   │   │   └── OffLot
│   │   ├── InvalidPrice
│   │   │   └── OffTick
│   │   ├── InvalidSplitConfig
│   │   └── NotOffered          the broker takes no such order in that segment
│   ├── InvalidStrategy
│   ├── CannotSplit             no schedule fits the quantity, lot and freeze limit
│   ├── LimitsExceeded          more executions than the broker takes in the window
│   ├── TradingHalted
│   ├── RiskRejected            the risk gate lets the order not pass
│   ├── MarketClosed            no session, or none that takes such an order
│   │   └── CalendarUnknown     the calendar cannot tell whether there is one
│   ├── NotCancellable
│   ├── NotPausable
│   ├── NotResolvable
│   ├── ReconcileRequired       nothing but a confirmed reconcile ends the halt
│   ├── IllegalTransition       the state table has no such cell; nothing has changed
│   │   └── StaleAttempt        a decision of an owner that has been replaced
│   ├── MatchingError           a bad tick, candle or order reached the matching engine
│   ├── InvalidSettings         of a backtest
│   ├── BadMarketData           rows of prices that no backtest can run on
│   ├── StrategyFailed          a strategy raised; the cause is chained
│   ├── ChargesUnknown          no rates for the day, exchange or segment
│   └── AccountError            the account cannot do that; nothing has changed
│       ├── InsufficientFunds
│       ├── InsufficientHoldings
│       └── OutOfBalance        the double-entry check found money from nowhere
├── MissingExtra                an optional package is not installed
├── NotFound
├── Conflict
│   ├── DuplicateOrderUniqueKey
│   └── StrategyRunning
└── PortError                   the outside world
    ├── StorageUnavailable      nothing is known of the step's effect; read again before acting
    ├── StorageRejected         the store refuses the value: trying again cannot help
    ├── MarketDataUnavailable
    ├── FeedRefused             a source of prices refuses until a person acts
    └── BrokerError
        ├── BrokerRejected          a definite no: the order is not placed
        ├── BrokerUnavailable       certainly not sent: trying again is safe
        └── BrokerOutcomeUnknown    may be live: look for the tag, never send again blindly
"""

from decimal import Decimal
from typing import Any, ClassVar


class PulseError(Exception):
    """Base of every error raised by the domain and its ports."""

    code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message or (self.__doc__ or type(self).__name__).splitlines()[0])
        self.details = details

    @property
    def message(self) -> str:
        return str(self)


class DomainError(PulseError):
    """The rules do not allow what was asked."""


class InvalidOrder(DomainError):
    """The order request breaks a rule; `details` names the field."""

    code = "INVALID_REQUEST"


class InvalidInstrument(InvalidOrder):
    """The instrument is not written EXCHANGE:SYMBOL."""

    code = "INVALID_INSTRUMENT"


class UnknownInstrument(InvalidInstrument):
    """There is no such instrument today."""


class InvalidQuantity(InvalidOrder):
    """The quantity is out of range."""

    code = "INVALID_QUANTITY"


class OffLot(InvalidQuantity):
    """The quantity is not a whole number of lots."""


class InvalidPrice(InvalidOrder):
    """A price is missing, superfluous or out of range."""

    code = "INVALID_PRICE"


class OffTick(InvalidPrice):
    """A price is not on the instrument's tick grid."""


class InvalidSplitConfig(InvalidOrder):
    """The split configuration is out of range or does not fit the order."""

    code = "INVALID_SPLIT_CONFIG"


class NotOffered(InvalidOrder):
    """The broker takes no such order in that segment; `details` name the field and what is allowed."""


class InvalidStrategy(DomainError):
    """What a strategy is to be makes no sense; `details` name the field."""

    code = "INVALID_REQUEST"


class CannotSplit(DomainError):
    """No schedule fits the quantity, lot size and freeze quantity."""

    code = "INVALID_SPLIT_CONFIG"


class LimitsExceeded(DomainError):
    """The window needs more executions than the broker takes."""

    code = "LIMITS_EXCEEDED"


class TradingHalted(DomainError):
    """Trading is halted: resume it before placing orders."""

    code = "TRADING_HALTED"


class RiskRejected(DomainError):
    """The risk gate refuses the order; `details["reasons"]` carry `rule`, `reason` and `stale` of each."""

    code = "RISK_REJECTED"


class MarketClosed(DomainError):
    """The market takes no such order now; `details` carry the next opening where it is known."""

    code = "MARKET_CLOSED"


class CalendarUnknown(MarketClosed):
    """The calendar cannot tell whether the market is open on that day, so it counts as closed."""


class NotCancellable(DomainError):
    """The order is done: nothing is left to cancel."""

    code = "NOT_CANCELLABLE"


class NotPausable(DomainError):
    """The order is done: nothing is left to hold back."""

    code = "NOT_PAUSABLE"


class NotResolvable(DomainError):
    """The fate of the execution is known, or not in a person's hands."""

    code = "NOT_RESOLVABLE"


class ReconcileRequired(DomainError):
    """Trading is halted until somebody has compared with the broker: `pulse reconcile`."""

    code = "RECONCILE_REQUIRED"


class IllegalTransition(DomainError):
    """The state table has no such transition; nothing has changed."""

    def __init__(self, machine: str, state: str, event: str) -> None:
        super().__init__(f"{machine}: {event} is not possible in {state}")
        self.machine = machine
        self.state = state
        self.event = event


class StaleAttempt(IllegalTransition):
    """The decision belongs to an earlier attempt; nothing has changed."""


class MatchingError(DomainError):
    """A tick, candle or order that the matching engine cannot use."""


class InvalidSettings(DomainError):
    """The settings make no sense; `details` name the field."""


class BadMarketData(DomainError):
    """The prices cannot be used; `details` carry the row, from 1, and where known its field and reason."""


class StrategyFailed(DomainError):
    """A strategy raised; `details` carry the callback and the instant, `__cause__` what it raised."""


class ChargesUnknown(DomainError):
    """The schedule has no rates for that day, exchange or segment."""


class AccountError(DomainError):
    """The account cannot do that with this order, fill or price; nothing has changed."""


class InsufficientFunds(AccountError):
    """The order needs more money than is available."""

    def __init__(self, required: Decimal, available: Decimal) -> None:
        super().__init__(
            f"the order needs {required} and {available} is available",
            required=str(required), available=str(available),
        )  # fmt: skip
        self.required = required
        self.available = available


class InsufficientHoldings(AccountError):
    """A delivery sale of more shares than are held and not on sale already."""

    def __init__(self, required: int, available: int) -> None:
        super().__init__(
            f"{required} shares to sell and {available} are held and not on sale already",
            required=required, available=available,
        )  # fmt: skip
        self.required = required
        self.available = available


class OutOfBalance(AccountError):
    """The account's figures do not add up; `details` carry both sides."""


class MissingExtra(PulseError):
    """A package that the library needs for this alone is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f'{package} is not installed: pip install "pulse-domain[{extra}]"', package=package, extra=extra
        )
        self.package = package
        self.extra = extra


class NotFound(PulseError):
    """No such order."""

    code = "NOT_FOUND"


class Conflict(PulseError):
    """The request contradicts what is stored."""


class DuplicateOrderUniqueKey(Conflict):
    """The key was used for another order request."""

    code = "DUPLICATE_ORDER_UNIQUE_KEY"

    def __init__(self, existing_order_id: str) -> None:
        super().__init__(
            "this order_unique_key was used for a different request; use a new key for a new order",
            existing_order_id=existing_order_id,
        )


class StrategyRunning(Conflict):
    """The strategy is to be stopped before it is changed."""

    code = "INVALID_REQUEST"


class PortError(PulseError):
    """Something outside the domain did not do its part."""


class StorageUnavailable(PortError):
    """The order store cannot be reached; try again shortly."""

    code = "DATABASE_ERROR"


class StorageRejected(PortError):
    """The order store refuses the value; trying again cannot help."""

    code = "INVALID_REQUEST"


class MarketDataUnavailable(PortError):
    """There is no price for the instrument."""

    code = "UPSTREAM_UNAVAILABLE"


class FeedRefused(PortError):
    """A source of prices refuses for good: somebody has to act before it is tried again."""

    code = "UPSTREAM_UNAVAILABLE"


class BrokerError(PortError):
    """Base of what a broker call can raise; `reason_code` is stable, the message is the broker's."""

    def __init__(self, reason_code: str, message: str = "", **details: Any) -> None:
        super().__init__(message or reason_code, **details)
        self.reason_code = reason_code


class BrokerRejected(BrokerError):
    """A definite no: the order is not placed and must not be sent again."""


class BrokerUnavailable(BrokerError):
    """Certainly not sent: sending again within the window is safe."""


class BrokerOutcomeUnknown(BrokerError):
    """The order may be live: look for its tag before anything else.

    `call_ended` says whether the call can still be in the air: true once its socket is closed.
    """

    def __init__(self, reason_code: str, message: str = "", *, call_ended: bool, **details: Any) -> None:
        super().__init__(reason_code, message, **details)
        self.call_ended = call_ended

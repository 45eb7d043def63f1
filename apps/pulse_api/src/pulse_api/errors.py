"""Which status every error of the domain travels with."""

from pulse_domain.errors import (
    CannotSplit,
    DuplicateOrderUniqueKey,
    InvalidInstrument,
    InvalidOrder,
    InvalidStrategy,
    LimitsExceeded,
    MarketClosed,
    NotCancellable,
    NotFound,
    NotOffered,
    NotPausable,
    NotResolvable,
    OffLot,
    OffTick,
    PulseError,
    ReconcileRequired,
    RiskRejected,
    StorageRejected,
    StorageUnavailable,
    StrategyRunning,
    TradingHalted,
    UnknownInstrument,
)
from service_kit import ServiceError
from service_kit.litestar_kit import InvalidBody

# Codes that are raised by name rather than by a domain error.
STATUSES = {
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "INVALID_REQUEST": 400,
    "INVALID_INSTRUMENT": 400,
    "INVALID_QUANTITY": 400,
    "INVALID_PRICE": 400,
    "INVALID_SPLIT_CONFIG": 400,
}

# The first class that fits decides. 400 is for shape and range, 422 for a rule of the market or the house.
_BY_CLASS: tuple[tuple[type[PulseError], int], ...] = (
    (NotFound, 404),
    (DuplicateOrderUniqueKey, 409),
    (StrategyRunning, 409),
    (NotCancellable, 409),
    (NotPausable, 409),
    (NotResolvable, 409),
    (ReconcileRequired, 409),
    (UnknownInstrument, 422),
    (OffLot, 422),
    (OffTick, 422),
    (CannotSplit, 422),
    (LimitsExceeded, 422),
    (TradingHalted, 422),
    (RiskRejected, 422),
    (MarketClosed, 422),
    (NotOffered, 422),
    (InvalidInstrument, 400),
    (InvalidOrder, 400),
    (InvalidStrategy, 400),
    (StorageRejected, 400),
    (StorageUnavailable, 503),
)

# Which code a malformed field has; the rest is INVALID_REQUEST.
_FIELD_CODES = {
    "instrument": "INVALID_INSTRUMENT",
    "total_quantity": "INVALID_QUANTITY",
    "limit_price": "INVALID_PRICE",
    "trigger_price": "INVALID_PRICE",
    "split_config": "INVALID_SPLIT_CONFIG",
    "num_splits": "INVALID_SPLIT_CONFIG",
    "duration_minutes": "INVALID_SPLIT_CONFIG",
    "randomize": "INVALID_SPLIT_CONFIG",
}


def translate(error: Exception) -> tuple[int, ServiceError] | None:
    """A domain error, or a body that does not fit, as status and envelope."""
    if isinstance(error, InvalidBody):
        code = _FIELD_CODES.get((error.field or "").partition(".")[0], "INVALID_REQUEST")
        return 400, ServiceError(code, error.message, error.details)
    if not isinstance(error, PulseError):
        return None
    for kind, status in _BY_CLASS:
        if isinstance(error, kind):
            return status, ServiceError(error.code, error.message, error.details)
    return None

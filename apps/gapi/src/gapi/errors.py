"""The status of every code, and the code of every field."""

from service_kit import ServiceError
from service_kit.litestar_kit import InvalidBody

# What is raised in this app; the statuses of Pulse's own answers come with them.
STATUSES = {
    "NOT_FOUND": 404,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "UNSUPPORTED_MEDIA_TYPE": 415,
    "INVALID_REQUEST": 400,
    "INVALID_INSTRUMENT": 400,
    "INVALID_QUANTITY": 400,
    "INVALID_PRICE": 400,
    "INVALID_SPLIT_CONFIG": 400,
    "UPSTREAM_UNAVAILABLE": 503,
}

_FIELD_CODES = {
    "instrument": "INVALID_INSTRUMENT",
    "total_quantity": "INVALID_QUANTITY",
    "limit_price": "INVALID_PRICE",
    "trigger_price": "INVALID_PRICE",
    "split_config": "INVALID_SPLIT_CONFIG",
}


def code_of_field(field: str) -> str:
    """Give the code for a fault in `field`, which may be a path such as `split_config.num_splits`."""
    return _FIELD_CODES.get(field.partition(".")[0], "INVALID_REQUEST")


def translate(error: Exception) -> tuple[int, ServiceError] | None:
    if isinstance(error, InvalidBody):
        return 400, ServiceError(code_of_field(error.field or ""), error.message, error.details)
    return None

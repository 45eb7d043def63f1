"""The API's errors: a type, a message and an HTTP status."""

from pulse_adapters.simulator.values import RefusalCode, Refused


class KiteError(Exception):
    """An answer with `status: error`."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type
        self.message = message


def bad_input(message: str) -> KiteError:
    return KiteError(400, "InputException", message)


def bad_token() -> KiteError:
    return KiteError(403, "TokenException", "Incorrect `api_key` or `access_token`.")


def too_many(message: str = "Too many requests") -> KiteError:
    return KiteError(429, "NetworkException", message)


# Where the broker's own wording is not that of the venue, the texts follow what has been seen of it.
_BY_CODE: dict[RefusalCode, tuple[int, str]] = {
    RefusalCode.FUNDS: (400, "MarginException"),
    RefusalCode.HOLDINGS: (400, "HoldingException"),
    RefusalCode.NOT_FOUND: (400, "OrderException"),
    RefusalCode.INJECTED: (400, "OrderException"),
    RefusalCode.NO_PRICE: (500, "GeneralException"),
}


def from_refusal(refused: Refused) -> KiteError:
    status, error_type = _BY_CODE.get(refused.code, (400, "InputException"))
    return KiteError(status, error_type, refused.message)

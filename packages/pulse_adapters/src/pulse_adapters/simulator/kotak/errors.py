"""The API's errors: each kind of answer has a shape of its own, and many a no comes with HTTP 200.

What the documents and samples do not number is `OTHER`.
"""

from typing import Any

from pulse_adapters.simulator.values import RefusalCode, Refused

FUNDS = 1004
OTHER = 1005
NOT_OPEN = 1006
INVALID = 1009
ORDER_COMPLETED = 1021
SESSION_IP = 1037
NO_PRICE = 1041
NO_DATA = 5203
STATIC_IP = 100008

# Documents write `emsg`, answers that were seen live `errMsg`.
_SPELT_EMSG = frozenset({FUNDS, NOT_OPEN})


class NeoError(Exception):
    """An answer that is a no."""

    def __init__(self, body: dict[str, Any], status: int = 200) -> None:
        super().__init__(str(body))
        self.body = body
        self.status = status


def no(code: int, message: str, status: int = 200) -> NeoError:
    key = "emsg" if code in _SPELT_EMSG else "errMsg"
    return NeoError({"stat": "Not_Ok", key: message, "stCode": code}, status)


def no_data() -> NeoError:
    """What an empty report is."""
    return NeoError({"stCode": NO_DATA, "errMsg": "No Data", "desc": "data not found", "stat": "Not_Ok"})


def completed() -> NeoError:
    """As it has been seen: a sentence where the status belongs."""
    stat = "please provide valid order number"
    return NeoError({"stCode": ORDER_COMPLETED, "errMsg": "order is completed", "stat": stat})


def invalid(what: str) -> NeoError:
    return no(INVALID, f"Invalid {what}")


def bad_session() -> NeoError:
    return no(403, "invalid session, please re-login to continue", 403)


def bad_access_token() -> NeoError:
    return NeoError({"code": "900901", "message": "Invalid Credentials", "description": "Invalid token"}, 401)


def bad_login(message: str, code: int = 401) -> NeoError:
    return NeoError({"status": "error", "message": message, "errorCode": str(code)}, code)


def missing_at_login(field: str) -> NeoError:
    """Comes with HTTP 200, and without `data`."""
    return NeoError({"error": [{"code": "400", "message": f"Missing required field '{field}'"}]})


def too_many() -> NeoError:
    return no(429, "Too many requests", 429)


_BY_CODE: dict[RefusalCode, int] = {
    RefusalCode.FUNDS: FUNDS,
    RefusalCode.HOLDINGS: FUNDS,
    RefusalCode.FREEZE_QUANTITY: INVALID,
    RefusalCode.TICK_SIZE: INVALID,
    RefusalCode.LOT_SIZE: INVALID,
    RefusalCode.INVALID: INVALID,
    RefusalCode.UNKNOWN_INSTRUMENT: INVALID,
    RefusalCode.NO_PRICE: NO_PRICE,
}


def from_refusal(refused: Refused) -> NeoError:
    return no(_BY_CODE.get(refused.code, OTHER), refused.message)

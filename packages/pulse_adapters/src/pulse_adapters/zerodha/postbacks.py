"""Postbacks: what the broker posts to us when an order changes.

Anybody can post. The checksum proves that the sender knows our secret, but it covers neither status, price
nor quantity, and a body can be sent again: so a postback says no more than that an order should be read.
"""

import hashlib
import hmac

import msgspec
from msgspec import Struct

from pulse_domain.orders.ids import BrokerOrderId


class BadPostback(Exception):
    """The body is no postback."""


class WrongChecksum(Exception):
    """The checksum is not made with our secret."""


class _Body(Struct):
    """The texts as they were sent: the checksum is over them."""

    order_id: str
    order_timestamp: str
    checksum: str


def read_postback(body: bytes, api_secret: str) -> BrokerOrderId:
    """The order that the broker wants us to look at.

    Raises:
        BadPostback, WrongChecksum: see there; it may be from anybody.
    """
    try:
        posted = msgspec.json.decode(body, type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadPostback("the body is no postback") from None
    signed = f"{posted.order_id}{posted.order_timestamp}{api_secret}".encode("utf-8", "surrogatepass")
    expected = hashlib.sha256(signed).hexdigest()
    if not hmac.compare_digest(expected.encode(), posted.checksum.encode("utf-8", "surrogatepass")):
        raise WrongChecksum("the checksum is wrong")
    return BrokerOrderId(posted.order_id)

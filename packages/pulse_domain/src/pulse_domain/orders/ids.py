"""Identifiers. An order id is a TypeID (`ord_` and a UUIDv7 in Crockford base32); the ids of its
slices and executions derive from it, so that planning again after a crash names the same things."""

import hashlib
import re
from base64 import b32encode
from collections.abc import Iterable
from typing import NewType
from uuid import UUID

OrderId = NewType("OrderId", str)
ClientId = NewType("ClientId", str)
BrokerOrderId = NewType("BrokerOrderId", str)

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_TAG_BYTES = 15  # 24 base32 characters without padding, of which a tag keeps 18


def order_id_from_uuid(value: UUID) -> OrderId:
    """Write a UUIDv7 as a TypeID with the prefix `ord`."""
    return order_id_from_int(value.int)


def order_id_from_int(number: int) -> OrderId:
    """The same, from the number that the UUID is."""
    return OrderId("ord_" + "".join([_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5)]))


def is_order_id(text: str) -> bool:
    """Tell whether the text has the shape of an order id; not whether the order exists."""
    return len(text) == 30 and text.startswith("ord_") and text[4] < "8" and not set(text[4:]) - set(_CROCKFORD)


_PART = re.compile(r"exe_(\w{26})_([1-9]\d{0,2})_(\d{1,4})|slc_(\w{26})_([1-9]\d{0,2})", re.ASCII)


def place_of(text: str) -> tuple[OrderId, int | None, int | None] | None:
    """What the id of an order, a slice or an execution names: order, `seq` and `chunk`; None if nothing."""
    if is_order_id(text):
        return OrderId(text), None, None
    match = _PART.fullmatch(text)
    if match is None:
        return None
    order, seq, chunk, slice_order, slice_seq = match.groups()
    order_id = f"ord_{order or slice_order}"
    if not is_order_id(order_id):
        return None
    return OrderId(order_id), int(seq or slice_seq), None if chunk is None else int(chunk)


def slice_id(order_id: str, seq: int) -> str:
    return f"slc_{order_id[4:]}_{seq}"


def execution_id(order_id: str, seq: int, chunk: int) -> str:
    return f"exe_{order_id[4:]}_{seq}_{chunk}"


def execution_uuid(execution: str) -> UUID:
    """The execution's id as a UUID (version 8, from its hash), for the ledger's `internal_id`."""
    digest = bytearray(hashlib.blake2b(execution.encode(), digest_size=16, person=b"pulse-ledger").digest())
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))


def tags(prefix: str, executions: Iterable[str]) -> list[str]:
    """The tags that executions carry at the broker: 20 characters, `[A-Z0-9]`, the same at every attempt.

    prefix: two characters that name the deployment, so that a foreign row in the order book is told apart.
    """
    # One call encodes all digests: 15 bytes are exactly 24 characters, so none needs padding.
    digests = b"".join([hashlib.blake2b(e.encode(), digest_size=_TAG_BYTES).digest() for e in executions])
    text = b32encode(digests).decode()
    return [prefix + text[start : start + 18] for start in range(0, len(text), 24)]

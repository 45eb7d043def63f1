"""Orders and trades in the API's words."""

import hashlib
from datetime import datetime
from typing import Any

from msgspec import UNSET

from pulse_adapters.simulator.catalog import Catalog
from pulse_adapters.simulator.kite.settings import KiteSettings
from pulse_adapters.simulator.kite.wire import (
    HistoryRow,
    Number,
    OrderRow,
    Postback,
    TradeRow,
    number,
    stamp,
    stamp_or_none,
)
from pulse_adapters.simulator.values import Iceberg, Record, Snap, Status, Trade, Update
from pulse_domain.units import INDIA

STATUSES = {
    Status.RECEIVED: "PUT ORDER REQ RECEIVED",
    Status.AMO_RECEIVED: "AMO REQ RECEIVED",
    Status.VALIDATING: "VALIDATION PENDING",
    Status.SENDING: "OPEN PENDING",
    Status.OPEN: "OPEN",
    Status.TRIGGER_PENDING: "TRIGGER PENDING",
    Status.MODIFY_VALIDATING: "MODIFY VALIDATION PENDING",
    Status.MODIFY_SENDING: "MODIFY PENDING",
    Status.MODIFIED: "MODIFIED",
    Status.CANCEL_SENDING: "CANCEL PENDING",
    Status.COMPLETE: "COMPLETE",
    Status.CANCELLED: "CANCELLED",
    Status.REJECTED: "REJECTED",
}
UPDATE = "UPDATE"  # in messages only: more has filled, or other terms hold


class Rows:
    """Makes the rows of one user."""

    def __init__(self, settings: KiteSettings, catalog: Catalog) -> None:
        self._settings = settings
        self._catalog = catalog

    def order(self, record: Record, now: datetime) -> OrderRow:
        snap, ask = record.view(now), record.ask
        tags = _tags(record)
        return OrderRow(
            **self._fields(record, snap),
            account_id=self._settings.user_id,
            status_message_raw=snap.raw_message,
            exchange_update_timestamp=_exchange_update(snap),
            modified=record.modified,
            validity_ttl=ask.ttl_minutes,
            meta=_meta(ask.iceberg),
            guid=_guid(record),
            tags=tags or UNSET,
            auction_number=ask.auction_number or UNSET,
            terminal_id=UNSET if ask.instrument.exchange.is_cash else "111111111111100",
        )

    def history(self, record: Record, now: datetime) -> list[HistoryRow]:
        rows = []
        for index, snap in enumerate(record.history(now)):
            fields = self._fields(record, snap)
            if index == 0:
                fields["instrument_token"] = 1  # as the real history begins
            rows.append(HistoryRow(**fields, modified=False))
        return rows

    def postback(self, update: Update) -> Postback:
        record, snap = update.record, update.snap
        fields = self._fields(record, snap)
        if update.partial:
            fields["status"] = UPDATE
        signed = f"{record.order_id}{fields['order_timestamp']}{self._settings.app.api_secret}"
        return Postback(
            **fields,
            user_id=self._settings.user_id,
            unfilled_quantity=0 if snap.status.is_final else snap.terms.quantity - snap.filled,
            app_id=self._settings.app.app_id,
            checksum=hashlib.sha256(signed.encode()).hexdigest(),
            status_message_raw=snap.raw_message,
            exchange_update_timestamp=_exchange_update(snap),
            meta=_meta(record.ask.iceberg),
            guid=_guid(record),
            tags=_tags(record) or UNSET,
        )

    def trade(self, record: Record, trade: Trade) -> TradeRow:
        ask = record.ask
        return TradeRow(
            trade_id=trade.trade_id,
            order_id=record.order_id,
            exchange_order_id=record.exchange_order_id,
            exchange=ask.instrument.exchange,
            tradingsymbol=ask.instrument.symbol,
            instrument_token=self._catalog.token(ask.instrument),
            product=ask.label,
            average_price=number(trade.price),
            quantity=trade.quantity,
            transaction_type=ask.side,
            fill_timestamp=stamp(trade.at),
            order_timestamp=trade.at.astimezone(INDIA).strftime("%H:%M:%S"),
            exchange_timestamp=stamp(trade.at),
        )

    def _fields(self, record: Record, snap: Snap) -> dict[str, Any]:
        ask, terms = record.ask, snap.terms
        return {
            "placed_by": self._settings.user_id,
            "order_id": record.order_id,
            "exchange_order_id": snap.exchange_order_id,
            "parent_order_id": ask.parent_id,
            "status": STATUSES[snap.status],
            "status_message": snap.message,
            "order_timestamp": stamp(snap.at),
            "exchange_timestamp": stamp_or_none(snap.exchange_at),
            "variety": ask.variety,
            "exchange": ask.instrument.exchange,
            "tradingsymbol": ask.instrument.symbol,
            "instrument_token": self._catalog.token(ask.instrument),
            "order_type": terms.order_type,
            "transaction_type": ask.side,
            "validity": "TTL" if ask.ttl_minutes else terms.validity,
            "product": ask.label,
            "quantity": terms.quantity,
            "disclosed_quantity": terms.disclosed_quantity,
            "price": _price(terms.limit_price),
            "trigger_price": _price(terms.trigger_price),
            "average_price": number(snap.average_price),
            "filled_quantity": snap.filled,
            "pending_quantity": 0 if snap.status is Status.REJECTED else terms.quantity - snap.filled,
            "cancelled_quantity": snap.cancelled,
            "tag": ask.tags[0] if ask.tags else None,
        }


def _price(price: Any) -> Number:
    return 0 if price is None else number(price)


def _exchange_update(snap: Snap) -> str | None:
    return stamp(snap.at) if snap.exchange_order_id is not None else None


def _tags(record: Record) -> list[str]:
    return [*record.ask.tags, *record.ask.system_tags]


def _guid(record: Record) -> str:
    return hashlib.blake2b(record.order_id.encode(), digest_size=6).hexdigest()


def _meta(iceberg: Iceberg | None) -> dict[str, Any]:
    if iceberg is None:
        return {}
    return {
        "iceberg": {
            "leg": iceberg.leg,
            "legs": iceberg.legs,
            "leg_quantity": iceberg.leg_quantity,
            "total_quantity": iceberg.total_quantity,
            "remaining_quantity": iceberg.remaining_quantity,
        }
    }

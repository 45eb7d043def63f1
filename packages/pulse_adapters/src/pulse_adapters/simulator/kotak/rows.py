"""Orders and trades in the API's words: the book, a history, the trades, and pushed messages."""

from decimal import Decimal
from typing import Any

from pulse_adapters.simulator.catalog import Catalog, Listing
from pulse_adapters.simulator.kotak.forms import ORDER_TYPE_CODES
from pulse_adapters.simulator.kotak.names import SIDE_CODES, plain_name, segment, series, token, trading_symbol
from pulse_adapters.simulator.kotak.wire import (
    DASHES,
    NONE,
    clock,
    day,
    nanoseconds,
    precision,
    price,
    slashed,
    stamp,
)
from pulse_adapters.simulator.values import Record, Snap, Status, Trade
from pulse_domain.instruments import Exchange, Instrument

STATUSES = {
    Status.RECEIVED: "put order req received",
    Status.AMO_RECEIVED: "after market order req received",
    Status.VALIDATING: "validation pending",
    Status.SENDING: "open pending",
    Status.OPEN: "open",
    Status.TRIGGER_PENDING: "trigger pending",
    Status.MODIFY_VALIDATING: "modify validation pending",
    Status.MODIFY_SENDING: "modify pending",
    Status.MODIFIED: "modified",
    Status.CANCEL_SENDING: "cancel pending",
    Status.COMPLETE: "complete",
    Status.CANCELLED: "cancelled",
    Status.REJECTED: "rejected",
}
_AMO_MODIFIED = "modify after market order req received"
_AMO_CANCELLED = "cancelled after market order"
# States that an order only passes through; they are pushed with the state that they lead to.
_PASSING = frozenset(
    {
        Status.VALIDATING,
        Status.SENDING,
        Status.MODIFY_VALIDATING,
        Status.MODIFY_SENDING,
        Status.MODIFIED,
        Status.CANCEL_SENDING,
    }
)
_LOCATION = "111111111111100"

Row = dict[str, Any]


def status_of(record: Record, snap: Snap) -> str:
    """As free text, after-market orders with words of their own."""
    if record.ask.variety == "amo":
        if snap.status is Status.AMO_RECEIVED and record.modified and snap is not record.snaps[0]:
            return _AMO_MODIFIED
        if snap.status is Status.CANCELLED and snap.exchange_order_id is None:
            return _AMO_CANCELLED
    return STATUSES[snap.status]


def steps_to(record: Record, snap: Snap) -> list[Snap]:
    """A state and those that the order passed through to it, oldest first."""
    steps = [snap]
    place = next((index for index, each in enumerate(record.snaps) if each is snap), 0)
    for each in reversed(record.snaps[:place]):
        if each.status not in _PASSING:
            break
        steps.append(each)
    return steps[::-1]


class Rows:
    """Makes the rows of one user."""

    def __init__(self, ucc: str, catalog: Catalog) -> None:
        self._ucc = ucc
        self._catalog = catalog

    def order(self, record: Record, snap: Snap) -> Row:
        """A row of the order book."""
        ask, terms = record.ask, snap.terms
        listing = self._listing(ask.instrument)
        status = status_of(record, snap)
        return {
            **self._common(record, snap, listing),
            "actId": self._ucc, "algCat": NONE, "algSeqNo": NONE, "brkClnt": "08081", "coPct": 0,
            "cnlQty": snap.cancelled, "defMktProV": "0", "dscQtyPct": "0", "dscQty": terms.disclosed_quantity,
            "exUsrInfo": NONE, "exCfmTm": stamp(snap.exchange_at), "exOrdId": snap.exchange_order_id or NONE,
            "expDtSsb": "-", "mktProPct": DASHES, "minQty": 0, "mktProFlg": "0", "noMktProFlg": "0",
            "ordAutSt": NONE, "odCrt": NONE, "ordDtTm": stamp(record.placed_at),
            "ordEntTm": stamp(record.placed_at), "ordGenTp": "AMO" if ask.variety == "amo" else NONE,
            "ordSrc": "NEOTRADEAPI", "refLmtPrc": 0, "rmk": DASHES, "rptTp": NONE,
            "reqId": str(1 + record.changes), "sipInd": NONE, "stat": status,
            "tckSz": f"{listing.tick_size:.4f}", "usrId": self._ucc, "vldt": terms.validity.value,
            "hsUpTm": slashed(snap.at), "appInstlId": NONE, "ordModNo": str(record.changes or ""),
            "it": listing.kind,
        }  # fmt: skip

    def history(self, record: Record, snap: Snap) -> Row:
        """A state in an order's history, some of it under other names than in the book."""
        instrument, terms = record.ask.instrument, snap.terms
        listing = self._listing(instrument)
        exchange = {Exchange.NFO: "NSE", Exchange.BFO: "BSE"}.get(
            instrument.exchange, instrument.exchange.value
        )
        return {
            **self._common(record, snap, listing),
            "algCat": NONE, "algSeqNo": NONE, "cstFrm": "C", "dclQty": str(terms.disclosed_quantity),
            "exch": exchange, "exchOrdId": snap.exchange_order_id or NONE,
            "exchTmstp": stamp(snap.exchange_at if snap.exchange_order_id else None),
            "flDtTm": stamp(snap.at), "legOrdInd": NONE, "nReqId": "1", "ordDur": terms.validity.value,
            "ordGenTp": "AMO" if record.ask.variety == "amo" else DASHES, "ordSrc": "NEOTRADEAPI",
            "ordUsrMsg": NONE, "rptTp": NONE, "scripName": plain_name(listing),
        }  # fmt: skip

    def pushed(self, record: Record, snap: Snap) -> Row:
        """What a message of the order feed carries: whether the caller's tag is in there is not documented."""
        row = self.order(record, snap)
        del row["GuiOrdId"]
        return row

    def trade(self, record: Record, trade: Trade) -> Row:
        ask = record.ask
        listing = self._listing(ask.instrument)
        places = precision(listing)
        return {
            "actId": self._ucc, "algCat": NONE, "algId": NONE, "avgPrc": price(trade.price, places),
            "boeSec": int(trade.at.timestamp()), "brdLtQty": listing.lot_size, "brkClnt": NONE, "cstFrm": "C",
            "exOrdId": record.exchange_order_id or NONE, "exp": "-", "expDt": _expiry(listing),
            "exSeg": segment(listing), "exTm": stamp(trade.at), "fldQty": trade.quantity,
            "flDt": day(trade.at), "flId": trade.trade_id, "flLeg": 1, "flTm": clock(trade.at), "minQty": 0,
            "nOrdNo": record.order_id, "nReqId": "1", "optTp": _option_type(listing), "ordDur": NONE,
            "ordGenTp": DASHES, "prcTp": ORDER_TYPE_CODES[record.terms.order_type], "prod": ask.label,
            "rmk": DASHES, "rptTp": "fill", "series": series(listing), "stkPrc": price(listing.strike),
            "sym": plain_name(listing), "trdSym": trading_symbol(listing), "trnsTp": SIDE_CODES[ask.side],
            "usrId": self._ucc, **self._factors(listing), "hsUpTm": slashed(trade.at),
            "GuiOrdId": ask.tags[0] if ask.tags else "", "locId": _LOCATION, "ordSrc": NONE,
            "strategyCode": "", "tok": "", "updRecvTm": nanoseconds(trade.at),
            "uSec": str(int(trade.at.timestamp())), "posFlg": "", "prc": "",
            "qty": 0,  # as in the documents' sample: `fldQty` has it
            "tm": "", "it": listing.kind,
        }  # fmt: skip

    def _common(self, record: Record, snap: Snap, listing: Listing) -> Row:
        ask, terms, places = record.ask, snap.terms, precision(listing)
        return {
            "algId": NONE, "avgPrc": price(snap.average_price, places), "brdLtQty": str(listing.lot_size),
            "exSeg": segment(listing), "expDt": _expiry(listing), "fldQty": snap.filled,
            "boeSec": int(snap.at.timestamp()), "mktPro": "0", "mfdBy": NONE, "nOrdNo": record.order_id,
            "optTp": _option_type(listing), "ordValDt": NONE, "prod": ask.label,
            "prc": price(terms.limit_price, places), "prcTp": ORDER_TYPE_CODES[terms.order_type],
            "qty": terms.quantity, "rejRsn": snap.message or DASHES, "series": series(listing),
            "ordSt": status_of(record, snap), "stkPrc": price(listing.strike), "sym": plain_name(listing),
            "symOrdId": NONE, "tok": token(listing), "trnsTp": SIDE_CODES[ask.side],
            "trgPrc": price(terms.trigger_price, places), "trdSym": trading_symbol(listing),
            "unFldSz": terms.quantity - snap.filled - snap.cancelled, "classification": "0", "vendorCode": "",
            **self._factors(listing), "GuiOrdId": ask.tags[0] if ask.tags else "", "locId": _LOCATION,
            "strategyCode": NONE, "updRecvTm": nanoseconds(snap.at), "uSec": str(int(snap.at.timestamp())),
        }  # fmt: skip

    def _factors(self, listing: Listing) -> Row:
        """What amounts are reckoned with."""
        return {
            "genDen": "1",
            "genNum": "1",
            "prcNum": "1",
            "prcDen": "1",
            "lotSz": str(listing.lot_size),
            "multiplier": str(self._catalog.contracts.multiplier(listing.instrument)),
            "precision": str(precision(listing)),
        }

    def _listing(self, instrument: Instrument) -> Listing:
        return self._catalog.find(instrument) or unlisted(instrument)


def unlisted(instrument: Instrument) -> Listing:
    """What is left of an instrument that is no longer in the day's list."""
    return Listing(
        instrument=instrument, token=0, exchange_token=0, name=instrument.symbol, tick_size=Decimal("0.05"),
        segment=instrument.exchange.value,
    )  # fmt: skip


def _expiry(listing: Listing) -> str:
    return NONE if listing.expiry is None else listing.expiry.strftime("%d %b, %Y")


def _option_type(listing: Listing) -> str:
    return listing.kind if listing.kind in ("CE", "PE") else "- "

"""Positions, holdings and money in the API's words: nearly all of it text."""

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.kotak.errors import invalid
from pulse_adapters.simulator.kotak.forms import Fields, ProductLabel, choice, price, text, whole
from pulse_adapters.simulator.kotak.names import (
    SIDES,
    Scrips,
    plain_name,
    segment,
    series,
    token,
    trading_symbol,
)
from pulse_adapters.simulator.kotak.rows import Row, unlisted
from pulse_adapters.simulator.kotak.wire import nanoseconds, precision, slashed
from pulse_adapters.simulator.money import Tally, margin_needed
from pulse_adapters.simulator.values import ZERO
from pulse_domain.charges import segment_of
from pulse_domain.instruments import Instrument

_SIX = Decimal("0.000001")


class Portfolio:
    """What the user has."""

    def __init__(self, desk: Desk, scrips: Scrips, ucc: str) -> None:
        self._desk = desk
        self._scrips = scrips
        self._ucc = ucc

    async def positions(self) -> list[Row]:
        tallies = self._desk.venue.money.tallies
        return [await self.position(instrument, label) for instrument, label in tuple(tallies)]

    async def position(self, instrument: Instrument, label: str) -> Row:
        """One position. What was carried is valued at the close before, as far as that is known."""
        tally = self._desk.venue.money.tallies.get((instrument, label)) or Tally(
            product=ProductLabel(label).booked_on(instrument.exchange)
        )
        listing = self._desk.catalog.find(instrument) or unlisted(instrument)
        market = await self._desk.prices.look(instrument)
        close = tally.overnight_price if market is None else market.close
        multiplier = self._desk.catalog.contracts.multiplier(instrument)
        bought, sold = max(tally.overnight_quantity, 0), max(-tally.overnight_quantity, 0)
        now, places = self._desk.clock.now(), precision(listing)

        def amount(value: Decimal) -> str:
            return f"{value * multiplier:.{places}f}"

        return {
            "actId": self._ucc, "trdSym": trading_symbol(listing), "sym": plain_name(listing),
            "tok": token(listing), "exSeg": segment(listing), "prod": label, "type": listing.kind,
            "series": series(listing), "optTp": listing.kind if listing.kind in ("CE", "PE") else "XX",
            "stkPrc": f"{listing.strike:.2f}",
            "expDt": "NA" if listing.expiry is None else listing.expiry.strftime("%d %b, %Y"),
            "exp": "NA", "lotSz": str(listing.lot_size), "brdLtQty": listing.lot_size,
            "multiplier": str(multiplier), "precision": str(places), "genNum": "1", "genDen": "1",
            "prcNum": "1", "prcDen": "1", "cfBuyQty": str(bought), "cfSellQty": str(sold),
            "cfBuyAmt": amount(bought * close), "cfSellAmt": amount(sold * close),
            "flBuyQty": str(tally.buy_quantity), "flSellQty": str(tally.sell_quantity),
            "buyAmt": amount(tally.buy_value), "sellAmt": amount(tally.sell_value),
            "sqrFlg": "Y", "posFlg": "true", "upldPrc": "0.00", "hsUpTm": slashed(now),
            "updRecvTm": nanoseconds(now),
        }  # fmt: skip

    async def holdings(self) -> list[Row]:
        rows = []
        for instrument, held in self._desk.venue.money.held.items():
            listing = self._desk.catalog.find(instrument) or unlisted(instrument)
            market = await self._desk.prices.look(instrument)
            last = held.average_price if market is None else market.last_price
            close = last if market is None else market.close
            left = self._desk.venue.money.position(
                instrument, ProductLabel.CNC.booked_on(instrument.exchange)
            ).quantity
            rows.append(
                {
                    "symbol": plain_name(listing), "displaySymbol": plain_name(listing),
                    "averagePrice": float(held.average_price), "quantity": held.quantity,
                    "sellableQuantity": max(0, min(left, held.quantity)), "exchangeSegment": segment(listing),
                    "exchangeIdentifier": token(listing), "instrumentToken": listing.exchange_token,
                    "instrumentType": "Equity", "holdingCost": float(held.average_price * held.quantity),
                    "mktValue": float(last * held.quantity), "closingPrice": float(close),
                    "scripId": hashlib.blake2b(str(instrument).encode(), digest_size=20).hexdigest(),
                    "isAlternateScrip": False,
                }
            )  # fmt: skip
        return rows

    def limits(self) -> dict[str, Any]:
        money = self._desk.venue.money
        funds = money.funds
        zeros = dict.fromkeys(
            ("Collateral", "CollateralValue", "RmsCollateral", "AdhocMargin", "ExposureMarginPrsnt",
             "SpanMarginPrsnt", "PremiumPrsnt", "UnrealizedMtomPrsnt", "RmsPayInAmt", "RmsPayOutAmt"),
            "0",
        )  # fmt: skip
        return {
            **zeros,
            "Category": "CLIENT_SPECIAL",
            "EntityId": self._ucc,
            "BoardLotLimit": "5000",
            "NotionalCash": _plain(money.opening_balance),
            "Net": _plain(funds.cash),
            "MarginUsed": _plain(funds.blocked),
            "MarginUsedPrsnt": _plain(funds.blocked),
            "RealizedMtomPrsnt": _plain(funds.realised),
            "TimeStamp": str(int(self._desk.clock.now().timestamp() * 1000)),
            "stCode": 200,
            "stat": "Ok",
        }

    async def check_margin(self, fields: Fields) -> Mapping[str, Any]:
        """What an order would block.

        Raises:
            NeoError: a field is missing or wrong.
        """
        listing = self._scrips.by_token(text(fields, "exSeg"), text(fields, "tok"))
        if listing is None or listing.is_index:
            raise invalid("instrument/token")
        side, label = choice(fields, "trnsTp", SIDES), choice(fields, "prod", ProductLabel.__members__)
        exchange = listing.instrument.exchange
        if not exchange.is_cash and label in (ProductLabel.CNC, ProductLabel.MTF):
            raise invalid(f"product {label}")
        product = label.booked_on(exchange)
        quantity = whole(fields, "qty", least=1)
        each = price(fields, "prc") or await self._desk.prices.last_price(listing.instrument)
        value = each * quantity * self._desk.catalog.contracts.multiplier(listing.instrument)
        needed = margin_needed(product, segment_of(listing.instrument, product), side, value)
        funds = self._desk.venue.money.funds
        missing = max(ZERO, needed - funds.cash)
        return {
            "avlCash": _six(funds.cash),
            "totMrgnUsd": _six(funds.blocked + needed),
            "mrgnUsd": _six(funds.blocked),
            "ordMrgn": _six(needed),
            "rmsVldtd": "NOT_OK" if missing else "OK",
            "reqdMrgn": _six(needed),
            "avlMrgn": _six(funds.cash),
            "insufFund": _six(missing),
            "stat": "Ok",
            "stCode": 200,
        }


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f") if value else "0"


def _six(value: Decimal) -> str:
    return str(value.quantize(_SIX))

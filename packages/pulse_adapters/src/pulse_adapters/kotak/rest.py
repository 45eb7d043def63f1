"""The broker's documented requests, without its SDK.

The SDK cannot be installed beside a pandas of the third generation, and brings a hundred megabytes for a
handful of requests. These are the same ones, with the headers that the documents list and those that the SDK
sends.
"""

from typing import Any

import httpx
import msgspec

from pulse_adapters.kotak.client import NeoSession
from pulse_adapters.kotak.settings import LOGIN_URL

NEO_FIN_KEY = "neotradeapi"
ORDER_SOURCE = "NEOTRADEAPI"


class RestClient:
    """Implements `NeoClient`."""

    def __init__(self, access_token: str, transport: httpx.BaseTransport) -> None:
        self._session: NeoSession | None = None
        # It reads nothing from the environment, and an order is not sent where an answer points to.
        self._http = httpx.Client(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            headers={
                "Authorization": access_token,
                "neo-fin-key": NEO_FIN_KEY,
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",
            },
        )

    def use(self, session: NeoSession) -> None:
        self._session = session

    def place_order(
        self,
        *,
        exchange_segment: str,
        product: str,
        price: str,
        order_type: str,
        quantity: str,
        validity: str,
        trading_symbol: str,
        transaction_type: str,
        trigger_price: str,
        tag: str,
    ) -> object:
        fields = {
            "am": "NO",
            "dq": "0",
            "es": exchange_segment,
            "mp": "0",
            "pc": product,
            "pf": "N",
            "pr": price,
            "pt": order_type,
            "qt": quantity,
            "rt": validity,
            "tp": trigger_price,
            "ts": trading_symbol,
            "tt": transaction_type,
            "ig": tag,
            "os": ORDER_SOURCE,
        }
        return self._post("quick/order/rule/ms/place", fields)

    def modify_order(
        self,
        *,
        order_id: str,
        price: str,
        order_type: str,
        quantity: str,
        validity: str,
        trigger_price: str,
    ) -> object:
        fields = {
            "am": "NO",
            "dq": "0",
            "mp": "0",
            "no": order_id,
            "os": ORDER_SOURCE,
            "pr": price,
            "pt": order_type,
            "qt": quantity,
            "tp": trigger_price,
            "vd": validity,
        }
        return self._post("quick/order/vr/modify", fields)

    def cancel_order(self, *, order_id: str) -> object:
        return self._post("quick/order/cancel", {"on": order_id, "am": "NO"})

    def order_report(self) -> object:
        return self._get("quick/user/orders")

    def trade_report(self) -> object:
        return self._get("quick/user/trades")

    def totp_login(self, *, mobile_number: str, ucc: str, totp: str) -> object:
        body = {"mobileNumber": mobile_number, "ucc": ucc, "totp": totp}
        return self._http.post(f"{LOGIN_URL}/login/1.0/tradeApiLogin", json=body)

    def totp_validate(self, *, mpin: str, view_token: str, view_sid: str) -> object:
        return self._http.post(
            f"{LOGIN_URL}/login/1.0/tradeApiValidate",
            json={"mpin": mpin},
            headers={"sid": view_sid, "Auth": view_token},
        )

    def _post(self, path: str, fields: dict[str, str]) -> object:
        data = {"jData": msgspec.json.encode(fields).decode()}
        return self._http.post(self._url(path), data=data, headers=self._headers())

    def _get(self, path: str) -> object:
        return self._http.get(self._url(path), headers=self._headers())

    def _url(self, path: str) -> str:
        assert self._session is not None, "use() comes first"
        return f"{self._session.base_url}/{path}"

    def _headers(self) -> dict[str, Any]:
        assert self._session is not None, "use() comes first"
        return {"Auth": self._session.token, "Sid": self._session.sid}

"""`pulse simulate kotak` as a process, and the broker's own client pointed at it."""

import contextvars
from pathlib import Path
from typing import Any

import httpx

from pulse.simulate import (
    DEFAULT_ACCESS_TOKEN,
    DEFAULT_MOBILE_NUMBER,
    DEFAULT_MPIN,
    DEFAULT_TOTP_SEED,
    DEFAULT_UCC,
)
from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak.login import code_of_now
from pulse_adapters.kotak.sdk import load_sdk
from tests.integration.simulator.process import SimulatorProcess, eventually

NO_DATA = {"stCode": 5203, "errMsg": "No Data", "desc": "data not found", "stat": "Not_Ok"}
LIMIT: dict[str, str] = {
    "exchange_segment": "nse_cm",
    "trading_symbol": "INFY-EQ",
    "transaction_type": "B",
    "quantity": "10",
    "product": "CNC",
    "order_type": "L",
    "price": "1400",
    "validity": "DAY",
}


def code() -> str:
    """What the authenticator shows now."""
    return code_of_now(DEFAULT_TOTP_SEED, SystemClock())


class _Here(httpx.HTTPTransport):
    """The SDK has the login host in its code: whatever it calls, it calls this machine."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = httpx.URL(url)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host != self._url.host:
            request.url = request.url.copy_with(scheme="http", host=self._url.host, port=self._url.port)
            request.headers["host"] = self._url.netloc.decode()
        return super().handle_request(request)


class KotakProcess(SimulatorProcess):
    face = "kotak"

    def __init__(self, folder: Path, *more: str, **options: Any) -> None:
        super().__init__(folder, *more, **options)
        self._transports: list[httpx.BaseTransport] = []

    def stop(self) -> int:
        for transport in self._transports:
            transport.close()
        return super().stop()

    @property
    def feed_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/realtime"

    def new_client(self, *, timeout: float = 5) -> Any:
        """The broker's own client, not logged in."""
        transport = _Here(self.url)
        self._transports.append(transport)
        # In a context of its own: it binds words that every log line of later tests would carry.
        client = contextvars.copy_context().run(
            lambda: load_sdk().NeoAPI(
                consumer_key=DEFAULT_ACCESS_TOKEN, transport=transport, http2=False, timeout=timeout
            )
        )
        client._cache_holdings_response = lambda answer: None  # it would write into the home folder
        return client

    def client(self, *, timeout: float = 5) -> Any:
        """The broker's own client, logged in as a person does it."""
        client = self.new_client(timeout=timeout)
        client.totp_login(mobile_number=DEFAULT_MOBILE_NUMBER, ucc=DEFAULT_UCC, totp=code())
        answer = client.totp_validate(mpin=DEFAULT_MPIN)
        assert answer["data"]["baseUrl"] == self.url
        return client

    def session(self) -> dict[str, str]:
        """Headers of a session that needed no login."""
        given = self.control("POST", "/login")
        return {"Auth": given["token"], "Sid": given["sid"], "neo-fin-key": "neotradeapi"}


def placed(neo: Any, **changes: str) -> str:
    answer = neo.place_order(**{**LIMIT, **changes})
    assert answer["stat"] == "Ok", answer
    order_id: str = answer["nOrdNo"]
    return order_id


def book(neo: Any) -> list[dict[str, Any]]:
    answer = neo.order_report()
    rows: list[dict[str, Any]] = [] if answer.get("stCode") == 5203 else answer["data"]
    return rows


def row(neo: Any, order_id: str) -> dict[str, Any]:
    (found,) = neo.order_report(order_id=order_id)["data"]
    return dict(found)


def in_status(neo: Any, order_id: str, status: str) -> dict[str, Any]:
    found: dict[str, Any] = eventually(lambda: (order := row(neo, order_id))["ordSt"] == status and order)
    return found


def history(neo: Any, order_id: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = neo.order_history(order_id)["data"]["data"]
    return rows

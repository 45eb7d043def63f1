"""Every answer has the fields and JSON types of the broker's published examples, where those are at hand.

Set KITE_MOCKS to their folder. They are not part of this repository.
"""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.simulator.process import API_KEY, API_SECRET, KiteProcess, eventually
from tests.integration.simulator.shapes import Shape
from tests.integration.simulator.test_postbacks import Inbox

MOCKS = Path(os.environ.get("KITE_MOCKS", Path(__file__).parents[4] / "shared/data/kite-mocks"))
ORDER = {
    "exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "quantity": "10", "product": "CNC",
    "order_type": "LIMIT", "price": "1501", "validity": "DAY", "tag": "shape",
}  # fmt: skip
NEEDED = {"exchange": "NSE", "tradingsymbol": "INFY", "transaction_type": "BUY", "variety": "regular",
          "product": "CNC", "order_type": "LIMIT", "quantity": 1, "price": 1500}  # fmt: skip
QUERY = {"from": "2026-11-19 09:15:00", "to": "2026-11-19 09:25:00"}


class World:
    """An account that has some of everything, and raw requests to it."""

    def __init__(self, process: KiteProcess, inbox: Inbox) -> None:
        self.inbox = inbox
        self.client = httpx.Client(base_url=process.url, timeout=10)
        self._log_in(process)
        process.pin("NSE:INFY", "1500", "1499.90", "1500")
        self.post("/orders/regular", ORDER)
        eventually(lambda: self.get("/trades")["data"])
        process.control("POST", "/roll")  # bought yesterday: a holding
        self._log_in(process)
        self.post("/orders/regular", {name: value for name, value in ORDER.items() if name != "tag"})
        self.done = self.post("/orders/regular", ORDER)["data"]["order_id"]
        market = {**ORDER, "order_type": "MARKET", "market_protection": "-1", "product": "MIS"}
        self.post("/orders/regular", market)
        iceberg = {"iceberg_legs": "2", "iceberg_quantity": "5", "validity": "TTL", "validity_ttl": "2"}
        self.post("/orders/iceberg", {**ORDER, **iceberg, "price": "1400"})
        self.post("/orders/auction", {**ORDER, "auction_number": "22", "price": "1600"})
        self.resting = self.post("/orders/regular", {**ORDER, "price": "1400"})["data"]["order_id"]
        eventually(lambda: all(row["status"] in ("OPEN", "COMPLETE") for row in self.get("/orders")["data"]))

    def _log_in(self, process: KiteProcess) -> None:
        page = self.client.get("/connect/login", params={"v": "3", "api_key": API_KEY})
        token = httpx.URL(page.headers["location"]).params["request_token"]
        checksum = hashlib.sha256(f"{API_KEY}{token}{API_SECRET}".encode()).hexdigest()
        form = {"api_key": API_KEY, "request_token": token, "checksum": checksum}
        self.session = self.client.post("/session/token", data=form).json()
        self.token = self.session["data"]["access_token"]
        self.client.headers["Authorization"] = f"token {API_KEY}:{self.token}"

    def get(self, path: str, **params: Any) -> Any:
        return self.client.get(path, params=params).json()

    def post(self, path: str, form: dict[str, str]) -> Any:
        return self.client.post(path, data=form).json()

    def autoslice(self) -> Any:
        rows = csv.DictReader(self.client.get("/instruments/NFO").text.splitlines())
        future = next(row["tradingsymbol"] for row in rows if row["instrument_type"] == "FUT")
        price = self.get("/quote/ltp", i=f"NFO:{future}")["data"][f"NFO:{future}"]["last_price"]
        form = {"exchange": "NFO", "tradingsymbol": future, "product": "NRML", "quantity": "7020",
                "autoslice": "true", "price": str(round(price * 0.9))}  # fmt: skip
        return self.post("/orders/regular", {**ORDER, **form})

    def cancelled(self) -> Any:
        answer = self.client.delete(f"/orders/regular/{self.resting}").json()
        return answer if answer["status"] == "success" else None

    def untagged_postback(self) -> Any:
        """One of an order without tags, which has no list of them."""
        return next((body for body in map(json.loads, self.inbox.bodies) if body["tag"] is None), None)

    def convert(self) -> Any:
        form = {**ORDER, "quantity": "1", "position_type": "day", "old_product": "MIS", "new_product": "CNC"}
        return self.client.put("/portfolio/positions", data=form).json()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Inbox() as inbox:
        folder = tmp_path_factory.mktemp("shapes")
        process = KiteProcess(folder, "--postback-url", inbox.url, "--capital", "60000000").start()
        made = World(process, inbox)
        yield made
        made.client.close()
        process.stop()


ASK: dict[str, Callable[[World], Any]] = {
    "generate_session": lambda world: world.session,
    "profile": lambda world: world.get("/user/profile"),
    "full_profile": lambda world: world.get("/user/profile/full"),
    "margins": lambda world: world.get("/user/margins"),
    "margins_equity": lambda world: world.get("/user/margins/equity"),
    "margin_commodity": lambda world: world.get("/user/margins/commodity"),
    "orders": lambda world: world.get("/orders"),
    "order_info": lambda world: world.get(f"/orders/{world.done}"),
    "order_trades": lambda world: world.get(f"/orders/{world.done}/trades"),
    "trades": lambda world: world.get("/trades"),
    "order_response": lambda world: world.post("/orders/regular", ORDER),
    "order_modify": lambda world: world.client.put(
        f"/orders/regular/{world.resting}", data={"price": "1390"}
    ).json(),
    "order_cancel": lambda world: eventually(world.cancelled),
    "autoslice_response": World.autoslice,
    "positions": lambda world: world.get("/portfolio/positions"),
    "convert_position": World.convert,
    "holdings": lambda world: world.get("/portfolio/holdings"),
    "holdings_summary": lambda world: world.get("/portfolio/holdings/summary"),
    "holdings_compact": lambda world: world.get("/portfolio/holdings/compact"),
    "holdings_auth": lambda world: world.post("/portfolio/holdings/authorise", {}),
    "auctions_list": lambda world: world.get("/portfolio/holdings/auctions"),
    "order_margins": lambda world: world.client.post("/margins/orders", json=[NEEDED]).json(),
    "basket_margins": lambda world: world.client.post("/margins/basket", json=[NEEDED, NEEDED]).json(),
    "virtual_contract_note": lambda world: world.client.post(
        "/charges/orders", json=[{**NEEDED, "order_id": "1", "average_price": 1500}]
    ).json(),
    "ltp": lambda world: world.get("/quote/ltp", i="NSE:INFY"),
    "ohlc": lambda world: world.get("/quote/ohlc", i="NSE:INFY"),
    "quote": lambda world: world.get("/quote", i="NSE:INFY"),
    "trigger_range": lambda world: world.get("/instruments/trigger_range/buy", i=["NSE:INFY", "NSE:RELIANCE"]),
    "historical_minute": lambda world: world.get("/instruments/historical/408065/minute", **QUERY),
    "historical_oi": lambda world: world.get("/instruments/historical/408065/minute", **QUERY, oi=1),
    "postback": lambda world: eventually(world.untagged_postback),
}  # fmt: skip


def _example(name: str) -> Any:
    path = MOCKS / f"{name}.json"
    if not path.exists():
        pytest.skip("the broker's examples are not at hand")
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", ASK)
def test_an_answer_has_the_shape_of_the_brokers_example(world: World, name: str) -> None:
    example = _example(name)
    answer = ASK[name](world)

    assert Shape([example]).differences(answer) == []
    assert answer.get("data", answer)  # an empty list has every shape


@pytest.mark.parametrize("name", ["instruments_all", "instruments_nse"])
def test_the_instrument_file_has_the_brokers_columns(world: World, name: str) -> None:
    path = MOCKS / f"{name}.csv"
    if not path.exists():
        pytest.skip("the broker's examples are not at hand")
    answer = world.client.get("/instruments" if name.endswith("all") else "/instruments/NSE")
    header, first = answer.text.splitlines()[:2]

    assert header == path.read_text().splitlines()[0]
    assert answer.headers["content-type"].startswith("text/csv")
    assert first.count(",") == header.count(",")


def test_a_session_ends_with_a_logout(world: World) -> None:
    token = world.token
    answer = world.client.delete("/session/token", params={"api_key": API_KEY, "access_token": token}).json()
    refused = world.client.get("/user/profile")

    assert Shape([_example("session_logout")]).differences(answer) == []
    assert (refused.status_code, refused.json()["error_type"]) == (403, "TokenException")

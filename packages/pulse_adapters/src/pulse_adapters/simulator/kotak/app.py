"""The API: its routes, and what is behind each."""

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Any

from aiohttp import web
from msgspec import Struct

from pulse_adapters.simulator.control import PREFIX, Control, control_route, read
from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.faults import Call
from pulse_adapters.simulator.kotak.errors import no_data
from pulse_adapters.simulator.kotak.feed import OrderFeed, message
from pulse_adapters.simulator.kotak.forms import text
from pulse_adapters.simulator.kotak.market import MarketPages
from pulse_adapters.simulator.kotak.market_feed import MarketFeed
from pulse_adapters.simulator.kotak.names import Scrips
from pulse_adapters.simulator.kotak.orders import OrderEntry
from pulse_adapters.simulator.kotak.portfolio import Portfolio
from pulse_adapters.simulator.kotak.requests import PER_SECOND, QUOTE, Access, Asked, Requests, guarding, report
from pulse_adapters.simulator.kotak.rows import Rows, steps_to
from pulse_adapters.simulator.kotak.sessions import STREAM, Pass, Session, Sessions
from pulse_adapters.simulator.kotak.settings import Greeting, NeoSettings
from pulse_adapters.simulator.limits import ORDER, Limits
from pulse_adapters.simulator.values import Record, Status, Update


class KotakFace:
    """The API of one user on a desk.

    entries: what an earlier process put into the journal, as `Desk.start` gives it.
    """

    def __init__(
        self, desk: Desk, settings: NeoSettings, rng: Random, entries: Iterable[tuple[str, bytes]] = ()
    ) -> None:
        self._desk = desk
        self._settings = settings
        own = [body for stream, body in entries if stream == STREAM]
        self.sessions = Sessions(settings, desk.clock.now, desk.clock.unmoved, desk.append, own)
        self.limits = Limits(desk.clock.now, PER_SECOND, is_on=settings.has_limits)
        ucc, scrips = settings.account.ucc, Scrips(desk.catalog)
        self._requests = Requests(desk, self.sessions, self.limits, rng)
        self._orders = OrderEntry(desk, scrips)
        self._portfolio = Portfolio(desk, scrips, ucc)
        self._market = MarketPages(desk, scrips)
        self._rows = Rows(ucc, desk.catalog)
        self.feed = OrderFeed(self.sessions, settings.greeting, self._snapshot)
        self._prices = MarketFeed(desk, scrips, self.sessions, ucc)
        self._updates: asyncio.Queue[Update] = asyncio.Queue()
        desk.subscribe(self._note)

    async def run(self) -> None:
        """Keep desk and feed going until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._desk.run())
            tasks.create_task(self._push())

    async def close(self) -> None:
        await self.feed.close()
        await self._prices.close()

    def app(self) -> web.Application:
        """The application, to be served at a host's root."""
        app = web.Application(middlewares=[guarding], client_max_size=1 << 20)
        app.add_routes([*Control(self._desk).routes(), *self._control_routes(), *self._routes()])
        return app

    def _control_routes(self) -> list[web.RouteDef]:
        """What only a simulator has."""
        return [
            web.post(f"{PREFIX}/login", self._open_session),
            web.post(f"{PREFIX}/greeting", control_route(self._set_greeting)),
            web.post(f"{PREFIX}/sockets/close", control_route(self._close_sockets)),
            web.post(f"{PREFIX}/sockets/say", control_route(self._say)),
        ]

    def _routes(self) -> list[web.RouteDef]:
        route, orders, portfolio = self._requests.route, self._orders, self._portfolio
        login, application, order = Access.LOGIN, Access.APPLICATION, Access.ORDER
        chains, quotes = "/market-data/1.0/watchlist", "/script-details/1.0/quotes/neosymbol"
        return [
            web.post("/login/1.0/tradeApiLogin", route(self._log_in, login)),
            web.post("/login/1.0/tradeApiValidate", route(self._validate, login)),
            web.get("/login/1.0/get-client-ip", route(self._client_ip)),
            web.post(
                "/quick/order/rule/ms/place",
                route(lambda asked: orders.place(asked.fields, asked.strike), order, Call.PLACE, bucket=ORDER),
            ),
            web.post(
                "/quick/order/vr/modify",
                route(
                    lambda asked: orders.modify(asked.fields, asked.strike), order, Call.MODIFY, bucket=ORDER
                ),
            ),
            web.post(
                "/quick/order/cancel",
                route(
                    lambda asked: orders.cancel(asked.fields, asked.strike), order, Call.CANCEL, bucket=ORDER
                ),
            ),
            web.get("/quick/user/orders", route(self._book, call=Call.BOOK, say=report())),
            web.get("/quick/user/orders/{order_number}", route(self._one, say=report())),
            web.post("/quick/order/history", route(self._history, say=report())),
            web.get("/quick/user/trades", route(self._trades, say=report("ok"))),
            web.get("/portfolio/v2/positions", route(lambda _: portfolio.positions(), say=report("ok"))),
            web.get("/quick/user/positions", route(lambda _: portfolio.positions(), say=report("ok"))),
            web.get("/portfolio/v1/holdings", route(self._holdings)),
            web.post("/quick/user/limits", route(self._limits)),
            web.post("/quick/user/check-margin", route(lambda asked: portfolio.check_margin(asked.fields))),
            web.get("/script-details/1.0/masterscrip/file-paths", route(self._file_paths, application)),
            web.get("/wso2-scripmaster/{rest:.*}", self._scrip_file),
            web.get(f"{quotes}/{{symbols}}/{{kind}}", route(self._quotes, application, bucket=QUOTE)),
            web.get(f"{quotes}/{{symbols}}", route(self._quotes, application, bucket=QUOTE)),
            web.get(f"{chains}/expiries", route(self._expiries, application)),
            web.get(f"{chains}/option-chain", route(self._option_chain, application)),
            web.get("/market-data/1.0/historical/details", route(self._candles, application)),
            web.get("/realtime", self._realtime),
            web.get("/apifeed", self._apifeed),
        ]

    # --- what is pushed

    def _note(self, update: Update) -> None:
        if self.feed.is_watched:
            self._updates.put_nowait(update)

    async def _push(self) -> None:
        """Tell of every step, and of the position where something has filled."""
        while True:
            update = await self._updates.get()
            record, snap = update.record, update.snap
            for step in steps_to(record, snap):
                self.feed.say(message("order", self._rows.pushed(record, step)))
            if snap.filled and (update.partial or snap.status is Status.COMPLETE):
                row = await self._portfolio.position(record.ask.instrument, record.ask.label)
                self.feed.say(message("position", row))

    async def _snapshot(self) -> list[str]:
        """Where everything stands now."""
        await self._desk.durable()
        now = self._desk.clock.now()
        orders = [message("order", self._rows.pushed(each, each.view(now))) for each in self._desk.orders()]
        return [*orders, *(message("position", row) for row in await self._portfolio.positions())]

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise web.HTTPNotFound
        return await self.feed.serve(request)

    async def _apifeed(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise web.HTTPNotFound
        return await self._prices.serve(request)

    # --- control

    async def _open_session(self, request: web.Request) -> web.StreamResponse:
        async def begin(request: web.Request) -> Any:
            session = self.sessions.begin(request.remote or "")
            await self._desk.durable()
            return {"token": session.token, "sid": session.sid, "baseUrl": str(request.url.origin())}

        return await control_route(begin)(request)

    async def _set_greeting(self, request: web.Request) -> Any:
        self.feed.greeting = (await read(request, _Wanted)).greeting
        return True

    async def _close_sockets(self, request: web.Request) -> Any:
        code = (await read(request, _Close)).code
        await self.feed.close(code)
        await self._prices.close(code)
        return True

    async def _say(self, request: web.Request) -> Any:
        self.feed.say((await read(request, _Say)).text)
        return True

    # --- sessions

    async def _log_in(self, asked: Asked) -> Any:
        fields = asked.fields
        given = self.sessions.view(
            fields.get("mobileNumber", ""), fields.get("ucc", ""), fields.get("totp", "")
        )
        return {"data": self._person(given, "View")}

    async def _validate(self, asked: Asked) -> Any:
        session = self.sessions.validate(asked.auth, asked.sid, asked.fields.get("mpin", ""), asked.ip)
        base = asked.origin
        more = {"baseUrl": base, "feedUrl": f"{base}/apifeed", "rtUrl": f"{base}/realtime"}
        return {"data": {**self._person(session, "Trade"), **more}}

    def _person(self, given: Pass | Session, kind: str) -> dict[str, Any]:
        return {
            "token": given.token, "sid": given.sid, "rid": given.sid[:16], "hsServerId": "",
            "isUserPwdExpired": False, "ucc": self._settings.account.ucc, "greetingName": self._settings.name,
            "isTrialAccount": False, "dataCenter": self._settings.data_center, "searchAPIKey": "",
            "derivativesRiskDisclosure": "", "mfAccess": 1, "dataCenterMap": None, "dormancyStatus": "A",
            "asbaStatus": "", "clientType": "RI", "isNRI": False, "kId": "SIMULATED", "kType": kind,
            "status": "success", "incRange": 0, "incUpdFlag": "", "clientGroup": "",
        }  # fmt: skip

    async def _client_ip(self, asked: Asked) -> Any:
        at = self._desk.clock.now().isoformat()
        return {"data": [{"ip": asked.ip, "time": at}], "stCode": 1000, "status": "success"}

    # --- reports

    async def _book(self, _: Asked) -> Any:
        now = self._desk.clock.now()
        return [self._rows.order(record, record.view(now)) for record in self._desk.orders()]

    async def _one(self, asked: Asked) -> Any:
        record = self._known(asked.path["order_number"])
        return [self._rows.order(record, record.view(self._desk.clock.now()))]

    async def _history(self, asked: Asked) -> Any:
        """The newest first."""
        record = self._known(text(asked.fields, "nOrdNo"))
        return [self._rows.history(record, snap) for snap in record.history(self._desk.clock.now())[::-1]]

    async def _trades(self, _: Asked) -> Any:
        return [self._rows.trade(record, trade) for record in self._desk.orders() for trade in record.trades]

    def _known(self, order_number: str) -> Record:
        record = self._desk.find(order_number)
        if record is None:
            raise no_data()
        return record

    async def _holdings(self, _: Asked) -> Any:
        if not (rows := await self._portfolio.holdings()):
            raise no_data()
        return {"data": rows}

    async def _limits(self, _: Asked) -> Any:
        return self._portfolio.limits()

    # --- the market

    async def _file_paths(self, asked: Asked) -> Any:
        return self._market.file_paths(asked.origin)

    async def _scrip_file(self, request: web.Request) -> web.StreamResponse:
        """The files do not ask who wants them."""
        body = self._market.file(request.path)
        if body is None:
            raise web.HTTPNotFound
        return web.Response(body=body, content_type="text/csv")

    async def _quotes(self, asked: Asked) -> Any:
        return await self._market.quotes(asked.path["symbols"], asked.path.get("kind", "all"))

    async def _expiries(self, asked: Asked) -> Any:
        return self._market.expiries(asked.query)

    async def _option_chain(self, asked: Asked) -> Any:
        return await self._market.option_chain(asked.query)

    async def _candles(self, asked: Asked) -> Any:
        return await self._market.candles(asked.query)


class _Wanted(Struct, forbid_unknown_fields=True):
    """The greeting that is acknowledged from now on."""

    greeting: Greeting


class _Close(Struct, forbid_unknown_fields=True):
    """`code` of the close frame; without one the connections are cut."""

    code: int | None = None


class _Say(Struct, forbid_unknown_fields=True):
    """A text frame for every socket that has been acknowledged."""

    text: str

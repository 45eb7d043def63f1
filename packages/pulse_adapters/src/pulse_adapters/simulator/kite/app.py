"""The API: its routes, and what is behind each."""

import asyncio
from collections.abc import Iterable
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from aiohttp import web
from msgspec import Struct

from pulse_adapters.simulator.control import PREFIX, Control, control_route, read
from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.faults import Call
from pulse_adapters.simulator.kite.costs import Costs
from pulse_adapters.simulator.kite.errors import KiteError, bad_input
from pulse_adapters.simulator.kite.forms import ProductLabel, choice, text, whole
from pulse_adapters.simulator.kite.limits import Bucket, kite_limits
from pulse_adapters.simulator.kite.market import MarketPages
from pulse_adapters.simulator.kite.orders import OrderEntry
from pulse_adapters.simulator.kite.portfolio import Portfolio
from pulse_adapters.simulator.kite.postbacks import Postbacks
from pulse_adapters.simulator.kite.requests import Asked, Requests, enveloped
from pulse_adapters.simulator.kite.rows import UPDATE, Rows
from pulse_adapters.simulator.kite.sessions import STREAM, Sessions
from pulse_adapters.simulator.kite.settings import KiteSettings
from pulse_adapters.simulator.kite.ticker import Ticker
from pulse_adapters.simulator.kite.users import Users
from pulse_adapters.simulator.values import Record, Update
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.orders.model import Side

_PUSHED = frozenset({"OPEN", "TRIGGER PENDING", "COMPLETE", "CANCELLED", "REJECTED", UPDATE})


class KiteFace:
    """The API of one user on a desk.

    entries: what an earlier process put into the journal, as `Desk.start` gives it.
    """

    def __init__(
        self, desk: Desk, settings: KiteSettings, rng: Random, entries: Iterable[tuple[str, bytes]] = ()
    ) -> None:
        self._desk = desk
        self._settings = settings
        self._rng = rng
        own = [body for stream, body in entries if stream == STREAM]
        self.sessions = Sessions(settings.app, desk.clock.now, desk.append, own)
        self.limits = kite_limits(desk.clock.now, is_on=settings.has_limits)
        self._requests = Requests(desk, self.sessions, self.limits, rng)
        self._orders = OrderEntry(desk, self.limits, rng)
        self._portfolio = Portfolio(desk)
        self._market = MarketPages(desk)
        self._costs = Costs(desk)
        self._users = Users(settings)
        self._rows = Rows(settings, desk.catalog)
        self.ticker = Ticker(desk, self.sessions)
        url = settings.app.postback_url
        self._postbacks = None if url is None else Postbacks(url)
        desk.subscribe(self._push)

    async def run(self) -> None:
        """Keep desk and postbacks going until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._desk.run())
            if self._postbacks is not None:
                tasks.create_task(self._postbacks.run())

    async def close(self) -> None:
        await self.ticker.close()

    def app(self) -> web.Application:
        """The application, to be served at a host's root."""
        app = web.Application(middlewares=[enveloped], client_max_size=1 << 20)
        app.add_routes([*Control(self._desk).routes(), *self._control_routes(), *self._routes()])
        return app

    def _control_routes(self) -> list[web.RouteDef]:
        """What only a simulator has."""
        return [
            web.get("/connect/login", self._login_page),
            web.post(f"{PREFIX}/request-token", control_route(self._new_request_token)),
            web.post(f"{PREFIX}/access-token", control_route(self._new_access_token)),
            web.post(f"{PREFIX}/sockets/close", control_route(self._close_sockets)),
            web.post(f"{PREFIX}/sockets/say", control_route(self._say)),
        ]

    def _routes(self) -> list[web.RouteDef]:
        route, portfolio, market, costs = self._requests.route, self._portfolio, self._market, self._costs
        order, quote, historical = Bucket.ORDER, Bucket.QUOTE, Bucket.HISTORICAL
        return [
            web.get("/", self._root),
            web.post("/session/token", route(self._generate_session, is_open=True)),
            web.delete("/session/token", route(self._logout, is_open=True)),
            web.post("/session/refresh_token", route(self._refresh, is_open=True)),
            web.get("/user/profile", route(self._profile)),
            web.get("/user/profile/full", route(self._full_profile)),
            web.get("/user/margins", route(self._margins)),
            web.get("/user/margins/{segment:equity|commodity}", route(self._margins_of)),
            web.get("/orders", route(self._book, call=Call.BOOK)),
            web.get("/orders/{order_id}", route(self._history)),
            web.get("/orders/{order_id}/trades", route(self._trades_of)),
            web.get("/trades", route(self._trades)),
            web.post("/orders/{variety}", route(self._place, order, Call.PLACE)),
            web.put("/orders/{variety}/{order_id}", route(self._modify, order, Call.MODIFY)),
            web.delete("/orders/{variety}/{order_id}", route(self._cancel, order, Call.CANCEL)),
            web.get("/portfolio/positions", route(lambda _: portfolio.positions())),
            web.put("/portfolio/positions", route(self._convert)),
            web.get("/portfolio/holdings", route(lambda _: portfolio.holdings())),
            web.get("/portfolio/holdings/summary", route(lambda _: portfolio.summary())),
            web.get("/portfolio/holdings/compact", route(self._compact)),
            web.post("/portfolio/holdings/authorise", route(self._authorise)),
            web.get("/portfolio/holdings/auctions", route(lambda _: portfolio.auctions())),
            web.post("/margins/orders", route(lambda asked: costs.margins(_json(asked)))),
            web.post("/margins/basket", route(lambda asked: costs.basket(_json(asked)))),
            web.post("/charges/orders", route(lambda asked: costs.contract_note(_json(asked)))),
            web.get("/quote", route(lambda asked: market.quotes(asked.names), quote)),
            web.get("/quote/ohlc", route(lambda asked: market.ohlc(asked.names), quote)),
            web.get("/quote/ltp", route(lambda asked: market.ltp(asked.names), quote)),
            web.get("/instruments/trigger_range/{side:buy|sell}", route(self._trigger_range)),
            web.get("/instruments/historical/{token}/{interval}", route(self._candles, historical)),
            web.get("/instruments", self._instruments),
            web.get("/instruments/{exchange}", self._instruments),
        ]

    def _push(self, update: Update) -> None:
        if self._postbacks is None and not self.ticker.is_watched:
            return
        message = self._rows.postback(update)
        if message.status not in _PUSHED:
            return
        self.ticker.push(message)
        if self._postbacks is not None and update.record.ask.source == self._settings.app.api_key:
            self._postbacks.push(message)

    # --- sessions

    async def _root(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self.ticker.serve(request)
        raise web.HTTPNotFound

    async def _login_page(self, request: web.Request) -> web.StreamResponse:
        """Where the user would log in; here everybody has."""
        try:
            token = self.sessions.new_request_token(request.query.get("api_key", ""))
        except KiteError as error:
            return web.Response(text=error.message, status=400)
        echoed = parse_qsl(request.query.get("redirect_params", ""))
        query = urlencode([("request_token", token), ("action", "login"), ("status", "success"), *echoed])
        base = self._settings.app.redirect_url
        raise web.HTTPFound(f"{base}{'&' if '?' in base else '?'}{query}")

    async def _new_request_token(self, _: web.Request) -> Any:
        return {"request_token": self.sessions.new_request_token(self._settings.app.api_key)}

    async def _new_access_token(self, _: web.Request) -> Any:
        session = self.sessions.begin()
        await self._desk.durable()
        return {"api_key": session.api_key, "access_token": session.access_token}

    async def _close_sockets(self, request: web.Request) -> Any:
        await self.ticker.close((await read(request, _Close)).code)
        return True

    async def _say(self, request: web.Request) -> Any:
        self.ticker.say((await read(request, _Say)).text)
        return True

    async def _generate_session(self, asked: Asked) -> Any:
        form = asked.form
        session = self.sessions.exchange(
            text(form, "api_key"), text(form, "request_token"), text(form, "checksum")
        )
        return self._users.session(session)

    async def _logout(self, asked: Asked) -> Any:
        self.sessions.end(text(asked.form, "api_key"), text(asked.form, "access_token"))
        return True

    async def _refresh(self, _: Asked) -> Any:
        raise KiteError(403, "PermissionException", "Insufficient permission for that call.")

    async def _profile(self, _: Asked) -> Any:
        return self._users.profile()

    async def _full_profile(self, _: Asked) -> Any:
        return self._users.full_profile()

    # --- orders

    async def _place(self, asked: Asked) -> Any:
        return await self._orders.place(asked.path["variety"], asked.form, asked.api_key, asked.strike)

    async def _modify(self, asked: Asked) -> Any:
        path = asked.path
        return await self._orders.modify(path["variety"], path["order_id"], asked.form, asked.strike)

    async def _cancel(self, asked: Asked) -> Any:
        path = asked.path
        return await self._orders.cancel(path["variety"], path["order_id"], asked.form, asked.strike)

    async def _book(self, _: Asked) -> Any:
        now = self._desk.clock.now()
        return [self._rows.order(record, now) for record in self._desk.orders()]

    async def _history(self, asked: Asked) -> Any:
        return self._rows.history(self._known(asked), self._desk.clock.now())

    async def _trades_of(self, asked: Asked) -> Any:
        record = self._known(asked)
        return [self._rows.trade(record, trade) for trade in record.trades]

    async def _trades(self, _: Asked) -> Any:
        return [self._rows.trade(record, trade) for record in self._desk.orders() for trade in record.trades]

    def _known(self, asked: Asked) -> Record:
        record = self._desk.find(asked.path["order_id"])
        if record is None:
            raise KiteError(400, "OrderException", "Couldn't find that `order_id`.")
        return record

    # --- the rest

    async def _margins(self, _: Asked) -> Any:
        margins = self._portfolio.margins()
        return {"equity": margins, "commodity": margins}

    async def _margins_of(self, _: Asked) -> Any:
        return self._portfolio.margins()

    async def _convert(self, asked: Asked) -> Any:
        form = asked.form
        listing = self._desk.listing(
            Instrument(choice(form, "exchange", Exchange), text(form, "tradingsymbol"))
        )
        old, new = choice(form, "old_product", ProductLabel), choice(form, "new_product", ProductLabel)
        await self._desk.convert(
            listing.instrument, choice(form, "transaction_type", Side), whole(form, "quantity", least=1),
            (old, old.booked_as), (new, new.booked_as),
        )  # fmt: skip
        return True

    async def _compact(self, _: Asked) -> Any:
        return self._portfolio.compact()

    async def _authorise(self, _: Asked) -> Any:
        return {"request_id": f"{self._rng.getrandbits(160):040x}"}

    async def _trigger_range(self, asked: Asked) -> Any:
        return await self._market.trigger_range(asked.names)

    async def _candles(self, asked: Asked) -> Any:
        return await self._market.candles(asked.path["token"], asked.path["interval"], asked.query)

    async def _instruments(self, request: web.Request) -> web.StreamResponse:
        """The dump does not ask who wants it."""
        dump = self._market.instruments(request.match_info.get("exchange"))
        headers = {"Content-Encoding": "gzip"}
        return web.Response(body=dump, content_type="text/csv", headers=headers)


class _Close(Struct, forbid_unknown_fields=True):
    """`code` of the close frame; without one the connections are cut."""

    code: int | None = None


class _Say(Struct, forbid_unknown_fields=True):
    """A text frame for every socket."""

    text: str


def _json(asked: Asked) -> Any:
    try:
        return msgspec.json.decode(asked.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_input("The body should be a JSON array of orders.") from None

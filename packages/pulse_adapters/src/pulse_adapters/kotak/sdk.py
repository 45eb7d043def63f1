"""The broker's SDK, with five of its habits taken from it.

Importing it configures structlog for the whole process, and opens a log file in the working directory. It
logs whole requests at errors, an MPIN among them. It follows redirects with an order. Its login asks
another host for feeds that we do not use. And it keeps what an account holds in a file.
"""

import contextvars
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import httpx
import structlog

from pulse_adapters.kotak.sessions import NeoSession

_FIN_KEY = "neotradeapi"
_PACKAGE = "neo_api_client"
_loading = threading.Lock()


class _Silence:
    """In place of the SDK's loggers: what is worth telling, the adapter tells."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **fields: None


def load_sdk() -> Any:
    """Import the SDK, which takes a second or two, and leave the process's logging as it was.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    with _loading:
        if _PACKAGE not in sys.modules:
            was_configured, config = structlog.is_configured(), structlog.get_config()
            # The only switch it has, and it is read once, at the import.
            os.environ.setdefault("NEO_LOG_FILE_ENABLED", "false")
            try:
                importlib.import_module(_PACKAGE)
            finally:
                structlog.reset_defaults()
                if was_configured:
                    structlog.configure(**config)
            logging.getLogger(_PACKAGE).handlers.clear()
        for name, module in tuple(sys.modules.items()):
            if name.partition(".")[0] == _PACKAGE and hasattr(module, "logger"):
                vars(module)["logger"] = _Silence()
        return sys.modules[_PACKAGE]


class NeoClient:
    """The requests that we need, one each. What comes back over the wire is for the transport to see; the value
    here counts only where nothing was sent, and then says why."""

    def __init__(self, access_token: str, transport: httpx.BaseTransport) -> None:
        # In a context of its own: it binds words that every line of ours would carry in the log.
        self._api = contextvars.copy_context().run(
            lambda: load_sdk().NeoAPI(consumer_key=access_token, transport=transport, http2=False)
        )
        http: httpx.Client = self._api.api_client.rest_client.session
        http.follow_redirects = False
        http.headers["neo-fin-key"] = _FIN_KEY  # it leaves it out where the documents want it
        self._api.configuration.resolve_dynamic_urls = lambda rest_client: None
        self._api._cache_holdings_response = lambda answer: None

    def use(self, session: NeoSession) -> None:
        """Make the following calls in this session."""
        configuration = self._api.configuration
        configuration.edit_token = session.token
        configuration.edit_sid = session.sid
        configuration.base_url = session.base_url

    def place_order(self, **fields: str) -> object:
        return self._api.place_order(**fields)

    def modify_order(self, **fields: str) -> object:
        return self._api.modify_order(**fields)

    def cancel_order(self, *, order_id: str) -> object:
        return self._api.cancel_order(order_id=order_id)

    def order_report(self) -> object:
        return self._api.order_report()

    def trade_report(self) -> object:
        return self._api.trade_report()

    def positions(self) -> object:
        return self._api.positions()

    def holdings(self) -> object:
        return self._api.holdings()

    def quotes(self, names: Sequence[tuple[str, str]]) -> object:
        """names: segments and tokens."""
        tokens = [{"exchange_segment": segment, "instrument_token": token} for segment, token in names]
        return self._api.quotes(instrument_tokens=tokens, quote_type="all")

    def minute_candles(self, name: str, first: date, last: date) -> object:
        """name: `nse_cm|1594`. Whole days, the last one included."""
        return self._api.historical_data(
            neosymbol=name, interval="1min", from_date=first.isoformat(), to_date=last.isoformat()
        )

    def totp_login(self, *, mobile_number: str, ucc: str, totp: str) -> object:
        return self._api.totp_login(mobile_number=mobile_number, ucc=ucc, totp=totp)

    def totp_validate(self, *, mpin: str, view_token: str, view_sid: str) -> object:
        self._api.configuration.view_token = view_token
        self._api.configuration.sid = view_sid
        return self._api.totp_validate(mpin=mpin)

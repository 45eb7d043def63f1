"""Who of a cluster listens where, and what each process is told by its environment."""

import secrets as random
import socket
from collections.abc import Mapping
from contextlib import ExitStack

import gapi.settings
import pulse_api.settings
import pulse_background.settings
from pulse.banner import demo_hooks
from pulse.errors import BadInput
from pulse.options import ClusterOptions
from pulse.simulate import (
    DEFAULT_ACCESS_TOKEN,
    DEFAULT_API_KEY,
    DEFAULT_API_SECRET,
    DEFAULT_MOBILE_NUMBER,
    DEFAULT_MPIN,
    DEFAULT_TOTP_SEED,
    DEFAULT_UCC,
)
from pulse.state import Secrets, reachable_url
from pulse_adapters.feeds.spec import parse_feed
from pulse_background.market.feeds import check_feed

HOST = "127.0.0.1"
# What `pulse simulate` calls the exchange of each broker; the first is the one without a BROKER_TYPE.
FACES = {"zerodha": "kite", "kotak": "kotak"}
# The exchange may be killed under a call. Absence from its book is proven after two minutes and a little, and
# an order of one minute is to be completed all the same.
SLICE_GRACE_S = "180"

# Each process gets its own of these. What a person's environment holds for a real broker is for none of them.
_NOT_PASSED_ON = frozenset(
    {
        "BROKER_SESSION_SECRETS",
        "DATABASE_URL",
        "GAPI_JWT_SECRETS",
        "KOTAK_ACCESS_TOKEN",
        "KOTAK_BASE_URL",
        "KOTAK_LOGIN_URL",
        "KOTAK_MOBILE_NUMBER",
        "KOTAK_MPIN",
        "KOTAK_TOTP_SEED",
        "KOTAK_UCC",
        "KOTAK_UNATTENDED_LOGIN",
        "METRICS_PORT",
        "PULSE_SERVICE_TOKEN",
        "REDIS_URL",
        "ZERODHA_ACCESS_TOKEN",
        "ZERODHA_API_KEY",
        "ZERODHA_API_SECRET",
        "ZERODHA_BASE_URL",
        "ZERODHA_TICKER_URL",
    }
)


class Plan:
    """Addresses, and the environment of each process."""

    def __init__(self, options: ClusterOptions, environ: Mapping[str, str], secrets: Secrets) -> None:
        self.gateway_port = _port(options.host, options.port)
        self.order_api_port, self.exchange_port, self.market_port, *self.metrics_ports = _free_ports(
            3 + options.workers
        )
        self.gateway = reachable_url(options.host, self.gateway_port)
        self.order_api = f"http://{HOST}:{self.order_api_port}"
        self.exchange = f"http://{HOST}:{self.exchange_port}"
        self.broker = environ.get("BROKER_TYPE") or next(iter(FACES))
        self.outside_session = environ.get("OUTSIDE_SESSION") or "accept"
        self.slice_grace_s = environ.get("SLICE_GRACE_SECONDS") or SLICE_GRACE_S
        # Started again, the exchange's clock is to be as far off as before.
        self.seed = random.randbits(32) if options.seed is None else options.seed
        self._options = options
        self._secrets = secrets
        # A session is opened at every start, so nothing has to be unsealed after the end.
        self._session_secret = random.token_urlsafe(32)
        self._base = {
            **{name: value for name, value in environ.items() if _is_passed_on(name)},
            "LOG_LEVEL": "ERROR" if options.log_level == "CRITICAL" else options.log_level,
            "PYTHONUNBUFFERED": "1",
        }

    def for_exchange(self) -> dict[str, str]:
        return self._base

    def for_broker(self) -> dict[str, str]:
        """For whoever speaks to the exchange as to the broker."""
        return {
            **self._base,
            **self._at_exchange(),
            "BROKER_SESSION_SECRETS": self._session_secret,
        }

    def _at_exchange(self) -> dict[str, str]:
        if self.broker == "kotak":
            return {
                "BROKER_TYPE": self.broker,
                "KOTAK_LOGIN_URL": self.exchange,
                "KOTAK_ACCESS_TOKEN": DEFAULT_ACCESS_TOKEN,
                "KOTAK_MOBILE_NUMBER": DEFAULT_MOBILE_NUMBER,
                "KOTAK_UCC": DEFAULT_UCC,
                "KOTAK_MPIN": DEFAULT_MPIN,
                "KOTAK_TOTP_SEED": DEFAULT_TOTP_SEED,
            }
        return {
            "BROKER_TYPE": self.broker,
            "ZERODHA_API_KEY": DEFAULT_API_KEY,
            "ZERODHA_API_SECRET": DEFAULT_API_SECRET,
            "ZERODHA_BASE_URL": self.exchange,
            "ZERODHA_TICKER_URL": self.exchange.replace("http", "ws", 1),
        }

    def for_worker(self, number: int, dsn: str, redis_url: str) -> dict[str, str]:
        return {
            **self.for_broker(),
            "DATABASE_URL": dsn,
            "REDIS_URL": redis_url,
            "SLICE_GRACE_SECONDS": self.slice_grace_s,
            # A kill closes positions at the hours that orders are taken at.
            "OUTSIDE_SESSION": self.outside_session,
            "METRICS_PORT": str(self.metrics_ports[number]),
            "METRICS_HOST": HOST,
            # For what is asked of Pulse by Telegram.
            "PULSE_URL": self.order_api,
            "PULSE_SERVICE_TOKEN": self._secrets.service_token,
        }

    def for_market_desk(self, dsn: str, redis_url: str) -> dict[str, str]:
        """Strategies see the prices of the exchange as those of the broker, and its hours as it has them."""
        return {
            **self.for_broker(),
            "DATABASE_URL": dsn,
            "REDIS_URL": redis_url,
            "MARKET_FEED": self.broker,
            "OUTSIDE_SESSION": self.outside_session,
            "METRICS_PORT": str(self.market_port),
            "METRICS_HOST": HOST,
            "PULSE_URL": self.order_api,
            "PULSE_SERVICE_TOKEN": self._secrets.service_token,
        }

    @property
    def has_market_desk(self) -> bool:
        """Whether anybody wants prices."""
        return bool(self._options.strategies or self._base.get("FEED_INSTRUMENTS"))

    def for_order_api(self, dsn: str, redis_url: str) -> dict[str, str]:
        return {
            **self._base,
            "DATABASE_URL": dsn,
            "REDIS_URL": redis_url,
            "BROKER_TYPE": self.broker,
            "KOTAK_LOGIN_URL" if self.broker == "kotak" else "ZERODHA_BASE_URL": self.exchange,
            "OUTSIDE_SESSION": self.outside_session,
            "PULSE_SERVICE_TOKEN": self._secrets.service_token,
            "PULSE_API_HOST": HOST,
            "PULSE_API_PORT": str(self.order_api_port),
        }

    def for_gateway(self) -> dict[str, str]:
        return {
            **self._base,
            "GAPI_WEBHOOK_HOOKS": self._base.get("GAPI_WEBHOOK_HOOKS") or demo_hooks(self._secrets),
            "GAPI_JWT_SECRETS": self._secrets.jwt_secret,
            "PULSE_SERVICE_TOKEN": self._secrets.service_token,
            "PULSE_URL": self.order_api,
            "GAPI_HOST": self._options.host,
            "GAPI_PORT": str(self.gateway_port),
        }

    def check(self) -> None:
        """Find what is wrong most often before a server is started.

        Raises:
            SettingsError of a service, FeedSpecError.
        """
        parse_feed(self._options.feed)
        dsn, redis_url = "postgresql://embedded", "redis://embedded"
        gapi.settings.Settings.from_environ(self.for_gateway())
        pulse_api.settings.read_settings(self.for_order_api(dsn, redis_url))
        pulse_background.settings.read_settings(self.for_worker(0, dsn, redis_url))
        if self.has_market_desk:
            check_feed(pulse_background.settings.read_settings(self.for_market_desk(dsn, redis_url)))


def _port(host: str, port: int = 0) -> int:
    """A port that can be listened at; the given one where it is not 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadInput(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None
        chosen: int = probe.getsockname()[1]
        return chosen


def _free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens at, each another one."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def _is_passed_on(name: str) -> bool:
    return name not in _NOT_PASSED_ON

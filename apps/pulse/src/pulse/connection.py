"""Which gateway or order API a command talks to, and as whom."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from pulse.errors import BadInput
from pulse.state import load_secrets, read_endpoint
from pulse.tokens import given_token, own_tokens

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_ORDER_API = "http://127.0.0.1:8001"


def gateway_url(given: str | None, folder: Path) -> str:
    """Take the URL that was given, else that of the running all-in-one, else the usual one.

    Raises:
        BadInput: it is not a base URL.
    """
    running = read_endpoint(folder)
    url = given or (running.base_url if running else DEFAULT_URL)
    if not _is_base_url(url):
        raise BadInput(
            "the gateway's URL must be http://host:port, and no more: check PULSE_GATEWAY_URL or --url"
        )
    return url.rstrip("/")


def order_api_url(given: str | None, folder: Path) -> str:
    """Take the URL that was given, else that of the running all-in-one's order API, else the usual one.

    Raises:
        BadInput: it is not a base URL.
    """
    running = read_endpoint(folder)
    url = given or (running.order_api if running else None) or DEFAULT_ORDER_API
    if not _is_base_url(url):
        raise BadInput(
            "the order API's URL must be http://host:port, perhaps with a path: check PULSE_URL or --pulse-url"
        )
    return url.rstrip("/")


def service_token(given: str | None, folder: Path) -> Callable[[], str]:
    """Take the service token that was given, else that of the state folder.

    Raises:
        BadInput: there is neither.
    """
    if given:
        return given_token(given, "check PULSE_SERVICE_TOKEN")
    secrets = load_secrets(folder)
    if secrets is None:
        raise BadInput(
            "no service token: set PULSE_SERVICE_TOKEN, or start `pulse up`,"
            f" whose secrets would be in {folder}"
        )
    return lambda: secrets.service_token


def token_source(given: str | None, folder: Path) -> Callable[[], str]:
    """Take the token that was given, else make tokens with the secret of the state folder.

    Raises:
        BadInput: there is neither.
    """
    if given:
        return given_token(given)
    secrets = load_secrets(folder)
    if secrets is None:
        raise BadInput(f"no token: set PULSE_TOKEN, or start `pulse up`, whose secrets would be in {folder}")
    return own_tokens(secrets.jwt_secret)


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port, or the brackets of an IPv6 address
        return False
    # A password in it would end up in messages.
    plain = url.isascii() and url.isprintable() and " " not in url
    return good and plain and not parts.query and not parts.fragment and "@" not in parts.netloc

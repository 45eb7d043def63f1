"""Which gateway a command talks to, and as whom."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from pulse.errors import BadInput
from pulse.state import load_secrets, read_endpoint
from pulse.tokens import given_token, own_tokens

DEFAULT_URL = "http://127.0.0.1:8000"


def gateway_url(given: str | None, folder: Path) -> str:
    """Take the URL that was given, else that of the running all-in-one, else the usual one.

    Raises:
        BadInput: it is not a base URL.
    """
    url = given or read_endpoint(folder) or DEFAULT_URL
    if not _is_base_url(url):
        raise BadInput(
            "the gateway's URL must be http://host:port, and no more: check PULSE_GATEWAY_URL or --url"
        )
    return url.rstrip("/")


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

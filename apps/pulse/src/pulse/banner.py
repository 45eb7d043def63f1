"""What `pulse up` prints for a first order, and the hook that it makes for a first alert."""

import shlex
from datetime import timedelta

import msgspec

from pulse.state import Secrets
from pulse.tokens import DEFAULT_CLIENT, DEFAULT_SCOPE, make_token
from pulse_adapters.clock import SystemClock

# What an alert without a split of its own becomes: small enough to be watched.
DEMO_SPLIT = {"num_splits": 6, "duration_minutes": 1}

_TOKEN_LIFE = timedelta(hours=12)


def demo_hooks(secrets: Secrets) -> str:
    """The value of GAPI_WEBHOOK_HOOKS where it is not set."""
    hook = {
        "name": "demo",
        "client_id": "demo",
        "secret": secrets.webhook_secret,
        "default_split": DEMO_SPLIT,
    }
    return msgspec.json.encode([hook]).decode()


def webhook_lines(url: str, secrets: Secrets, *, has_own_hooks: bool) -> str:
    if has_own_hooks:
        return "  webhook    those of GAPI_WEBHOOK_HOOKS"
    return f"""  webhook    {url}/api/webhooks/tradingview/{secrets.webhook_secret}
             an alert without a split becomes 6 slices in 1 minute"""


def first_order(url: str, secrets: Secrets) -> str:
    """A token, a curl that places an order with it, and how to watch that."""
    token = make_token(
        secrets.jwt_secret,
        client=DEFAULT_CLIENT,
        scope=f"{DEFAULT_SCOPE} admin",
        expires_at=SystemClock().now() + _TOKEN_LIFE,
    )
    order = {
        "order_unique_key": "hello-1",
        "instrument": "NSE:TCS",
        "side": "BUY",
        "total_quantity": 120,
        "split_config": {"num_splits": 6, "duration_minutes": 1},
    }
    curl = [
        "curl", "-sS", f"{url}/api/orders",
        "-H", f"Authorization: Bearer {token}",
        "-H", "Content-Type: application/json",
        "-d", msgspec.json.encode(order).decode(),
    ]  # fmt: skip
    return f"""  token of client {DEFAULT_CLIENT}, for 12 hours
  {token}

Place an order of 6 slices in 1 minute:

  {shlex.join(curl)}

and watch it:

  .venv/bin/pulse order list
  .venv/bin/pulse order watch ORDER_ID
"""

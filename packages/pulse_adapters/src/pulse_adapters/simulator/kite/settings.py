"""Who may use the simulator, and what it shows of them."""

from typing import Any

from msgspec import Struct


class KiteApp(Struct, frozen=True, kw_only=True):
    """A developer's app, as registered with the broker.

    postback_url: where order updates are posted to; none are without it.
    """

    api_key: str
    api_secret: str
    app_id: int = 1
    redirect_url: str = "http://127.0.0.1/"
    postback_url: str | None = None

    def __repr__(self) -> str:
        return f"KiteApp({self.app_id})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []  # a Struct of its own would show every field


class KiteSettings(Struct, frozen=True, kw_only=True):
    """`has_limits`: whether requests above the documented rates are refused."""

    app: KiteApp
    user_id: str = "SIM001"
    user_name: str = "Simulated User"
    email: str = "simulated@example.com"
    has_limits: bool = True

"""Who may use the simulator, and how it behaves where the real one has been seen to differ."""

from enum import StrEnum
from typing import Any

from msgspec import Struct


class NeoAccount(Struct, frozen=True, kw_only=True):
    """A customer with an application.

    access_token: of the application. totp_seed: in base32, as an authenticator takes it.
    """

    access_token: str
    mobile_number: str
    ucc: str
    mpin: str
    totp_seed: str

    def __repr__(self) -> str:
        return f"NeoAccount({self.ucc})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []  # a Struct of its own would show every field


class Greeting(StrEnum):
    """The first frame that the order feed acknowledges; to any other it stays open and silent."""

    ANY = "any"
    RAW = "raw"
    JSON = "json"
    NONE = "none"


class NeoSettings(Struct, frozen=True, kw_only=True):
    """static_ips: where orders may come from; without any, from anywhere.
    has_limits: whether requests above the documented rates are refused.
    """

    account: NeoAccount
    name: str = "SIMULATED USER"
    data_center: str = "E21"
    greeting: Greeting = Greeting.ANY
    static_ips: frozenset[str] = frozenset()
    has_limits: bool = True

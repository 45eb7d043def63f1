"""The seam between the adapter and whatever speaks to the broker: the requests that we need, one each."""

from collections.abc import Callable
from typing import Protocol

import httpx
from msgspec import Struct

from pulse_adapters.kotak.settings import ClientKind


class NeoSession(Struct, frozen=True, kw_only=True):
    """What a login gives. base_url: where all calls of this session go. feed_url: of the order feed."""

    token: str
    sid: str
    base_url: str
    feed_url: str

    def __repr__(self) -> str:
        return f"NeoSession(base_url={self.base_url!r})"


class NeoClient(Protocol):
    """One request at each call. What comes back over the wire is for the transport to see; the value here
    counts only where nothing was sent, and then says why."""

    def use(self, session: NeoSession) -> None:
        """Make the following calls in this session."""
        ...

    def place_order(
        self,
        *,
        exchange_segment: str,
        product: str,
        price: str,
        order_type: str,
        quantity: str,
        validity: str,
        trading_symbol: str,
        transaction_type: str,
        trigger_price: str,
        tag: str,
    ) -> object: ...

    def modify_order(
        self,
        *,
        order_id: str,
        price: str,
        order_type: str,
        quantity: str,
        validity: str,
        trigger_price: str,
    ) -> object: ...

    def cancel_order(self, *, order_id: str) -> object: ...

    def order_report(self) -> object: ...

    def trade_report(self) -> object: ...

    def totp_login(self, *, mobile_number: str, ucc: str, totp: str) -> object: ...

    def totp_validate(self, *, mpin: str, view_token: str, view_sid: str) -> object: ...


# By an access token, over a transport.
MakeClient = Callable[[str, httpx.BaseTransport], NeoClient]


def choose_client(kind: ClientKind) -> MakeClient:
    """Load what speaks to the broker; a second or two for the SDK.

    Raises:
        ModuleNotFoundError: the SDK is not installed.
    """
    if kind is ClientKind.REST:
        from pulse_adapters.kotak.rest import RestClient

        return RestClient
    from pulse_adapters.kotak.sdk import SdkClient, load_sdk

    load_sdk()
    return SdkClient

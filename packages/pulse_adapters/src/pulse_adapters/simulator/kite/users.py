"""Who the user is, in the API's words."""

from pulse_adapters.simulator.kite.sessions import Session
from pulse_adapters.simulator.kite.settings import KiteSettings
from pulse_adapters.simulator.kite.wire import (
    BankAccount,
    FullProfile,
    Profile,
    SessionData,
    stamp,
)

EXCHANGES = ["NSE", "BSE", "NFO", "BFO", "CDS", "MCX"]
PRODUCTS = ["CNC", "NRML", "MIS", "CO"]
ORDER_TYPES = ["MARKET", "LIMIT", "SL", "SL-M"]


class Users:
    def __init__(self, settings: KiteSettings) -> None:
        self._settings = settings

    @property
    def _short_name(self) -> str:
        return self._settings.user_name.partition(" ")[0]

    def profile(self) -> Profile:
        return Profile(
            user_id=self._settings.user_id, email=self._settings.email, user_name=self._settings.user_name,
            user_shortname=self._short_name, exchanges=EXCHANGES, products=PRODUCTS, order_types=ORDER_TYPES,
        )  # fmt: skip

    def full_profile(self) -> FullProfile:
        return FullProfile(
            user_id=self._settings.user_id, email=self._settings.email, user_name=self._settings.user_name,
            user_shortname=self._short_name, exchanges=EXCHANGES, products=PRODUCTS, order_types=ORDER_TYPES,
            bank_accounts=[BankAccount("SIMULATED BANK", "", "*0000")], dp_ids=["0000000000000000"],
        )  # fmt: skip

    def session(self, session: Session) -> SessionData:
        # One token is of use; the others are there because the real answer has them.
        return SessionData(
            user_id=self._settings.user_id, email=self._settings.email, user_name=self._settings.user_name,
            user_shortname=self._short_name, exchanges=EXCHANGES, products=PRODUCTS, order_types=ORDER_TYPES,
            api_key=session.api_key, access_token=session.access_token,
            public_token=session.access_token[::-1], enctoken="", login_time=stamp(session.login_at),
        )  # fmt: skip

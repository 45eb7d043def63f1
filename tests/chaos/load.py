"""What the clients of a run ask for: drawn from the seed, before anything happens."""

from enum import StrEnum
from random import Random
from typing import Any

from msgspec import Struct

CLIENTS = ("desk-1", "desk-2", "desk-3")
HOOK_CLIENT = "demo"  # whose orders those of the installation's own hook are

_SHARES = ("NSE:RELIANCE", "NSE:TCS", "NSE:INFY", "NSE:SBIN", "NSE:ITC")
# Prices of these two are held by the run: one is never reached, the other when the run wants it.
RESTING = "NSE:ONGC"
CROSSED = "NSE:WIPRO"
HELD_PRICE, LIMIT_PRICE, CROSSING_PRICE = "500.00", "490.00", "489.00"


class Door(StrEnum):
    API = "API"
    WEBHOOK = "WEBHOOK"


class Wish(Struct, frozen=True, kw_only=True):
    """One order that a client wants.

    at_s: since the load began. age_s: how far back its window began by then.
    copies: so many equal requests at once.
    cancel_after_s, pause_after_s: since it was acknowledged; None: it is not cancelled, or paused.
    is_crossed: the market meets its price while it is being cancelled.
    is_stubborn: a client that asks again where trading is halted, and does not take no for an answer.
    """

    at_s: float
    age_s: float
    client: str
    door: Door
    body: dict[str, Any]
    copies: int = 1
    cancel_after_s: float | None = None
    pause_after_s: float | None = None
    is_crossed: bool = False
    is_stubborn: bool = False

    @property
    def name(self) -> str:
        """What it is known by until it has an order id."""
        return str(self.body.get("order_unique_key", f"alert-{self.body.get('strategy_tag')}"))


class LoadSize(Struct, frozen=True, kw_only=True):
    """How many orders of a kind, over so many seconds; all but `plain` have one slice or few.

    ages_s: how far back windows of a minute begin, so that they end within the run.
    """

    seconds: float
    plain: int
    alerts: int
    resting: int
    crossed: int
    single: int
    slices: tuple[int, int]
    ages_s: tuple[float, float]


def draw_wishes(rng: Random, size: LoadSize) -> list[Wish]:
    """By the time of their coming."""
    kinds = (
        ["plain"] * size.plain + ["alert"] * size.alerts + ["resting"] * size.resting
        + ["crossed"] * size.crossed + ["single"] * size.single
    )  # fmt: skip
    return sorted(
        (_wish(rng, size, kind, number) for number, kind in enumerate(kinds, start=1)),
        key=lambda wish: wish.at_s,
    )


def _wish(rng: Random, size: LoadSize, kind: str, number: int) -> Wish:
    splits = rng.randint(*size.slices) if kind in ("plain", "alert") else 3
    body: dict[str, Any] = {
        "instrument": rng.choice(_SHARES),
        "side": rng.choice(["BUY", "SELL"]),
        "total_quantity": rng.randint(splits * 5, splits * 20),
        "product": "MIS",
        "strategy_tag": f"w{number}",
        "order_unique_key": f"k-{number}",
    }
    cancel_after_s: float | None = None
    if kind in ("resting", "crossed"):
        body |= {
            "instrument": RESTING if kind == "resting" else CROSSED,
            "side": "BUY",
            "order_type": "LIMIT",
            "limit_price": LIMIT_PRICE,
        }
        cancel_after_s = rng.uniform(4, 14)
    elif kind == "plain" and rng.random() < 0.2:
        cancel_after_s = rng.uniform(0, 12)
    if kind != "single":
        body["split_config"] = {"num_splits": splits, "duration_minutes": 1, "randomize": rng.random() < 0.7}
    if kind == "alert" and rng.random() < 0.5:
        del body["order_unique_key"]
    return Wish(
        at_s=rng.uniform(0, size.seconds),
        age_s=rng.uniform(*size.ages_s) if kind != "single" else 0.0,
        client=HOOK_CLIENT if kind == "alert" else rng.choice(CLIENTS),
        door=Door.WEBHOOK if kind == "alert" else Door.API,
        body=body,
        copies=rng.choice([1, 1, 1, 3]),
        cancel_after_s=cancel_after_s,
        pause_after_s=rng.uniform(0, 10) if kind == "plain" and rng.random() < 0.25 else None,
        is_crossed=kind == "crossed",
        is_stubborn=rng.random() < 0.7,
    )

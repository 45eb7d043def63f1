"""How long things take here: drawn anew for each of them, from ranges that the seed has drawn."""

from random import Random

from msgspec import Struct


class Pace(Struct, frozen=True, kw_only=True):
    """Ranges in milliseconds; `speed` divides all delays.

    clock_offset_s: how far the venue's clock is off.
    answer_ms: from a request to its answer.
    validation_ms, sending_ms, exchange_ms: the stages of an order's way.
    """

    clock_offset_s: float
    answer_ms: tuple[float, float]
    validation_ms: tuple[float, float]
    sending_ms: tuple[float, float]
    exchange_ms: tuple[float, float]
    speed: float = 1.0

    def answer_s(self, rng: Random) -> float:
        return rng.uniform(*self.answer_ms) / 1000 / self.speed

    def steps_ms(self, rng: Random) -> tuple[int, int, int]:
        ranges = (self.validation_ms, self.sending_ms, self.exchange_ms)
        first, second, third = (round(rng.uniform(*bounds) / self.speed) for bounds in ranges)
        return first, second, third

    def scaled_s(self, seconds: float) -> float:
        return seconds / self.speed


def draw_pace(rng: Random, speed: float = 1.0) -> Pace:
    """A venue somewhere between near and far, quick and slow."""

    def span(least: float, most: float) -> tuple[float, float]:
        low = rng.uniform(least, most)
        return low, low * rng.uniform(1.5, 3.0)

    return Pace(
        clock_offset_s=rng.uniform(-0.8, 0.8),
        answer_ms=span(2, 20),
        validation_ms=span(2, 20),
        sending_ms=span(2, 20),
        exchange_ms=span(5, 40),
        speed=speed,
    )


INSTANT = Pace(
    clock_offset_s=0.0, answer_ms=(0, 0), validation_ms=(0, 0), sending_ms=(0, 0), exchange_ms=(0, 0)
)

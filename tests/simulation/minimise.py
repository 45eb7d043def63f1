"""Make a failing scenario small: leave out whatever is not needed for it to fail still."""

from collections.abc import Callable

from msgspec.structs import replace

from tests.simulation.scenario import Scenario

_PARTS = ("faults", "halts", "pauses", "cancels", "posts")


def minimise(scenario: Scenario, fails: Callable[[Scenario], bool], tries_max: int = 400) -> Scenario:
    """Drop faults, wishes and orders in ever smaller portions while `fails` holds."""
    tries = 0
    shrunk = True
    while shrunk:
        shrunk = False
        for part in _PARTS:
            size = max(1, len(getattr(scenario, part)) // 2)
            while size:
                start = 0
                while start < len(getattr(scenario, part)):
                    items = getattr(scenario, part)
                    smaller = _without(scenario, part, items[:start] + items[start + size :])
                    tries += 1
                    if tries > tries_max:
                        return scenario
                    if fails(smaller):
                        scenario, shrunk = smaller, True
                    else:
                        start += size
                size //= 2
    return scenario


def _without(scenario: Scenario, part: str, items: tuple[object, ...]) -> Scenario:
    smaller = replace(scenario, **{part: items})
    if part == "posts":
        names = {post.name for post in smaller.posts}
        smaller = replace(
            smaller,
            cancels=tuple(cancel for cancel in smaller.cancels if cancel.name in names),
            pauses=tuple(pause for pause in smaller.pauses if pause.name in names),
        )
    return smaller

"""What a person reads of a failure: the scenario that is left, and the lives of the orders that went wrong."""

from datetime import datetime
from typing import Any

from msgspec.structs import asdict

from pulse_domain.orders import events as ev
from tests.simulation.invariants import stored_orders, violations
from tests.simulation.world import DAY, World

_ORDERS_MAX = 2


def timeline(world: World) -> str:
    """Violations, scenario, and in the order of time what concerns the orders that are in them."""
    found, scenario = violations(world), world.scenario
    lines = [f"seed {scenario.seed}: {len(found)} violations", *(f"  {violation}" for violation in found[:10])]
    lines.append(f"left of the scenario ({scenario.workers} workers, {scenario.apis} order APIs):")
    parts = (*scenario.posts, *scenario.cancels, *scenario.halts, *scenario.pauses, *scenario.faults)
    lines += [f"  {type(part).__name__} {_fields(asdict(part))}" for part in parts]
    lines.append("timeline (seconds from the beginning of the day):")
    concerned = list(dict.fromkeys(violation.order_id for violation in found if violation.order_id))[
        :_ORDERS_MAX
    ]
    tagged = {violation.tag for violation in found if violation.tag}
    events: list[tuple[float, str]] = []
    for when, *what in world.trace:
        # Steps are told by the journal; here are the lives of processes and the wishes of clients.
        if not (len(what) == 2 and str(what[1]).startswith("store.")):
            events.append((when, " ".join(map(str, what))))
    for stored in stored_orders(world):
        if stored.order.order_id not in concerned:
            continue
        tags = {(e.seq, e.chunk): e.tag for e in stored.executions}
        for entry in stored.journal:
            event = entry.event
            tag = tags.get((event.seq, event.chunk), "") if isinstance(event, ev.ExecutionEvent) else ""
            if tagged and tag and tag not in tagged:
                continue
            text = f"journal {stored.order.order_id[-6:]}#{entry.seq} {_event(event)} {tag}"
            events.append((_seconds(entry.at), text))
        mine = set(tags.values()) & (tagged or set(tags.values()))
        events += [
            (send.at, f"socket {send.sender} writes {send.tag}, held up {send.stalled_s:.3f} s")
            for send in world.exchange.sends
            if send.tag in mine
        ]
        for row in world.exchange.rows.values():
            if row.ticket.tag in mine:
                text = f"exchange has {row.ticket.tag} as {row.broker_order_id}, {row.ticket.quantity} units"
                events.append((row.arrived_at, text))
                events += [
                    (
                        _seconds(fill.at),
                        f"exchange {row.broker_order_id} trades {fill.quantity} ({fill.trade_id})",
                    )
                    for fill in row.fills
                ]
    lines += [f"{when:12.3f}  {text}" for when, text in sorted(events, key=lambda event: event[0])]
    return "\n".join(lines)


def _seconds(instant: datetime) -> float:
    return (instant - DAY).total_seconds()


def _event(event: Any) -> str:
    if isinstance(event, ev.SplitSaved):
        return f"SplitSaved {len(event.slices)} slices, attempt {event.attempt}"
    return f"{type(event).__name__} {_fields(asdict(event))}"


def _fields(fields: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        return f"{_seconds(value):.3f}" if isinstance(value, datetime) else str(value)

    return " ".join(f"{name}={text(value)}" for name, value in fields.items() if value not in (None, "", ()))

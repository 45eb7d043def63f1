"""`pulse up --strategy KIND[:INSTRUMENT,...]`: strategies that are to run from the beginning."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from pulse.errors import BadInput
from pulse_domain.errors import InvalidInstrument, InvalidSettings
from pulse_domain.instruments import Instrument
from pulse_domain.ports.audit_log import AuditLog
from pulse_domain.ports.strategy_store import StrategyMode, StrategyStore
from pulse_domain.strategies import STRATEGIES, make_strategy
from pulse_domain.use_cases.strategies import Asker, ManageStrategies, StrategyAsk, shipped_only

_BY = Asker(channel="cli", actor="pulse-up")
_USUAL = Instrument.parse("NSE:TCS")


class WishedStrategy(Struct, frozen=True, kw_only=True):
    """instruments: empty for those of the feed."""

    kind: str
    instruments: tuple[Instrument, ...]
    parameters: Mapping[str, str]


def read_wishes(texts: Iterable[str], parameters: Mapping[str, str]) -> tuple[WishedStrategy, ...]:
    """Read `macd` or `macd:NSE:TCS,NSE:INFY`.

    parameters: of the one strategy that is wished for.

    Raises:
        BadInput: a text cannot be read, there is no such kind, or a parameter is wrong.
    """
    wishes = tuple(_read(text, parameters) for text in texts)
    kinds = [wish.kind for wish in wishes]
    if len(set(kinds)) < len(kinds):
        raise BadInput("--strategy names a kind twice: give one its instruments, separated by commas")
    if parameters and len(wishes) != 1:
        raise BadInput("--param goes with one --strategy")
    return wishes


def _read(text: str, parameters: Mapping[str, str]) -> WishedStrategy:
    kind, _, rest = text.partition(":")
    if kind not in STRATEGIES:
        raise BadInput(f"--strategy must be one of {', '.join(STRATEGIES)}, or such as macd:NSE:TCS")
    try:
        instruments = tuple(Instrument.parse(word.strip()) for word in rest.split(",") if rest)
        make_strategy(kind, instruments, parameters)
    except (InvalidInstrument, InvalidSettings) as error:
        raise BadInput(f"--strategy {text}: {error.message}") from None
    return WishedStrategy(kind=kind, instruments=instruments, parameters=parameters)


async def run_wishes(
    wishes: Sequence[WishedStrategy], feed: str, store: StrategyStore, audit: AuditLog
) -> None:
    """Have the strategies run, each under the name of its kind; one that is there already stays as it is.

    Raises:
        InvalidStrategy, StorageUnavailable.
    """
    manage = ManageStrategies(store, audit, shipped_only)
    known = {row.plan.name for row in await store.rows()} if wishes else set()
    for wish in wishes:
        if wish.kind not in known:
            ask = StrategyAsk(
                name=wish.kind,
                kind=wish.kind,
                instruments=wish.instruments or _of_feed(feed),
                parameters=wish.parameters,
                # Orders of `pulse up` end at a virtual exchange, so all of the way is worth seeing.
                mode=StrategyMode.LIVE,
            )
            await manage.put(ask, _BY)
        await manage.start(wish.kind, _BY)


def _of_feed(feed: str) -> tuple[Instrument, ...]:
    from pulse_adapters.feeds.spec import ReplaySpec, parse_market_feed

    spec = parse_market_feed(feed)
    named = tuple(spec.files) if isinstance(spec, ReplaySpec) else ()
    return named or (_USUAL,)

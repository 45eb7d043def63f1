"""A feed in one line of text."""

from pathlib import Path

import pytest

from pulse_adapters.feeds.errors import FeedFileError, FeedSpecError
from pulse_adapters.feeds.replay import ReplayFeed
from pulse_adapters.feeds.replay_feed import ReplayMarketFeed
from pulse_adapters.feeds.spec import (
    LiveSpec,
    ReplaySpec,
    SyntheticSpec,
    open_feed,
    open_market_feed,
    parse_feed,
    parse_market_feed,
)
from pulse_adapters.feeds.synthetic import SyntheticFeed
from pulse_adapters.feeds.synthetic_feed import SyntheticMarketFeed
from pulse_domain.instruments import Instrument
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_feed import InMemoryFeed

TCS = Instrument.parse("NSE:TCS")
NIFTY = Instrument.parse("NFO:NIFTY26NOVFUT")


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("synthetic", SyntheticSpec()),
        (" synthetic:42 ", SyntheticSpec(42)),
        ("replay:day.csv", ReplaySpec({}, Path("day.csv"))),
        ("replay:/data/a=b.csv", ReplaySpec({}, Path("/data/a=b.csv"))),
        ("replay:NSE:TCS=tcs.csv.gz", ReplaySpec({TCS: Path("tcs.csv.gz")})),
        (
            "replay:NSE:TCS=tcs.csv, NFO:NIFTY26NOVFUT=/x/nifty.csv,rest.csv",
            ReplaySpec({TCS: Path("tcs.csv"), NIFTY: Path("/x/nifty.csv")}, Path("rest.csv")),
        ),
    ],
)
def test_feeds_are_read(text, spec):
    assert parse_feed(text) == spec


@pytest.mark.parametrize(
    "text",
    [
        "", "live", "synthetic:abc", "synthetic:1.5", "replay", "replay:", "replay:a.csv,b.csv",
        "replay:a.csv,", "replay:NSE:TCS=", "replay:NSE:TCS=a.csv,NSE:TCS=b.csv", "replay:LSE:TCS=a.csv",
        "replay:NSE:tcs=a.csv",
    ],
)  # fmt: skip
def test_other_text_is_refused(text):
    with pytest.raises(FeedSpecError):
        parse_feed(text)


def test_feed_is_opened(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("timestamp,price\n2026-01-05T09:15:00+05:30,100\n")

    assert isinstance(open_feed(parse_feed("synthetic"), FakeClock()), SyntheticFeed)
    assert isinstance(open_feed(parse_feed(f"replay:{path},NSE:TCS={path}"), FakeClock()), ReplayFeed)
    with pytest.raises(FeedFileError):
        open_feed(parse_feed("replay:absent.csv"), FakeClock())


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("zerodha", LiveSpec("zerodha")),
        (" kotak ", LiveSpec("kotak")),
        ("synthetic:7", SyntheticSpec(7)),
        ("replay:day.csv", ReplaySpec({}, Path("day.csv"))),
    ],
)
def test_market_feeds_are_read(text, spec):
    assert parse_market_feed(text) == spec


@pytest.mark.parametrize("text", ["", "live", "zerodha:7", "ZERODHA", "synthetic:abc", "replay:"])
def test_other_text_is_no_market_feed(text):
    with pytest.raises(FeedSpecError) as refused:
        parse_market_feed(text)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["zerodha", "kotak"])
def test_brokers_have_no_quotes_to_ask_for(text):
    with pytest.raises(FeedSpecError):
        parse_feed(text)


def test_market_feed_is_opened(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("timestamp,price\n2026-01-05T09:15:00+05:30,100\n")
    clock, live = FakeClock(), InMemoryFeed()

    assert isinstance(open_market_feed(parse_market_feed("synthetic"), clock), SyntheticMarketFeed)
    replay = open_market_feed(parse_market_feed(f"replay:{path}"), clock, speed=60)
    assert isinstance(replay, ReplayMarketFeed)
    assert open_market_feed(LiveSpec("kotak"), clock, live={"kotak": lambda: live}) is live
    with pytest.raises(FeedFileError):
        open_market_feed(parse_market_feed("replay:absent.csv"), clock)
    with pytest.raises(FeedSpecError, match="the speed must be above 0"):
        open_market_feed(parse_market_feed(f"replay:{path}"), clock, speed=0)
    with pytest.raises(FeedSpecError, match="the feed of zerodha needs its broker's settings"):
        open_market_feed(LiveSpec("zerodha"), clock)

"""A feed in one line of text."""

from pathlib import Path

import pytest

from pulse_adapters.feeds.errors import FeedFileError, FeedSpecError
from pulse_adapters.feeds.replay import ReplayFeed
from pulse_adapters.feeds.spec import ReplaySpec, SyntheticSpec, open_feed, parse_feed
from pulse_adapters.feeds.synthetic import SyntheticFeed
from pulse_domain.instruments import Instrument
from pulse_domain.testing.fake_clock import FakeClock

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

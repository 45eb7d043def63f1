"""Feed files: what is wrong with one is said with its row."""

import gzip
from pathlib import Path

import pytest

from pulse_adapters.feeds.errors import FeedFileError
from pulse_adapters.feeds.files import read_feed_file
from pulse_adapters.feeds.recordings import FeedFile

CANDLES = "timestamp,open,high,low,close,volume\n"
GOOD = "2026-01-05T09:15:00+05:30,100,101,99,100.5,500\n"
NEXT = "2026-01-05T09:16:00+05:30,100.5,102,100,101,700\n"
TICKS = "timestamp,symbol,price,volume\n"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_candles_are_read_in_ten_thousandths(tmp_path):
    rows = read_feed_file(written(tmp_path / "a.csv", CANDLES + GOOD + NEXT))

    assert [candle[1:] for candle in rows.candles] == [
        (1_000_000, 1_010_000, 990_000, 1_005_000, 500),
        (1_005_000, 1_020_000, 1_000_000, 1_010_000, 700),
    ]
    assert rows.ticks == []


@pytest.mark.parametrize("name", ["a.csv.gz", "A.CSV.GZ"])
def test_gzip_columns_in_any_order_and_blank_lines(tmp_path, name):
    path = tmp_path / name
    text = (
        "\ufeffVolume, low,timestamp,open,high,close,oi\n\n500,99,2026-01-05T09:15:00+05:30,100,101,100.5,7\n\n"
    )
    path.write_bytes(gzip.compress(text.encode()))

    assert read_feed_file(path).candles[0][1:] == (1_000_000, 1_010_000, 990_000, 1_005_000, 500)


def test_digits_that_floats_leave_behind_mean_nothing(tmp_path):
    text = CANDLES + "2026-01-05T09:15:00+05:30,100.05000000000001,101,99,100.49999999999999,0\n"

    assert read_feed_file(written(tmp_path / "a.csv", text)).candles[0][1:5] == (
        1_000_500, 1_010_000, 990_000, 1_005_000,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (GOOD, "is there twice"),
        ("2026-01-05T09:14:00+05:30,100,101,99,100,5\n", "earlier than the row before"),
        ("2026-01-05T09:16:00,100,101,99,100,5\n", "no UTC offset"),
        ("yesterday,100,101,99,100,5\n", "yesterday"),
        ("2026-01-05T09:16:00+05:30,100,99,101,100,5\n", "high 99 is below low 101"),
        ("2026-01-05T09:16:00+05:30,102,101,99,100,5\n", "outside 99 to 101"),
        ("2026-01-05T09:16:00+05:30,100,101,99,98,5\n", "outside 99 to 101"),
        ("2026-01-05T09:16:00+05:30,NaN,101,99,100,5\n", "open is NaN"),
        ("2026-01-05T09:16:00+05:30,100,inf,99,100,5\n", "high is inf"),
        ("2026-01-05T09:16:00+05:30,100,101,0,100,5\n", "low 0 is not a price"),
        ("2026-01-05T09:16:00+05:30,100,101,-99,100,5\n", "low -99 is not a price"),
        ("2026-01-05T09:16:00+05:30,100,1e999999999,99,100,5\n", "is not a price"),
        ("2026-01-05T09:16:00+05:30,,101,99,100,5\n", "open '' is not a number"),
        ("2026-01-05T09:16:00+05:30,100,101,99,100,nan\n", "volume is nan"),
        ("2026-01-05T09:16:00+05:30,100,101,99,100,-5\n", "volume -5"),
        ("2026-01-05T09:16:00+05:30,100,101,99,100,0.5\n", "volume 0.5"),
        ("2026-01-05T09:16:00+05:30,100,101\n", "3 cells for 6 columns"),
    ],
)
def test_defective_candle_is_named_by_its_row(tmp_path, row, problem):
    path = written(tmp_path / "a.csv", CANDLES + GOOD + row + NEXT)

    with pytest.raises(FeedFileError, match="row 3: ") as caught:
        read_feed_file(path)

    assert problem in caught.value.problem
    assert (caught.value.path, caught.value.row) == (path, 3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        (CANDLES, "a header and nothing more"),
        ("timestamp,open,high,low,volume\n" + GOOD, "column close is missing"),
        ("symbol,price\nA,1\n", "column timestamp is missing"),
        (GOOD, "column timestamp is missing"),
    ],
)
def test_file_without_rows_or_columns(tmp_path, text, problem):
    with pytest.raises(FeedFileError, match=problem):
        read_feed_file(written(tmp_path / "a.csv", text))


def test_unreadable_files(tmp_path):
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress((CANDLES + GOOD).encode())[:-9])
    (tmp_path / "plain.csv.gz").write_text(CANDLES + GOOD)
    (tmp_path / "latin.csv").write_bytes(CANDLES.encode() + b"\xff\xfe")
    (tmp_path / "folder.csv").mkdir()

    for name in ("cut.csv.gz", "plain.csv.gz", "latin.csv", "folder.csv", "absent.csv"):
        with pytest.raises(FeedFileError, match=name):
            read_feed_file(tmp_path / name)


def test_parquet_is_not_played(tmp_path):
    with pytest.raises(FeedFileError, match=r"a\.parquet: Parquet is not played"):
        read_feed_file(written(tmp_path / "a.parquet", "PAR1"))


def test_ticks_keep_their_order_of_arrival(tmp_path):
    text = TICKS + (
        "2026-01-05T09:15:02+05:30,A,100,10\n"
        "2026-01-05T09:15:01+05:30,B,200,20\n"
        "2026-01-05T09:15:02+05:30,A,100,10\n"
    )

    ticks = read_feed_file(written(tmp_path / "a.csv", text)).ticks

    assert [(tick.symbol, tick.at.second) for tick in ticks] == [("A", 2), ("B", 1), ("A", 2)]


@pytest.mark.parametrize(
    ("cells", "bid", "ask"),
    [("99,101", 99, 101), ("101,99", 99, 101), ("0,101", 0, 101), (",", 0, 0), ("99,0.0", 99, 0)],
)
def test_quotes_of_ticks(tmp_path, cells, bid, ask):
    text = f"timestamp,price,quote_a_price,quote_b_price\n2026-01-05T09:15:02+05:30,100,{cells}\n"

    tick = read_feed_file(written(tmp_path / "a.csv", text)).ticks[0]

    assert (tick.bid, tick.ask) == (bid * 10_000, ask * 10_000)


@pytest.mark.parametrize(("cells", "bid", "ask"), [("0,101", 100, 101), (",", 100, 100), ("99,0.0", 99, 100)])
def test_the_price_stands_for_a_quote_that_is_not_told(tmp_path, cells, bid, ask):
    text = f"timestamp,price,quote_a_price,quote_b_price\n2026-01-05T09:15:02+05:30,100,{cells}\n"

    recording = FeedFile(written(tmp_path / "a.csv", text)).recordings[""]
    moment = recording.moment(0)

    assert (moment.bid * recording.tick_size, moment.ask * recording.tick_size) == (bid, ask)


@pytest.mark.parametrize("row", ["2026-01-05T09:15:02+05:30,A,nan,0\n", "2026-01-05T09:15:02,A,100,0\n"])
def test_defective_tick_is_named_by_its_row(tmp_path, row):
    path = written(tmp_path / "a.csv", TICKS + row)

    with pytest.raises(FeedFileError, match="row 2: "):
        read_feed_file(path)

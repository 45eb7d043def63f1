import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pulse import output
from pulse.cli import main

IT = "split --quantity 10000 --minutes 60"
CANDLES = "timestamp,open,high,low,close,volume\n" + "".join(
    f"2026-01-05T09:{15 + place}:00+05:30,10,11,9,10,{volume}\n"
    for place, volume in enumerate([400, 300, 200, 100])
)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with files of volume."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "candles.csv").write_text(CANDLES)
    (tmp_path / "candles.csv.gz").write_bytes(gzip.compress(CANDLES.encode()))
    (tmp_path / "times.csv").write_text("time,volume\n09:15,400\n09:16,300.0\n\n09:17,200\n09:18:00,100\n")
    for name, text in {
        "empty": "", "header": "time,volume\n", "zero": "time,volume\n09:15,0\n09:16,0\n",
        "words": "time,volume\n09:15,100\nnoon,100\n", "minus": "time,volume\n09:15,-1\n",
        "short": "time,volume\n09:15\n", "offset": "time,volume\n09:15+05:30,100\n",
        "columns": "when,how_much\n1,2\n", "ticks": "timestamp,price\n2026-01-05T09:15:00+05:30,10\n",
        "twice": CANDLES + CANDLES.splitlines()[-1] + "\n", "nan": CANDLES.replace("300", "nan"),
    }.items():  # fmt: skip
        (tmp_path / f"{name}.csv").write_text(text)
    (tmp_path / "broken.csv.gz").write_bytes(b"no gzip")
    return tmp_path


def split(line: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main([*line.split(), "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def quantities(answer: dict[str, Any]) -> list[int]:
    return [it["quantity"] for it in answer["slices"]]


@pytest.mark.parametrize(
    "line",
    [
        f"{IT} --splits 12",
        f"{IT} --splits 12 --schedule TWAP --seed 7",
        f"{IT} --splits 12 --no-randomize --start 2026-01-05T09:15:00+05:30",
        f"{IT} --splits 3 --schedule vwap --curve candles.csv",
        f"{IT} --splits 3 --curve candles.csv.gz",
        f"{IT} --splits 3 --curve times.csv",
        f"{IT} --schedule weights --weights 1,2.5,3",
        f"{IT} --weights 1,2,3 --splits 3",
        "split --quantity 75 --splits 1 --minutes 1 --lot 75",
    ],
)
@pytest.mark.usefixtures("history")
def test_any_schedule_is_shown_as_a_table_and_a_sparkline(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 0

    said = capsys.readouterr()
    head, *rows = said.out.splitlines()
    assert said.err == ""
    assert {"#", "quantity", "orders", "cumulative"} <= set(head.split())
    number = rows.index("") - 1
    assert rows[number].endswith("100.00 %")
    assert len(rows[-2]) == number
    assert set(rows[-2]) <= set("▁▂▃▄▅▆▇█")
    assert f"in {number} slice" in rows[-1]


def test_a_schedule_as_json_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    answer = split(
        "split --quantity 6000 --splits 3 --minutes 60 --lot 75 --freeze 1800 --no-randomize "
        "--start 2026-01-05T09:15:00+05:30",
        capsys,
    )

    slices = answer.pop("slices")
    assert answer == {
        "schedule": "twap", "total_quantity": 6000, "lot_size": 75, "freeze_quantity": 1800,
        "starts_at": "2026-01-05T09:15:00+05:30", "ends_at": "2026-01-05T10:15:00+05:30",
        "duration_minutes": 60, "seed": None,
    }  # fmt: skip
    assert slices[1] == {
        "seq": 2, "offset_us": 1_800_000_000, "scheduled_at": "2026-01-05T09:45:00+05:30",
        "quantity": 2025, "chunks": [1800, 225], "cumulative_quantity": 3975, "cumulative_percent": "66.25",
    }  # fmt: skip


def test_the_same_seed_gives_the_same_schedule_and_a_drawn_one_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    drawn = split(f"{IT} --splits 12", capsys)

    assert split(f"{IT} --splits 12 --seed {drawn['seed']}", capsys) == drawn
    assert split(f"{IT} --splits 12 --seed 1", capsys) != split(f"{IT} --splits 12 --seed 2", capsys)


@pytest.mark.parametrize("name", ["candles.csv", "candles.csv.gz", "times.csv"])
@pytest.mark.usefixtures("history")
def test_a_curve_begins_where_the_window_does_unless_told(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"split --quantity 1000 --minutes 4 --no-randomize --curve {name}"

    assert quantities(split(f"{line} --splits 4", capsys)) == [400, 300, 200, 100]
    later = split(f"{line} --splits 2 --start 2026-01-07T03:47:00Z", capsys)
    assert quantities(later) == [667, 333]
    assert later["slices"][0]["scheduled_at"] == "2026-01-07T03:47:00Z"


def test_weights_decide_the_number_of_slices(capsys: pytest.CaptureFixture[str]) -> None:
    assert quantities(split("split --quantity 600 --minutes 5 --weights 1,2,3", capsys)) == [100, 200, 300]


def test_sessions_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    answer = split(
        "split --quantity 300 --splits 3 --minutes 60 --no-randomize --start 2026-01-05T09:00:00+05:30 "
        "--session 2026-01-05T09:15:00+05:30/2026-01-05T09:30:00+05:30 "
        "--session 2026-01-05T09:45:00+05:30/2026-01-05T15:30:00+05:30",
        capsys,
    )

    at = [it["scheduled_at"][11:19] for it in answer["slices"]]
    assert at == ["09:15:00", "09:45:00", "10:00:00"]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("split", "--quantity"),
        ("split --quantity 0 --splits 2 --minutes 1", "--quantity"),
        ("split --quantity 1.5 --splits 2 --minutes 1", "--quantity"),
        ("split --quantity 10 --splits 0 --minutes 1", "--splits"),
        ("split --quantity 10 --splits 2 --minutes 1441", "--minutes"),
        ("split --quantity 10 --minutes 1", "--splits"),
        ("split --quantity 7 --splits 10 --minutes 1", "at most 7 slices"),
        ("split --quantity 100 --splits 1 --minutes 1 --lot 75", "lot size 75"),
        ("split --quantity 750 --splits 2 --minutes 1 --lot 75 --freeze 74", "freeze quantity 74"),
        (f"{IT} --splits 2 --schedule pov", "--schedule"),
        (f"{IT} --splits 2 --schedule vwap", "--curve"),
        (f"{IT} --schedule weights", "--weights"),
        (f"{IT} --weights 1,two", "--weights"),
        (f"{IT} --weights 1,-2", "--weights"),
        (f"{IT} --weights 1,nan", "--weights"),
        (f"{IT} --weights 1,1e9", "--weights"),
        (f"{IT} --weights ,", "--weights"),
        (f"{IT} --weights {'1,' * 100}1", "at most 100"),
        (f"{IT} --weights 1,0", "weight 2"),
        (f"{IT} --weights 1,2 --splits 3", "2 weights"),
        (f"{IT} --weights 1,2 --schedule twap", "--weights"),
        (f"{IT} --splits 2 --schedule twap --curve candles.csv", "--curve"),
        (f"{IT} --splits 2 --seed 1 --no-randomize", "--seed"),
        (f"{IT} --splits 2 --start noon", "--start"),
        (f"{IT} --splits 2 --start 2026-01-05T09:15:00", "offset from UTC"),
        (f"{IT} --splits 2 --start 9999-12-31T23:30:00+00:00", "calendar"),
        (f"{IT} --splits 2 --start 0001-01-01T00:00:00+05:30", "calendar"),
        (f"{IT} --splits 2 --session 09:15/15:30", "--session"),
        (f"{IT} --splits 2 --start 2026-01-05T09:15:00Z --session 09:15", "--session"),
        (
            f"{IT} --splits 2 --start 2026-01-05T09:15:00Z --session 2026-01-06T09:15:00Z/2026-01-06T15:30:00Z",
            "no session is open",
        ),
        (f"{IT} --splits 2 --curve nowhere.csv", "nowhere.csv"),
        (f"{IT} --splits 2 --curve .", "cannot be read"),
        (f"{IT} --splits 2 --curve broken.csv.gz", "cannot be read"),
        (f"{IT} --splits 2 --curve empty.csv", "empty"),
        (f"{IT} --splits 2 --curve header.csv", "two times of day"),
        (f"{IT} --splits 2 --curve zero.csv", "no volume"),
        (f"{IT} --splits 2 --curve words.csv", "row 3"),
        (f"{IT} --splits 2 --curve minus.csv", "row 2"),
        (f"{IT} --splits 2 --curve short.csv", "row 2"),
        (f"{IT} --splits 2 --curve offset.csv", "row 2"),
        (f"{IT} --splits 2 --curve columns.csv", "column"),
        (f"{IT} --splits 2 --curve ticks.csv", "ticks"),
        (f"{IT} --splits 2 --curve twice.csv", "twice"),
        (f"{IT} --splits 2 --curve nan.csv", "nan"),
        (f"{IT} --splits 2 --curve times.csv --start 2026-01-05T12:00:00+05:30", "no volume"),
    ],
)
@pytest.mark.usefixtures("history")
def test_a_schedule_that_cannot_be_is_one_line_and_code_2(
    line: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert named in said.err


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([], ""), ([5], "█"), ([1, 2, 3, 4, 5, 6, 7, 8], "▁▂▃▄▅▆▇█"), ([1, 1000], "▁█"), ([75, 75], "██")],
)
def test_sparkline_goes_from_zero_to_the_largest(values: list[int], drawn: str) -> None:
    assert output.sparkline(values) == drawn


def test_percent_is_100_only_for_the_whole() -> None:
    assert [str(output.percent(part, 100_000)) for part in (1, 33_333, 99_999, 100_000)] == [
        "0.00", "33.33", "99.99", "100.00",
    ]  # fmt: skip


def test_offset_shows_milliseconds() -> None:
    assert output.offset(0) == "+00:00:00.000"
    assert output.offset(86_399_999_999) == "+23:59:59.999"

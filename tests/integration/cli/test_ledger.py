"""`pulse positions` and `pulse ledger` as a user runs them."""

import csv
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from pulse.ledger_csv import COLUMNS
from tests.integration.cli.conftest import Run, error_line
from tests.integration.cli.fake_gateway import FakeGateway

RESULT = {"realised": "40.00", "unrealised": None, "charges": "1.25", "net": None}
POSITION = RESULT | {
    "strategy_tag": "macd", "instrument": "NSE:TCS", "product": "MIS", "quantity": -10,
    "average_price": "3000.1250", "last_price": "3001", "price_at": "2026-01-05T04:00:00Z", "price_age_s": 75.2,
    "price_stale": True, "traded_at": "2026-01-05T04:00:00Z", "provisional": False,
}  # fmt: skip
POSITIONS = {
    "at": "2026-01-05T04:00:00Z", "positions": [POSITION],
    "strategies": [RESULT | {"strategy_tag": "macd"}], "total": RESULT, "today": RESULT | {"net": "-7.50"},
}  # fmt: skip


def row(number: int, **over: Any) -> dict[str, Any]:
    return {
        "internal_id": "6b8f2f0e-0000-8000-8000-000000000001",
        "execution_id": f"exe_01kfa8r4gve9t9m3sx6y1c0d5e_{number}_0",
        "order_id": "ord_01kfa8r4gve9t9m3sx6y1c0d5e",
        "exchange_id": "240105000000001",
        "strategy_tag": "macd",
        "instrument": "NSE:TCS",
        "side": "BUY",
        "product": "MIS",
        "order_type": "MARKET",
        "source": "api",
        "tag": "PU00000000000000TAG1",
        "status": "TRADED",
        "execution_status": "FILLED",
        "quantity": 10,
        "filled_quantity": 10,
        "average_price": "3000.1250",
        "due_at": "2026-01-05T04:00:00Z",
        "reason_code": None,
        "reason": None,
        "metadata": {},
    } | over


def answers(gateway: FakeGateway, *bodies: Any) -> None:
    gateway.faults.extend(json.dumps(body).encode() for body in bodies)


def asked(gateway: FakeGateway) -> list[tuple[str, dict[str, str]]]:
    return [
        (request["path"], {name: value[0] for name, value in parse_qs(request["query"]).items()})
        for request in gateway.requests
    ]


def read(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.read_bytes().decode(), newline="")))


def test_positions_are_a_table_of_positions_and_one_of_results(pulse: Run, gateway: FakeGateway) -> None:
    answers(gateway, POSITIONS)

    done = pulse("positions --strategy macd --closed")

    assert (done.returncode, done.stderr) == (0, "")
    assert asked(gateway) == [("/api/positions", {"strategy_tag": "macd", "closed": "true"})]
    lines = [line.split() for line in done.stdout.splitlines() if line]
    assert lines[2][:9] == ["macd", "NSE:TCS", "MIS", "-10", "3000.125", "3001.00", "75", "s", "!"]
    assert lines[2][9:] == ["40.00", "-", "1.25", "-"]
    assert ["today", "40.00", "-", "1.25", "-7.50"] in lines


def test_without_positions_there_are_results_all_the_same(pulse: Run, gateway: FakeGateway) -> None:
    answers(gateway, POSITIONS | {"positions": [], "strategies": []})

    done = pulse("positions")

    assert done.returncode == 0
    assert asked(gateway) == [("/api/positions", {})]
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == ["all", "today"]


def test_json_is_the_answer(pulse: Run, gateway: FakeGateway) -> None:
    answers(gateway, POSITIONS, {"rows": [row(1)], "next_cursor": None})

    assert json.loads(pulse("positions --json").stdout) == POSITIONS
    assert json.loads(pulse("ledger --json").stdout) == {"rows": [row(1)], "next_cursor": None}


def test_the_ledger_is_a_table_with_what_comes_next(pulse: Run, gateway: FakeGateway) -> None:
    refused = row(
        2, status="REJECTED", reason_code="MARGIN", reason="no\x1b[31m funds\nat all", exchange_id=None
    )
    answers(gateway, {"rows": [refused, row(1)], "next_cursor": "exe_x_1_0"})

    done = pulse("ledger --day 2026-01-05 --strategy macd --instrument NSE:TCS --status traded --limit 2")

    assert (done.returncode, done.stderr) == (0, "")
    assert asked(gateway) == [
        (
            "/api/ledger",
            {
                "day": "2026-01-05", "strategy_tag": "macd", "instrument": "NSE:TCS", "status": "TRADED",
                "limit": "2",
            },
        )
    ]  # fmt: skip
    assert "MARGIN no\ufffd[31m funds at all" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stdout.splitlines()[-1] == "more: the same with --cursor exe_x_1_0"


def test_no_rows_are_told_as_such(pulse: Run, gateway: FakeGateway) -> None:
    answers(gateway, {"rows": [], "next_cursor": None})

    assert pulse("ledger").stdout == "no rows\n"


def test_csv_has_the_rows_of_all_pages(pulse: Run, gateway: FakeGateway, tmp_path: Path) -> None:
    answers(gateway, {"rows": [row(3), row(2)], "next_cursor": "c-2"}, {"rows": [row(1)], "next_cursor": None})
    file = tmp_path / "ledger.csv"

    done = pulse(f"ledger --day 2026-01-05 --csv {file}")

    assert (done.returncode, done.stdout) == (0, f"3 rows in {file}\n")
    assert asked(gateway) == [
        ("/api/ledger", {"day": "2026-01-05", "limit": "200"}),
        ("/api/ledger", {"day": "2026-01-05", "limit": "200", "cursor": "c-2"}),
    ]
    rows = read(file)
    assert [each["execution_id"][-3:] for each in rows] == ["3_0", "2_0", "1_0"]
    assert tuple(rows[0]) == COLUMNS
    assert (rows[0]["due_at"], rows[0]["average_price"], rows[0]["reason"]) == (
        "2026-01-05T04:00:00+00:00", "3000.1250", "",
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠A"],
)
def test_no_text_becomes_a_formula(pulse: Run, gateway: FakeGateway, text: str) -> None:
    told = row(1, reason=text, strategy_tag="-x", quantity=-5, exchange_id="+9")
    answers(gateway, {"rows": [told], "next_cursor": None})

    done = pulse("ledger --csv -")

    # The pipe is read as text, in which every end of a line is the same.
    [cells] = csv.DictReader(io.StringIO(done.stdout, newline=""))
    assert cells["reason"] == f"'{text}".replace("\r", "\n")
    assert (cells["strategy_tag"], cells["exchange_id"], cells["quantity"]) == ("'-x", "'+9", "-5")


def test_quotes_commas_and_lines_are_kept(pulse: Run, gateway: FakeGateway, tmp_path: Path) -> None:
    text = 'says "no, never"\nand, ₹ 12 short;\r\n'
    answers(gateway, {"rows": [row(1, reason=text)], "next_cursor": None})
    file = tmp_path / "ledger.csv"

    assert pulse(f"ledger --csv {file}").returncode == 0

    [told] = read(file)
    assert told["reason"] == text


def test_a_file_is_there_whole_or_not_at_all(pulse: Run, gateway: FakeGateway, tmp_path: Path) -> None:
    file = tmp_path / "ledger.csv"
    file.write_text("before")
    refused = pulse(f"ledger --csv {file}")
    answers(gateway, {"rows": [row(1)], "next_cursor": "c-1"})
    gateway.faults.append(500)

    failed = pulse(f"ledger --csv {file} --force")

    assert refused.returncode == 2
    assert error_line(refused) == f"{file} exists already: --force replaces it"
    assert failed.returncode == 1
    assert error_line(failed).startswith("INTERNAL_ERROR: ")
    assert file.read_text() == "before"
    assert [each.name for each in tmp_path.glob("*ledger*")] == ["ledger.csv"]

    answers(gateway, {"rows": [], "next_cursor": None})
    assert pulse(f"ledger --csv {file} --force").returncode == 0
    assert file.read_bytes() == ",".join(COLUMNS).encode() + b"\r\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("positions --strategy a/b", "--strategy must be 1 to 64 of letters, digits and _.:-"),
        ("ledger --strategy a/b", "--strategy must be 1 to 64 of letters, digits and _.:-"),
        ("ledger --day today", "--day must be a date, such as 2026-01-05"),
        ("ledger --day 2026-02-30", "--day must be a date, such as 2026-01-05"),
        ("ledger --instrument TCS", "--instrument must be EXCHANGE:SYMBOL, such as NSE:TCS"),
        ("ledger --force", "--force goes with --csv"),
        ("ledger --csv - --json", "--csv goes with neither --json nor --cursor: it writes all rows"),
        ("ledger --csv - --cursor c", "--csv goes with neither --json nor --cursor: it writes all rows"),
        (
            "ledger --csv /no/such/folder/x.csv",
            "/no/such/folder/x.csv: there is no such folder, or it is one itself",
        ),
        ("ledger --csv /", "/: there is no such folder, or it is one itself"),
    ],
)
def test_bad_input_is_one_line(pulse: Run, gateway: FakeGateway, line: str, said: str) -> None:
    done = pulse(line)

    assert (done.returncode, done.stdout, error_line(done)) == (2, "", said)
    assert gateway.requests == []


@pytest.mark.parametrize("option", ["--status FILLED", "--limit 0", "--limit 201"])
def test_options_out_of_range_are_one_line(pulse: Run, gateway: FakeGateway, option: str) -> None:
    done = pulse(f"ledger {option}")

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert gateway.requests == []


def test_refusal_of_the_gateway_is_one_line(pulse: Run, gateway: FakeGateway) -> None:
    gateway.faults.append(400)

    done = pulse("positions")

    assert (done.returncode, done.stdout) == (1, "")
    assert error_line(done).startswith("INVALID_REQUEST: ")

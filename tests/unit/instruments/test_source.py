"""Instrument files over HTTP and from disk."""

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pulse_adapters.instruments import DumpError, Source, fetch, read_file
from pulse_domain.instruments import Exchange
from tests.unit.instruments.made_up import kite_dump, kite_future, kite_row, kotak_dump, kotak_row

NSE = "".join(kite_dump(kite_row(1, "ALPHA"), kite_row(2, "BETA"))).encode()
NFO = "".join(kite_dump(kite_future(3, "NIFTY26MAYFUT", "NIFTY", "2026-05-26"))).encode()
KOTAK = "".join(kotak_dump(kotak_row(1, "ALPHA"))).encode()


class Vendor(BaseHTTPRequestHandler):
    """Serves what a test lays out; remembers what was asked for."""

    pages: dict[str, tuple[int, bytes, dict[str, str]]]
    asked: list[tuple[str, dict[str, str]]]
    pause_s: float

    def do_GET(self) -> None:
        self.asked.append((self.path, dict(self.headers)))
        status, body, headers = self.pages.get(self.path, (404, b"", {}))
        time.sleep(self.pause_s)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # who does not wait for it has hung up
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def vendor() -> Iterator[tuple[type[Vendor], str]]:
    class Serving(Vendor):
        pages = {}  # noqa: RUF012  # each test has its own class
        asked = []  # noqa: RUF012
        pause_s = 0.0

    server = ThreadingHTTPServer(("127.0.0.1", 0), Serving)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield Serving, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_kites_files_by_exchange(vendor: tuple[type[Vendor], str]) -> None:
    serving, url = vendor
    serving.pages |= {"/instruments/NSE": (200, NSE, {}), "/instruments/NFO": (200, gzip.compress(NFO), {})}

    dump = fetch(Source(broker="zerodha", url=url), frozenset({Exchange.NSE, Exchange.NFO}))

    assert len(dump.listings) == 3
    assert dump.exchanges == {Exchange.NSE, Exchange.NFO}
    assert [headers["X-Kite-Version"] for _, headers in serving.asked] == ["3", "3"]


def test_kites_whole_file(vendor: tuple[type[Vendor], str]) -> None:
    serving, url = vendor
    serving.pages["/instruments"] = (200, NSE, {})

    assert len(fetch(Source(broker="zerodha", url=url), frozenset()).listings) == 2


def test_kotaks_files_are_found_by_their_exact_names(vendor: tuple[type[Vendor], str]) -> None:
    serving, url = vendor
    folder = f"{url}/prod/2026-11-20"
    paths = ["transformed/nse_com.csv", f"{folder}/transformed-v1/nse_cm-v1.csv", "transformed/mcx_fo.csv"]
    listing = {"data": {"baseFolder": folder, "filesPaths": paths}}
    serving.pages |= {
        "/script-details/1.0/masterscrip/file-paths": (200, json.dumps(listing).encode(), {}),
        "/prod/2026-11-20/transformed-v1/nse_cm-v1.csv": (200, KOTAK, {}),
    }

    dump = fetch(Source(broker="kotak", url=url, access_token="a-secret"), frozenset({Exchange.NSE}))

    assert [str(each.instrument) for each in dump.listings] == ["NSE:ALPHA"]
    # The files are public: the token goes to the list alone.
    assert [headers.get("Authorization") for _, headers in serving.asked] == ["a-secret", None]


def test_a_redirect_does_not_take_the_token_along(vendor: tuple[type[Vendor], str]) -> None:
    serving, url = vendor
    listing = {"data": {"baseFolder": url, "filesPaths": ["nse_cm.csv"]}}
    serving.pages |= {
        "/script-details/1.0/masterscrip/file-paths": (302, b"", {"Location": f"{url}/elsewhere"}),
        "/elsewhere": (200, json.dumps(listing).encode(), {}),
        "/nse_cm.csv": (200, KOTAK, {}),
    }

    assert len(fetch(Source(broker="kotak", url=url, access_token="a-secret"), frozenset()).listings) == 1

    assert [headers.get("Authorization") for _, headers in serving.asked] == ["a-secret", None, None]


def test_an_exchange_without_a_file_is_named(vendor: tuple[type[Vendor], str]) -> None:
    serving, url = vendor
    listing = {"data": {"baseFolder": url, "filesPaths": ["nse_com.csv"]}}
    serving.pages["/script-details/1.0/masterscrip/file-paths"] = (200, json.dumps(listing).encode(), {})

    with pytest.raises(DumpError, match="no file for NSE"):
        fetch(Source(broker="kotak", url=url), frozenset({Exchange.NSE}))
    with pytest.raises(DumpError, match="no file of ours"):
        fetch(Source(broker="kotak", url=url), frozenset())


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ((403, b"", {}), "answered 403"),
        ((200, b"<html></html>", {}), "no Kite instrument file"),
        ((200, NSE[:80], {"Content-Length": str(len(NSE))}), "ended after 80 of"),
        ((200, gzip.compress(NSE)[:-10], {}), "damaged"),
    ],
    ids=["refused", "another page", "cut short", "cut short in the gzip"],
)
def test_what_is_no_file_is_refused(
    vendor: tuple[type[Vendor], str], page: tuple[int, bytes, dict[str, str]], reason: str
) -> None:
    serving, url = vendor
    serving.pages["/instruments"] = page

    with pytest.raises(DumpError, match=reason):
        fetch(Source(broker="zerodha", url=url), frozenset())


def test_a_vendor_that_does_not_answer_in_time(vendor: tuple[type[Vendor], str]) -> None:
    serving, url = vendor
    serving.pages["/instruments"] = (200, NSE, {})
    serving.pause_s = 0.5

    with pytest.raises(DumpError, match="timed out"):
        fetch(Source(broker="zerodha", url=url, timeout_s=0.1), frozenset())


def test_an_address_where_nobody_listens() -> None:
    with pytest.raises(DumpError, match="cannot be read"):
        fetch(Source(broker="zerodha", url="http://127.0.0.1:9"), frozenset())
    with pytest.raises(DumpError, match="not an http address"):
        fetch(Source(broker="zerodha", url="file:///etc"), frozenset())


def test_files_on_disk(tmp_path: Path) -> None:
    (tmp_path / "plain.csv").write_bytes(NSE)
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(NSE))

    assert read_file("zerodha", tmp_path / "plain.csv") == read_file("zerodha", tmp_path / "packed.csv.gz")
    with pytest.raises(DumpError, match="cannot be read"):
        read_file("zerodha", tmp_path / "absent.csv")


def test_a_source_does_not_show_its_token() -> None:
    assert "a-secret" not in repr(
        Source(broker="kotak", url="https://user:a-secret@h", access_token="a-secret")
    )

import re
import string

from hypothesis import given
from hypothesis import strategies as st

from service_kit import trace
from service_kit.trace import Ids

PARENT = "0af7651916cd43dd8448eb211c80319c"
ALPHABET = string.ascii_letters + string.digits + "_.:-"

well_formed = st.text(ALPHABET, min_size=1, max_size=128)


def counted(n: int) -> bytes:
    return bytes(range(n))


def read(*headers: tuple[str, str]) -> Ids:
    ids, _ = trace.from_headers([(name.encode(), value.encode("latin-1")) for name, value in headers])
    return ids


def trace_id_of(traceparent: str) -> str:
    return read(("traceparent", traceparent)).trace_id


def test_new_ids_have_their_shapes_and_differ() -> None:
    assert re.fullmatch(r"req_[0-9a-f]{32}", trace.new_request_id())
    assert re.fullmatch(r"[0-9a-f]{32}", trace.new_trace_id())
    assert len({trace.new_request_id() for _ in range(1000)}) == 1000


def test_new_ids_repeat_with_the_same_source_of_randomness() -> None:
    assert trace.new_request_id(counted) == "req_000102030405060708090a0b0c0d0e0f"
    assert trace.new_trace_id(counted) == "000102030405060708090a0b0c0d0e0f"


def test_nothing_is_current_outside_of_bind() -> None:
    assert trace.current() is None


def test_bind_sets_and_brings_back_the_former_ids() -> None:
    outer, inner = Ids("a", "b"), Ids("c", "d")

    with trace.bind(outer):
        with trace.bind(inner):
            assert trace.current() == inner
        assert trace.current() == outer
    assert trace.current() is None


@given(well_formed, well_formed)
def test_well_formed_ids_are_kept(request_id: str, trace_id: str) -> None:
    ids, refused = trace.from_headers(
        [(b"x-request-id", request_id.encode()), (b"x-trace-id", trace_id.encode())]
    )

    assert ids == Ids(request_id, trace_id)
    assert refused == []


@given(st.binary())
def test_any_bytes_give_a_valid_id_and_malformed_ones_are_not_repeated(raw: bytes) -> None:
    ids, refused = trace.from_headers([(b"x-request-id", raw), (b"x-trace-id", raw)])

    text = raw.decode("latin-1")
    acceptable = 1 <= len(text) <= 128 and set(text) <= set(ALPHABET)
    assert trace.is_valid(ids.request_id)
    assert trace.is_valid(ids.trace_id)
    assert (ids == Ids(text, text)) is acceptable
    assert refused == ([] if acceptable else ["x-request-id", "x-trace-id"])


@given(st.one_of(st.none(), st.integers(), st.binary(), st.text(min_size=129)))
def test_what_is_no_id_is_replaced(anything: object) -> None:
    ids = trace.adopt(anything, anything)

    assert ids.request_id.startswith("req_")
    assert len(ids.trace_id) == 32


def test_trailing_newline_is_refused() -> None:
    assert not trace.is_valid("abc\n")


def test_header_given_twice_is_refused() -> None:
    ids, refused = trace.from_headers([(b"x-request-id", b"a"), (b"x-request-id", b"a")])

    assert ids.request_id.startswith("req_")
    assert refused == ["x-request-id"]


def test_traceparent_gives_the_trace_id() -> None:
    assert trace_id_of(f"00-{PARENT}-b7ad6b7169203331-01") == PARENT


def test_traceparent_of_a_higher_version_is_read_like_00() -> None:
    assert trace_id_of(f"cc-{PARENT}-b7ad6b7169203331-01") == PARENT
    assert trace_id_of(f"cc-{PARENT}-b7ad6b7169203331-01-what-the-future-brings") == PARENT


def test_malformed_traceparent_is_ignored() -> None:
    for malformed in (
        "",
        PARENT,
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-{PARENT}-{'0' * 16}-01",
        f"00-{PARENT.upper()}-b7ad6b7169203331-01",
        f"00-{PARENT}-b7ad6b7169203331-01-more",
        f"00-{PARENT}-b7ad6b7169203331-01-",
        f"00-{PARENT}-b7ad6b7169203331-1",
        f"00-{PARENT}-b7ad6b7169203331",
        f"ff-{PARENT}-b7ad6b7169203331-01",
        f"cc-{PARENT}-b7ad6b7169203331-01.more",
        f"0-{PARENT}-b7ad6b7169203331-01",
    ):
        assert trace_id_of(malformed) != PARENT


def test_traceparent_given_twice_is_ignored() -> None:
    header = ("traceparent", f"00-{PARENT}-b7ad6b7169203331-01")

    assert read(header, header).trace_id != PARENT


def test_trace_id_header_wins_over_traceparent() -> None:
    parent = ("traceparent", f"00-{PARENT}-b7ad6b7169203331-01")

    assert read(("x-trace-id", "mine"), parent).trace_id == "mine"


def test_traceparent_stands_in_for_a_malformed_trace_id_header() -> None:
    parent = ("traceparent", f"00-{PARENT}-b7ad6b7169203331-01")

    assert read(("x-trace-id", "not mine"), parent).trace_id == PARENT

import io
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from service_kit import logs, trace
from service_kit.trace import Ids

Lines = Callable[[], list[dict[str, Any]]]

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


def test_line_has_the_common_fields(lines: Lines) -> None:
    structlog.get_logger("shop.till").info("sold", n=3)

    (line,) = lines()
    timestamp = datetime.fromisoformat(line.pop("timestamp"))
    assert line == {"event": "sold", "n": 3, "level": "info", "logger": "shop.till", "service": "shop"}
    assert timestamp.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - timestamp) < timedelta(minutes=1)


def test_standard_logging_takes_the_same_form(lines: Lines) -> None:
    logging.getLogger("some.library").warning("%d tries left", 2)

    (line,) = lines()
    del line["timestamp"]
    assert line == {
        "event": "2 tries left",
        "level": "warning",
        "logger": "some.library",
        "service": "shop",
    }


def test_lines_carry_the_current_ids(lines: Lines) -> None:
    with trace.bind(Ids("r1", "t1")):
        structlog.get_logger("a").info("inside")
        logging.getLogger("b").info("inside")
    structlog.get_logger("a").info("outside")

    first, second, third = lines()
    assert (first["request_id"], first["trace_id"]) == ("r1", "t1")
    assert (second["request_id"], second["trace_id"]) == ("r1", "t1")
    assert "request_id" not in third
    assert "trace_id" not in third


def test_lines_carry_what_is_bound_until_the_block_ends(lines: Lines) -> None:
    log = structlog.get_logger("a")

    with logs.bound(order_id="o1", worker="packer"):
        log.info("inside")
        logging.getLogger("b").info("inside")
    log.info("outside")

    first, second, third = lines()
    assert (first["order_id"], first["worker"]) == ("o1", "packer")
    assert (second["order_id"], second["worker"]) == ("o1", "packer")
    assert "order_id" not in third


def test_part_of_a_process_may_name_itself(lines: Lines) -> None:
    with logs.bound(service="till"):
        structlog.get_logger("a").info("inside")

    assert lines()[0]["service"] == "till"


def test_exception_is_one_string(lines: Lines) -> None:
    log = structlog.get_logger("a")

    try:
        raise ValueError("too small")
    except ValueError:
        log.exception("failed")
        logging.getLogger("b").exception("failed")

    for line in lines():
        assert line["level"] == "error"
        assert line["exception"].startswith("Traceback")
        assert line["exception"].endswith("ValueError: too small")


def test_line_breaks_cannot_forge_a_line(lines: Lines) -> None:
    structlog.get_logger("a").info('x\n{"event": "forged"}', given="a\r\nb")

    assert len(lines()) == 1


def test_lines_below_the_level_are_dropped(lines: Lines) -> None:
    structlog.get_logger("a").debug("unseen")
    logging.getLogger("b").debug("unseen")

    assert lines() == []


def test_libraries_that_write_out_addresses_are_kept_quiet(lines: Lines) -> None:
    for name in ("httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(name).info("GET /hooks/hunter2")

    assert lines() == []


def test_loggers_follow_a_later_configure(lines: Lines) -> None:
    log = structlog.get_logger("a")
    log.info("to the first")
    second = io.StringIO()

    logs.configure("store", "DEBUG", stream=second)
    log.debug("to the second")

    assert [line["event"] for line in lines()] == ["to the first"]
    assert json.loads(second.getvalue())["service"] == "store"


@pytest.mark.usefixtures("stream")
def test_text_for_human_eyes_is_redacted_as_well() -> None:
    text = io.StringIO()

    logs.configure("shop", stream=text, json=False)
    try:
        raise ValueError("Bearer hunter2")
    except ValueError:
        structlog.get_logger("a").exception("not signed in", password="hunter2")

    assert "not signed in" in text.getvalue()
    assert "ValueError: Bearer [redacted]" in text.getvalue()
    assert "hunter2" not in text.getvalue()


@pytest.mark.usefixtures("stream")
def test_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        logs.configure("shop", "loud")


def test_planted_secrets_never_appear(stream: io.StringIO) -> None:
    log = structlog.get_logger("a").bind(api_key="hunter2")
    library = logging.getLogger("some.library")

    with logs.bound(access_token="hunter2"):
        log.info("bound")
        log.info("nested", request={"headers": [{"Authorization": "hunter2"}], "body": {"totp": "hunter2"}})
        log.warning("cannot reach postgresql://u:hunter2@h/db", cause=ValueError("password='hunter2'"))
        log.info("Bearer hunter2", raw=b"Bearer hunter2", pairs=[(b"x-api-key", b"hunter2")])
        log.info(f"got {JWT}", again=JWT)
        library.error("GET %s", "https://h/x?token=hunter2&y=1")
        library.error("headers: %s", {"Authorization": "token id:hunter2"})
        try:
            raise ConnectionError("refused: redis://:hunter2@cache")
        except ConnectionError:
            log.exception("failed", settings={"webhook_secret": "hunter2"})
            library.exception("failed")

    written = stream.getvalue()
    assert len(written.splitlines()) == 9
    assert "hunter2" not in written
    assert "eyJ" not in written


def test_line_that_cannot_be_written_is_not_shown_elsewhere(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    stream.close()

    structlog.get_logger("a").info("signed in", password="hunter2")

    assert "hunter2" not in capsys.readouterr().err

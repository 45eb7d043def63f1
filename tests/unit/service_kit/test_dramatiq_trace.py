from collections.abc import Iterator

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AsyncIO, Middleware, Pipelines, Retries, SkipMessage

from service_kit import trace
from service_kit.dramatiq_trace import CarryIds
from service_kit.trace import Ids

GIVEN = Ids("r1", "t1")


class Witness(Middleware):
    """Stands before CarryIds, so that its after-hooks see what CarryIds has left behind."""

    def __init__(self) -> None:
        self.left_behind: list[Ids | None] = []

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: dramatiq.MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        self.left_behind.append(trace.current())

    def after_skip_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        self.left_behind.append(trace.current())


class SkipOnRequest(Middleware):
    def before_process_message(self, broker: dramatiq.Broker, message: dramatiq.MessageProxy) -> None:
        if message.options.get("skip"):
            raise SkipMessage


@pytest.fixture
def witness() -> Witness:
    return Witness()


@pytest.fixture
def broker(witness: Witness) -> Iterator[StubBroker]:
    retries = Retries(max_retries=2, min_backoff=1, max_backoff=2)
    broker = StubBroker(middleware=[witness, CarryIds(), Pipelines(), retries, SkipOnRequest(), AsyncIO()])
    broker.emit_after("process_boot")
    worker = dramatiq.Worker(broker, worker_timeout=20, worker_threads=2)
    worker.start()
    yield broker
    worker.stop(timeout=5000)
    broker.close()


def run(broker: StubBroker) -> None:
    broker.join("default", timeout=5000)


def test_actor_runs_under_the_ids_of_the_sender(broker: StubBroker) -> None:
    seen: list[Ids | None] = []

    @dramatiq.actor(broker=broker)
    def note() -> None:
        seen.append(trace.current())

    with trace.bind(GIVEN):
        note.send()
    with trace.bind(Ids("r2", "t2")):
        note.send_with_options(delay=1)
    run(broker)

    assert set(seen) == {GIVEN, ("r2", "t2")}


def test_asyncio_actor_runs_under_the_ids_of_the_sender(broker: StubBroker) -> None:
    seen: list[Ids | None] = []

    @dramatiq.actor(broker=broker)
    async def note() -> None:
        seen.append(trace.current())

    with trace.bind(GIVEN):
        note.send()
    run(broker)

    assert seen == [GIVEN]


def test_worker_thread_keeps_no_ids_after_a_message(broker: StubBroker, witness: Witness) -> None:
    @dramatiq.actor(broker=broker, max_retries=0, throws=ValueError)
    def note(fails: bool) -> None:
        if fails:
            raise ValueError

    with trace.bind(GIVEN):
        note.send(False)
        note.send(True)
    broker.join("default", timeout=5000, fail_fast=False)

    assert witness.left_behind == [None, None]


def test_worker_thread_keeps_no_ids_after_a_skipped_message(broker: StubBroker, witness: Witness) -> None:
    @dramatiq.actor(broker=broker)
    def note() -> None:
        raise AssertionError("it should have been skipped")

    with trace.bind(GIVEN):
        note.send_with_options(skip=True)
    run(broker)

    assert witness.left_behind == [None]


def test_retry_keeps_the_ids(broker: StubBroker) -> None:
    seen: list[Ids | None] = []

    @dramatiq.actor(broker=broker)
    def fail_once() -> None:
        seen.append(trace.current())
        if len(seen) == 1:
            raise ValueError("once")

    with trace.bind(GIVEN):
        fail_once.send()
    run(broker)

    assert seen == [GIVEN, GIVEN]


def test_follow_up_messages_keep_the_ids(broker: StubBroker) -> None:
    seen: list[Ids | None] = []

    @dramatiq.actor(broker=broker)
    def note(_: object = None) -> None:
        seen.append(trace.current())

    @dramatiq.actor(broker=broker)
    def send_on() -> str:
        note.send()
        return "done"

    with trace.bind(GIVEN):
        dramatiq.pipeline([send_on.message(), note.message()], broker=broker).run()
    run(broker)

    assert seen == [GIVEN, GIVEN]


def test_message_sent_outside_of_any_request_gets_ids_that_last(broker: StubBroker) -> None:
    seen: list[Ids | None] = []

    @dramatiq.actor(broker=broker)
    def fail_once() -> None:
        seen.append(trace.current())
        if len(seen) == 1:
            raise ValueError("once")

    fail_once.send()
    run(broker)

    first, second = seen
    assert first is not None
    assert first == second
    assert trace.is_valid(first.request_id)
    assert trace.is_valid(first.trace_id)


def test_malformed_ids_on_a_message_are_replaced(broker: StubBroker) -> None:
    seen: list[Ids | None] = []

    @dramatiq.actor(broker=broker)
    def note() -> None:
        seen.append(trace.current())

    note.send_with_options(request_id="not an id", trace_id=7)
    run(broker)

    (ids,) = seen
    assert ids is not None
    assert ids.request_id.startswith("req_")
    assert trace.is_valid(ids.trace_id)

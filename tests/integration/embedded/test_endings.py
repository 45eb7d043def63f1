"""However the owner ends, nothing of its servers is left."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from pulse_adapters.embedded import EmbeddedPostgres, EmbeddedRedis, EmbeddedServerError

StartOwner = Callable[..., Any]
Running = Callable[[int], bool]
Eventually = Callable[[Callable[[], bool]], None]


async def fetch(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def kill(owner: Any) -> None:
    owner.process.kill()


def press_ctrl_c(owner: Any) -> None:
    os.killpg(owner.process.pid, signal.SIGINT)


def hang_up(owner: Any) -> None:
    os.killpg(owner.process.pid, signal.SIGHUP)


def terminate(owner: Any) -> None:
    owner.process.terminate()


@pytest.mark.parametrize("end", [kill, press_ctrl_c, hang_up, terminate])
def test_an_ended_owner_leaves_no_process_and_no_folder(
    end: Callable[[Any], None],
    start_owner: StartOwner,
    guard_of: Callable[[int], int],
    running: Running,
    eventually: Eventually,
) -> None:
    owner = start_owner(postgres=None, redis=None)
    facts = owner.facts()
    servers = [facts["postgres_pid"], facts["redis_pid"]]
    processes = [*servers, *map(guard_of, servers)]
    assert all(map(running, processes))
    assert len(list(owner.temporary.iterdir())) == 2

    end(owner)

    eventually(lambda: not any(map(running, processes)))
    assert list(owner.temporary.iterdir()) == []


async def test_ctrl_c_leaves_the_servers_to_an_owner_that_goes_on(start_owner: StartOwner) -> None:
    owner = start_owner(postgres=None, then="ignore ctrl-c")
    facts = owner.facts()

    press_ctrl_c(owner)
    await asyncio.sleep(0.5)

    assert await fetch(facts["dsn"], "select 1") == 1


@pytest.mark.parametrize("then", ["return", "raise"])
def test_an_owner_that_forgets_to_stop_leaves_nothing_either(
    then: str, start_owner: StartOwner, running: Running, eventually: Eventually
) -> None:
    owner = start_owner(postgres=None, redis=None, then=then)
    facts = owner.facts()

    eventually(lambda: not any(map(running, (facts["postgres_pid"], facts["redis_pid"]))))
    eventually(lambda: list(owner.temporary.iterdir()) == [])


@pytest.mark.parametrize("after_s", [0, 0.03, 0.1, 0.2, 0.3])
def test_a_kill_during_the_start_leaves_nothing(
    after_s: float, start_owner: StartOwner, eventually: Eventually
) -> None:
    owner = start_owner(postgres=None)
    eventually(lambda: list(owner.temporary.iterdir()) != [])
    time.sleep(after_s)

    owner.process.kill()

    eventually(lambda: list(owner.temporary.iterdir()) == [])


def test_a_fork_of_the_owner_does_not_keep_the_servers(
    start_owner: StartOwner, running: Running, eventually: Eventually
) -> None:
    owner = start_owner(postgres=None, fork=True)
    facts = owner.facts()

    owner.process.kill()
    owner.process.wait()

    try:
        eventually(lambda: not running(facts["postgres_pid"]))
        assert running(facts["fork_pid"])
        eventually(lambda: list(owner.temporary.iterdir()) == [])
    finally:
        os.kill(facts["fork_pid"], signal.SIGKILL)


def test_the_wheels_own_wrappers_are_never_imported(start_owner: StartOwner) -> None:
    assert start_owner(postgres=None, redis=None).facts()["imported"] == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("start", [lambda: EmbeddedPostgres.start(durable=False), EmbeddedRedis.start])
def test_the_end_of_the_guard_ends_the_server(
    start: Callable[[], EmbeddedPostgres | EmbeddedRedis],
    number: signal.Signals,
    guard_of: Callable[[int], int],
    running: Running,
    eventually: Eventually,
) -> None:
    server = start()
    pid = server.pid
    assert pid

    os.kill(guard_of(pid), number)

    eventually(lambda: not running(pid))
    with pytest.raises(EmbeddedServerError, match="guard process has ended"):
        server.restart()
    server.stop()
    assert not server.log_file.parent.exists()


async def test_durable_data_survive_a_kill_of_everything(
    start_owner: StartOwner, guard_of: Callable[[int], int], tmp_path: Path
) -> None:
    owner = start_owner(postgres=str(tmp_path / "pg"))
    facts = owner.facts()
    await fetch(facts["dsn"], "create table kept as select 7 as n")
    guard = guard_of(facts["postgres_pid"])
    os.kill(guard, signal.SIGSTOP)  # no orderly end

    owner.process.kill()
    os.kill(facts["postgres_pid"], signal.SIGKILL)
    os.kill(guard, signal.SIGKILL)

    with EmbeddedPostgres.start(tmp_path / "pg", durable=True) as server:
        assert await fetch(server.dsn, "select n from kept") == 7
        assert "not properly shut down" in server.log_file.read_text()


async def test_a_start_right_after_a_kill_waits_for_the_servers_orderly_end(
    start_owner: StartOwner, tmp_path: Path
) -> None:
    for round_ in range(3):
        owner = start_owner(postgres=str(tmp_path / "pg"))
        facts = owner.facts()
        await fetch(facts["dsn"], f"create table kept_{round_} as select 7 as n")

        owner.process.kill()
        owner.process.wait()

        with EmbeddedPostgres.start(tmp_path / "pg", durable=True) as server:
            assert await fetch(server.dsn, f"select n from kept_{round_}") == 7
            assert "not properly shut down" not in server.log_file.read_text()


async def test_a_second_owner_is_refused_while_the_first_lives(start_owner: StartOwner, tmp_path: Path) -> None:
    owner = start_owner(postgres=str(tmp_path / "pg"))
    facts = owner.facts()

    with pytest.raises(EmbeddedServerError, match=f"started by process {owner.process.pid}"):
        EmbeddedPostgres.start(tmp_path / "pg", durable=True)

    assert await fetch(facts["dsn"], "select 1") == 1

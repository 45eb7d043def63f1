import asyncio
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from pulse_adapters.embedded import EmbeddedPostgres, EmbeddedServerError
from pulse_adapters.embedded.postgres import running_dsn


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start(durable=False) as running:
        yield running


async def fetch(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_it_answers_with_the_settings_we_rely_on(server: EmbeddedPostgres) -> None:
    version = await fetch(server.dsn, "show server_version_num")
    names = ("server_encoding", "timezone", "listen_addresses", "unix_socket_directories", "max_connections")
    settings = [await fetch(server.dsn, f"show {name}") for name in names]

    assert str(version).startswith("18")
    assert settings == ["UTF8", "UTC", "127.0.0.1", "", "200"]


async def test_text_is_ordered_by_code_point_and_case_is_unicode(server: EmbeddedPostgres) -> None:
    ordered = await fetch(server.dsn, "select string_agg(t, '' order by t) from unnest('{b,a,B,é}'::text[]) t")
    upper = await fetch(server.dsn, "select upper('é')")

    assert (ordered, upper) == ("Babé", "É")


@pytest.mark.parametrize(("durable", "expected"), [(False, "off"), (True, "on")])
async def test_only_a_durable_server_waits_for_the_disk(durable: bool, expected: str) -> None:
    with EmbeddedPostgres.start(durable=durable) as server:
        fsync = await fetch(server.dsn, "show fsync")
        synchronous_commit = await fetch(server.dsn, "show synchronous_commit")

    assert (fsync, synchronous_commit) == (expected, "on")


async def test_another_database_has_an_address(server: EmbeddedPostgres) -> None:
    await fetch(server.dsn, 'create database "a/b c"')

    assert await fetch(server.dsn_for("a/b c"), "select current_database()") == "a/b c"


async def test_a_wrong_password_is_refused(server: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(host="127.0.0.1", port=server.port, user="postgres", password="guess")


def test_address_of_a_running_server_is_found_by_its_folder() -> None:
    with tempfile.TemporaryDirectory(prefix="pulse-test-") as folder:  # one that Postgres's account can reach
        home = Path(folder) / "postgres"
        before = running_dsn(home)
        with EmbeddedPostgres.start(home, durable=False) as server:
            found, own = running_dsn(home), server.dsn
        after = running_dsn(home)

    assert before is None
    assert found == own
    assert after is None


def test_the_password_is_in_no_repr_and_no_process_list(server: EmbeddedPostgres) -> None:
    password = server.dsn.split(":")[2].split("@")[0]

    processes = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout

    assert len(password) >= 32
    assert password not in repr(server)
    assert "guard.py" in processes
    assert password not in processes


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's servers run as that user")
def test_started_by_root_it_runs_as_another_account(server: EmbeddedPostgres) -> None:
    shown = subprocess.run(
        ["ps", "-o", "uid=", "-p", str(server.pid)], capture_output=True, text=True, check=True
    )

    assert int(shown.stdout) != 0


def test_stop_leaves_no_process_and_no_folder(
    running: Callable[[int], bool],
    guard_of: Callable[[int], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    server = EmbeddedPostgres.start(durable=False)
    assert server.pid
    processes = [server.pid, guard_of(server.pid)]
    folders_while_running = list(tmp_path.iterdir())

    server.stop()
    server.stop()

    assert len(folders_while_running) == 1
    assert not any(running(pid) for pid in processes)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EmbeddedServerError, match="is stopped"):
        server.resume()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restart_keeps_data_and_port(mode: str) -> None:
    with EmbeddedPostgres.start(durable=False) as server:
        before = (server.port, server.pid, server.dsn)
        await fetch(server.dsn, "create table kept as select 7 as n")

        server.restart("fast" if mode == "fast" else "immediate")

        assert await fetch(server.dsn, "select n from kept") == 7
        assert (server.port, server.dsn) == (before[0], before[2])
        assert server.pid != before[1]


async def test_between_halt_and_resume_nobody_answers() -> None:
    with EmbeddedPostgres.start(durable=False) as server:
        server.halt()

        with pytest.raises(ConnectionRefusedError):
            await asyncpg.connect(server.dsn)

        server.resume()
        assert await fetch(server.dsn, "select 1") == 1


async def test_a_killed_server_resumes_with_its_data_while_clients_hang_on() -> None:
    with EmbeddedPostgres.start(durable=False) as server:
        await fetch(server.dsn, "create table kept as select 7 as n")
        busy = [await asyncpg.connect(server.dsn) for _ in range(5)]
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)

        server.resume()

        assert await fetch(server.dsn, "select n from kept") == 7
        for connection in busy:
            connection.terminate()


async def test_a_query_that_outlives_its_killed_server_ends_with_the_stop(
    running: Callable[[int], bool],
) -> None:
    server = EmbeddedPostgres.start(durable=False)
    connection = await asyncpg.connect(server.dsn)
    backend = await connection.fetchval("select pg_backend_pid()")
    endless = asyncio.ensure_future(
        connection.fetchval("select count(*) from generate_series(1, 100000000000)")
    )
    await asyncio.sleep(0.3)
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    await asyncio.sleep(0.3)
    still_running = running(backend)

    server.stop()

    assert still_running
    assert not running(backend)
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await endless


async def test_a_suspended_server_can_be_stopped(running: Callable[[int], bool]) -> None:
    server = EmbeddedPostgres.start(durable=False)
    pid = server.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)

    started = time.monotonic()
    server.stop()

    assert time.monotonic() - started < 5
    assert not running(pid)


async def test_durable_data_are_there_at_the_next_start(tmp_path: Path) -> None:
    with EmbeddedPostgres.start(tmp_path / "pg", durable=True) as server:
        await fetch(server.dsn, "create table kept as select 7 as n")
        password = server.dsn.split("@")[0]

    with EmbeddedPostgres.start(tmp_path / "pg", durable=True) as server:
        assert await fetch(server.dsn, "select n from kept") == 7
        assert server.dsn.split("@")[0] == password

    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "pg").iterdir()}
    expected = {"password": 0o600, "postgres.log": 0o600, "postgres.log.1": 0o600, "lock": 0o600, "data": 0o700}
    assert modes == expected


async def test_data_half_made_by_a_killed_start_are_made_anew(tmp_path: Path) -> None:
    unfinished = tmp_path / "pg" / "data.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")

    with EmbeddedPostgres.start(tmp_path / "pg", durable=True) as server:
        assert await fetch(server.dsn, "select 1") == 1

    assert not unfinished.exists()


async def test_a_second_start_on_live_data_is_refused(tmp_path: Path) -> None:
    with EmbeddedPostgres.start(tmp_path / "pg", durable=True) as server:
        log = server.log_file.read_text()

        with pytest.raises(EmbeddedServerError, match="is in use by another live server"):
            EmbeddedPostgres.start(tmp_path / "pg", durable=True)

        assert await fetch(server.dsn, "select 1") == 1
        assert server.log_file.read_text() == log


def stale_pid_file(folder: Path, pid: int) -> None:
    file = folder / "data" / "postmaster.pid"
    file.write_text(f"{pid}\n{folder / 'data'}\n1700000000\n5432\n\n127.0.0.1\n 1 1\nready\n")
    owner = (folder / "data").stat()
    os.chown(file, owner.st_uid, owner.st_gid)
    file.chmod(0o600)


@pytest.fixture
def other_program() -> Iterator[int]:
    """The process id of something that runs as the account of the servers."""
    account = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
    with subprocess.Popen(["sleep", "60"], cwd="/", **account) as other:  # type: ignore[call-overload]  # one of many
        yield other.pid
        other.kill()


async def test_a_stale_pid_file_naming_another_program_is_no_obstacle(
    tmp_path: Path, other_program: int
) -> None:
    EmbeddedPostgres.start(tmp_path / "pg", durable=True).stop()
    stale_pid_file(tmp_path / "pg", other_program)

    with EmbeddedPostgres.start(tmp_path / "pg", durable=True) as server:
        assert await fetch(server.dsn, "select 1") == 1


async def test_a_stale_pid_file_naming_the_server_of_other_data_is_no_obstacle(
    tmp_path: Path, server: EmbeddedPostgres
) -> None:
    EmbeddedPostgres.start(tmp_path / "pg", durable=True).stop()
    assert server.pid
    stale_pid_file(tmp_path / "pg", server.pid)

    with EmbeddedPostgres.start(tmp_path / "pg", durable=True) as started:
        assert await fetch(started.dsn, "select 1") == 1


def test_a_wanted_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        with pytest.raises(EmbeddedServerError, match=f"port {port} of 127.0.0.1 is taken"):
            EmbeddedPostgres.start(durable=False, port=port)


def test_a_failure_shows_the_end_of_the_log_in_one_line_without_the_password(tmp_path: Path) -> None:
    with EmbeddedPostgres.start(tmp_path / "pg", durable=True) as server:
        password = server.dsn.split(":")[2].split("@")[0]
    with (tmp_path / "pg" / "data" / "postgresql.conf").open("a") as file:
        file.write(f"no_such_setting = '{password}'\nport = 'x{password}'\n")

    with pytest.raises(EmbeddedServerError, match="no_such_setting") as caught:
        EmbeddedPostgres.start(tmp_path / "pg", durable=True)

    assert "\n" not in str(caught.value)
    assert password not in str(caught.value)


def test_data_without_their_password_are_refused(tmp_path: Path) -> None:
    EmbeddedPostgres.start(tmp_path / "pg", durable=True).stop()
    (tmp_path / "pg" / "password").unlink()

    with pytest.raises(EmbeddedServerError, match="the password of existing data, is missing"):
        EmbeddedPostgres.start(tmp_path / "pg", durable=True)


def test_without_the_wheel_the_error_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"install pulse-adapters\[embedded\]"):
        EmbeddedPostgres.start(durable=False, site_packages=tmp_path)

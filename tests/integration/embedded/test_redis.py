import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError

from pulse_adapters.embedded import EmbeddedRedis, EmbeddedServerError


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis.start() as running:
        yield running


async def config(url: str, name: str) -> object:
    async with redis.asyncio.Redis.from_url(url, decode_responses=True) as client:
        return (await client.config_get(name))[name]


async def test_it_answers_on_the_loopback_interface_and_keeps_nothing(server: EmbeddedRedis) -> None:
    async with redis.asyncio.Redis.from_url(server.url) as client:
        await client.set("a", 1)
        value = await client.get("a")

    assert value == b"1"
    settings = [await config(server.url, name) for name in ("bind", "save", "appendonly")]
    assert settings == ["127.0.0.1", "", "no"]


async def test_a_client_without_the_password_is_refused(server: EmbeddedRedis) -> None:
    async with redis.asyncio.Redis(host="127.0.0.1", port=server.port, retry=Retry(NoBackoff(), 0)) as client:
        with pytest.raises(AuthenticationError):
            await client.ping()


def test_the_password_is_in_no_repr_no_process_list_and_no_file(server: EmbeddedRedis) -> None:
    password = server.url.split(":")[2].split("@")[0]

    processes = subprocess.run(["ps", "-eww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    files = [path for path in server.log_file.parent.rglob("*") if path.is_file()]

    assert len(password) >= 32
    assert password not in repr(server)
    assert "redis-server" in processes
    assert password not in processes
    assert server.log_file in files
    assert not any(password in path.read_text() for path in files)


def test_stop_leaves_no_process_and_no_folder(
    running: Callable[[int], bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    server = EmbeddedRedis.start()
    pid = server.pid
    assert pid

    server.stop()
    server.stop()

    assert not running(pid)
    assert list(tmp_path.iterdir()) == []


async def test_a_restart_keeps_the_address_and_loses_the_keys() -> None:
    with EmbeddedRedis.start() as server:
        url = server.url
        async with redis.asyncio.Redis.from_url(url) as client:
            await client.set("a", 1)

        server.restart()

        async with redis.asyncio.Redis.from_url(url) as client:
            assert await client.get("a") is None


async def test_a_killed_server_resumes() -> None:
    with EmbeddedRedis.start() as server:
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)

        server.resume()

        async with redis.asyncio.Redis.from_url(server.url) as client:
            assert await client.ping()


def test_a_wanted_port_that_is_taken_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]

        with pytest.raises(EmbeddedServerError, match=f"port {port} of 127.0.0.1 is taken"):
            EmbeddedRedis.start(port)


def test_a_given_folder_keeps_the_log_and_admits_one_server(tmp_path: Path) -> None:
    with (
        EmbeddedRedis.start(data_dir=tmp_path / "redis"),
        pytest.raises(EmbeddedServerError, match="is in use by another live server"),
    ):
        EmbeddedRedis.start(data_dir=tmp_path / "redis")

    assert "Ready to accept connections" in (tmp_path / "redis" / "redis.log").read_text()
    EmbeddedRedis.start(data_dir=tmp_path / "redis").stop()


def test_without_the_wheel_the_error_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"install pulse-adapters\[embedded\]"):
        EmbeddedRedis.start(site_packages=tmp_path)

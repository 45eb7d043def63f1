"""Each fault of Kite ends as the guide says, and never with more at the broker than was asked for."""

from collections.abc import Iterator

import asyncpg
import pytest

from tests.integration.workers.broker_faults import SPEED, FaultCase, cases_at
from tests.integration.workers.faces import Face, start_kite
from tests.integration.workers.fault_runs import run_fault


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    face = start_kite(tmp_path_factory.mktemp("kite"), "--speed", str(SPEED), delays=True)
    yield face
    face.process.stop()


@pytest.mark.parametrize("case", cases_at("kite"), ids=lambda case: case.name)
async def test_an_order_ends_as_the_guide_says(
    case: FaultCase, face: Face, kept_database: asyncpg.Pool, migrated_dsn: str
) -> None:
    await run_fault("kite", face, case, kept_database, migrated_dsn)

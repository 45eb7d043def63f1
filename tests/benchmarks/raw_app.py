"""The yardstick of bench-accept: a Litestar handler with one asyncpg insert, and nothing else."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import uvicorn
from litestar import Litestar, Request, post
from msgspec import Struct


class Body(Struct):
    order_unique_key: str
    instrument: str
    side: str
    total_quantity: int


class Answer(Struct):
    order_id: int


@post("/orders", status_code=202)
async def insert(data: Body, request: Request) -> Answer:  # type: ignore[type-arg]
    pool: asyncpg.Pool = request.app.state.pool
    order_id = await pool.fetchval(
        "INSERT INTO raw_orders (key, instrument, side, quantity) VALUES ($1, $2, $3, $4) RETURNING id",
        data.order_unique_key,
        data.instrument,
        data.side,
        data.total_quantity,
    )
    return Answer(order_id)


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=10, max_size=10) as pool:
        app.state.pool = pool
        yield


app = Litestar([insert], lifespan=[lifespan], logging_config=None, openapi_config=None)

if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
        timeout_keep_alive=75,
    )

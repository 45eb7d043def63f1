"""The boards of prices, in Postgres and in memory, keep their port's contract."""

import asyncpg
import pytest

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.price_board import PostgresPriceBoard
from pulse_domain.testing.contracts.price_board import PriceBoardContract
from pulse_domain.testing.memory_prices import InMemoryPriceBoard


class TestInMemoryPriceBoard(PriceBoardContract):
    @pytest.fixture
    def board(self) -> InMemoryPriceBoard:
        return InMemoryPriceBoard()


class TestPostgresPriceBoard(PriceBoardContract):
    @pytest.fixture
    def board(self, database: asyncpg.Pool) -> PostgresPriceBoard:
        return PostgresPriceBoard(Database(database))

"""The order store on Postgres: tables in SQLAlchemy Core, statements compiled once, run by asyncpg."""

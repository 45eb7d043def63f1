"""Statements compiled once, at import, for asyncpg: named parameters in, `$n` and a list out."""

from typing import Any

from sqlalchemy import ClauseElement
from sqlalchemy.dialects.postgresql import asyncpg as dialect_module

_DIALECT = dialect_module.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped


class Statement:
    """A compiled statement; `args` puts values in the order in which the text numbers them."""

    def __init__(self, clause: ClauseElement) -> None:
        compiled = clause.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        self._order: tuple[str, ...] = tuple(compiled.positiontup or ())  # type: ignore[attr-defined]
        self._defaults: dict[str, Any] = dict(compiled.params)
        self._required = {name for name in self._order if compiled.binds[name].required}  # type: ignore[attr-defined]

    def args(self, **values: Any) -> list[Any]:
        """Values for `Connection.fetch(statement.sql, *args)`.

        Raises:
            TypeError: a required value is missing, or a name is unknown.
        """
        if not self._required <= values.keys() or not values.keys() <= self._defaults.keys():
            missing, unknown = self._required - values.keys(), values.keys() - self._defaults.keys()
            raise TypeError(f"missing {sorted(missing)}, unknown {sorted(unknown)}")
        return [values[name] if name in values else self._defaults[name] for name in self._order]

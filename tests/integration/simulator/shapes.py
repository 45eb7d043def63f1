"""The shape of JSON values: which fields, of which types; learnt from examples."""

from collections.abc import Iterable
from typing import Any


class Shape:
    """What examples have in common. A field that only some examples have may be missing; null says nothing."""

    def __init__(self, examples: Iterable[Any]) -> None:
        examples = [example for example in examples if example is not None]
        self._types = {_type_of(example) for example in examples}
        dicts = [example for example in examples if isinstance(example, dict)]
        names = {name for example in dicts for name in example}
        self._fields = {name: Shape(e[name] for e in dicts if name in e) for name in names}
        self._required = {name for name in names if all(name in example for example in dicts)}
        lists = [example for example in examples if isinstance(example, list)]
        self._items = Shape(item for example in lists for item in example) if lists else None

    def differences(self, value: Any, path: str = "$") -> list[str]:
        """Where a value is not of this shape."""
        if value is None or not self._types:
            return []
        if _type_of(value) not in self._types:
            return [f"{path} is {_type_of(value)}, not {sorted(self._types)}"]
        if isinstance(value, dict):
            found = [f"{path}.{name} is missing" for name in self._required - value.keys()]
            for name, item in value.items():
                if name in self._fields:
                    found += self._fields[name].differences(item, f"{path}.{name}")
                else:
                    found.append(f"{path}.{name} is too much")
            return found
        if isinstance(value, list) and self._items is not None:
            return [
                difference
                for index, item in enumerate(value)
                for difference in self._items.differences(item, f"{path}[{index}]")
            ]
        return []


def _type_of(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case dict():
            return "object"
        case list():
            return "array"
        case _:
            return "null"

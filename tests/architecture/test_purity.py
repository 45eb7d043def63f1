"""The domain is pure: an allow-list, since a forbidden list forgets."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "packages/pulse_domain/src"
MODULES = sorted(SOURCE.rglob("*.py"))

ALLOWED = {
    "abc", "base64", "bisect", "collections", "contextlib", "dataclasses", "datetime", "decimal", "enum",
    "functools", "hashlib", "heapq", "itertools", "math", "msgspec", "operator", "pulse_domain", "random",
    "re", "typing", "uuid",
}  # fmt: skip
# The doubles wait for tasks and the contract suites are written for pytest.
ALLOWED_IN_TESTING = ALLOWED | {"asyncio", "pytest"}
# What reads the clock, the environment or shared random state, under an allowed name.
FORBIDDEN_CALLS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "uuid.uuid1", "uuid.uuid4",
    "random.random", "random.seed", "random.randint", "random.choice", "random.shuffle", "random.uniform",
    "open", "input", "print", "__import__",
}  # fmt: skip


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield (node.module or "").partition(".")[0]


def impure_calls(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in FORBIDDEN_CALLS:
                yield name


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_domain_module_imports_only_what_is_allowed(module: Path) -> None:
    tree = ast.parse(module.read_text())
    allowed = ALLOWED_IN_TESTING if "testing" in module.parts else ALLOWED

    assert set(imports(tree)) <= allowed
    assert list(impure_calls(tree)) == []


def test_the_check_sees_a_breach() -> None:
    tree = ast.parse("import socket\nfrom datetime import datetime\ndatetime.now()\n")

    assert set(imports(tree)) - ALLOWED == {"socket"}
    assert list(impure_calls(tree)) == ["datetime.now"]


def test_only_the_clock_adapter_reads_the_clock() -> None:
    root = Path(__file__).parents[2]
    readers = [
        path.relative_to(root).as_posix()
        for path in [*root.glob("packages/*/src/**/*.py"), *root.glob("apps/*/src/**/*.py")]
        if {"datetime.now", "datetime.utcnow", "date.today"} & set(impure_calls(ast.parse(path.read_text())))
    ]

    assert readers == ["packages/pulse_adapters/src/pulse_adapters/clock.py"]


def test_no_test_mocks_what_is_ours() -> None:
    root = Path(__file__).parents[2]
    mocks = [
        path.relative_to(root).as_posix()
        for path in [*root.glob("tests/**/*.py"), *root.glob("packages/*/src/**/*.py")]
        if any(
            isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unittest")
            for node in ast.walk(ast.parse(path.read_text()))
        )
    ]

    assert mocks == []

"""The domain is pure: an allow-list, since a forbidden list forgets."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "packages/pulse_domain/src"
MODULES = sorted(SOURCE.rglob("*.py"))

ALLOWED = {
    "abc", "array", "base64", "bisect", "collections", "contextlib", "dataclasses", "datetime", "decimal",
    "enum", "functools", "hashlib", "heapq", "html", "itertools", "math", "msgspec", "operator", "pulse_domain",
    "random", "re", "statistics", "typing", "uuid",
}  # fmt: skip
# Names without any effect, out of modules that have some: a type, and facts of the interpreter.
HARMLESS = {"os.PathLike", "sys.byteorder", "sys.maxsize", "sys.modules"}
# What backtests do on their caller's word: read a file, write a report, take a frame that can be an array.
ON_REQUEST = {
    "pulse_domain/backtest/files.py": {"csv", "gzip", "pathlib", "pyarrow", "zlib"},
    "pulse_domain/backtest/frames.py": {"numpy"},
    "pulse_domain/backtest/report.py": {"pathlib", "plotly"},
    "pulse_domain/backtest/result.py": {"pathlib"},
}
WITH_EFFECTS = {"pulse_domain.backtest.files", "pulse_domain.backtest.report"}
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
            module = node.module or ""
            if not {f"{module}.{alias.name}" for alias in node.names} <= HARMLESS:
                yield module.partition(".")[0]


def modules_at_import(tree: ast.AST) -> Iterator[str]:
    """What importing the module imports, as written, functions aside."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from modules_at_import(node)


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
    allowed = allowed | ON_REQUEST.get(module.relative_to(SOURCE).as_posix(), set())

    assert set(imports(tree)) <= allowed
    assert list(impure_calls(tree)) == []


def test_the_check_sees_a_breach() -> None:
    tree = ast.parse("import socket\nfrom datetime import datetime\ndatetime.now()\n")

    assert set(imports(tree)) - ALLOWED == {"socket"}
    assert list(impure_calls(tree)) == ["datetime.now"]


def test_the_check_tells_names_from_modules() -> None:
    assert set(imports(ast.parse("from sys import modules, maxsize"))) == set()
    assert set(imports(ast.parse("from sys import modules, stdin"))) == {"sys"}
    assert set(imports(ast.parse("import sys"))) == {"sys"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_what_touches_files_is_imported_only_when_used(module: Path) -> None:
    assert not WITH_EFFECTS & set(modules_at_import(ast.parse(module.read_text())))


def test_that_check_sees_a_breach() -> None:
    at_once = "if True:\n    from pulse_domain.backtest import files\n"
    when_used = "def report():\n    from pulse_domain.backtest.report import write_report\n"

    assert "pulse_domain.backtest.files" in set(modules_at_import(ast.parse(at_once)))
    assert set(modules_at_import(ast.parse(when_used))) == set()


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

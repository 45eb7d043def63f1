"""The documents that are written by hand name only what exists.

Links lead somewhere; modules, files, tests, make targets, commands and variables that are named can be found.
What the documents mean is up to their readers.
"""

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from typer.main import get_command

import gapi.settings
import pulse.cli
import pulse.state
import pulse_api.settings
import pulse_background.settings
from pulse_adapters.kotak.settings import read_kotak_settings
from pulse_adapters.market_settings import VARIABLES as MARKET_VARIABLES
from pulse_adapters.risk_settings import VARIABLES as RISK_VARIABLES
from pulse_adapters.risk_settings import read_risk
from pulse_adapters.telegram.settings import read_telegram_settings
from pulse_adapters.zerodha.settings import read_zerodha_settings

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "doc/contract"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("doc/**/*.md")])
ARCHITECTURE = ROOT / "doc/architecture.md"
CONFIG = ROOT / "doc/guides/config.md"
DECISIONS = sorted(ROOT.glob("doc/decisions/*.md"))
PACKAGES = {path.name for path in [*ROOT.glob("packages/*/src/*"), *ROOT.glob("apps/*/src/*")]}

each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


# --- reading Markdown --------------------------------------------------------------------------


class Fence(NamedTuple):
    language: str
    text: str


def fences(text: str) -> list[Fence]:
    """Code blocks, also those that are indented in a list."""
    found = re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL)
    return [Fence(match[2], re.sub(rf"^{match[1]}", "", match[3], flags=re.MULTILINE)) for match in found]


def prose(text: str) -> str:
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """What stands between single backticks, on one line or wrapped once."""
    found = re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", prose(text))
    return [re.sub(r"\s*\n\s*", " ", span) for span in found]


def anchors(text: str) -> set[str]:
    """The anchors that headings get on the usual forges."""
    titles = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title)).lower() for title in titles]
    return {title.replace(" ", "-") for title in plain}


def table_rows(text: str) -> Iterator[list[str]]:
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def section(text: str, title: str) -> str:
    """From a heading to the next one of its level."""
    level = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert level, f"no section {title!r}"
    rest = text[level.end() :]
    end = re.search(rf"^#{{1,{len(level[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def command_lines(text: str) -> list[str]:
    """The commands of shell blocks, continued lines joined, without the texts that are written to files."""
    blocks = [
        re.sub(r"<<(\w+)\n.*?^\1$", "", fence.text, flags=re.DOTALL | re.MULTILINE)
        for fence in fences(text)
        if fence.language == "sh"
    ]
    lines: list[str] = []
    for block in blocks:
        open_quote = ""
        for line in block.replace("\\\n", " ").splitlines():
            open_quote = f"{open_quote}\n{line}" if open_quote else line
            if open_quote.count("'") % 2 == 0:
                lines.append(open_quote)
                open_quote = ""
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


# --- links and names ---------------------------------------------------------------------------


@each_document
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path.read_text())):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text()), target


@each_document
def test_named_modules_exist(path: Path) -> None:
    for span in spans(path.read_text()):
        parts = span.removesuffix("()").split(".")
        if len(parts) > 1 and parts[0] in PACKAGES and all(part.isidentifier() for part in parts):
            assert resolves(parts), span


def resolves(parts: list[str]) -> bool:
    """Whether a dotted name is a module, or something in one."""
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            if not hasattr(found, name):
                return name in getattr(found, "__struct_fields__", ())
            found = getattr(found, name)
        return True
    return False


def test_every_package_is_in_the_code_map() -> None:
    code_map = section(ARCHITECTURE.read_text(), "Code map")
    modules = {span for span in spans(code_map) if span.partition(".")[0] in PACKAGES}

    assert {module.partition(".")[0] for module in modules} == PACKAGES
    assert all(find_spec(module) for module in modules)


@each_document
def test_named_files_exist(path: Path) -> None:
    roots = ("packages/", "apps/", "tests/", "doc/", "examples/")
    text = path.read_text()
    for span in [*spans(text), *(word for line in command_lines(text) for word in line.split())]:
        if span.startswith(roots) and not any(letter in span for letter in "*<… "):
            assert (ROOT / span).exists(), span


def test_named_tests_exist() -> None:
    sources = [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("packages/*/src/*/testing/**/*.py")]
    known = {
        node.name
        for source in sources
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    named = {span for path in DOCUMENTS for span in spans(path.read_text()) if re.fullmatch(r"test_\w+", span)}

    assert named - known == set()


def test_every_acceptance_criterion_names_its_test() -> None:
    for path in ROOT.glob("doc/requirements/*.md"):
        criteria = section(path.read_text(), "Acceptance criteria")
        rows = [line for line in criteria.splitlines() if line.startswith("|")][2:]
        assert rows
        assert all(re.search(r"`test_\w+`", row) for row in rows), path


def test_decisions_have_their_parts_and_are_linked() -> None:
    parts = ["Context", "Options", "Decision", "Consequences", "A change violates this when"]
    linked = ARCHITECTURE.read_text()

    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    for path in DECISIONS:
        text = path.read_text()
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == parts, path
        assert text.startswith(f"# {path.name[:4]} ")
        assert f"(decisions/{path.name})" in linked, path


def test_the_list_of_service_kits_modules_is_complete() -> None:
    [decision] = [path for path in DECISIONS if path.stem.endswith("service-kit")]
    listed = {span for row in table_rows(decision.read_text()) for span in spans(row[0])}
    folder = ROOT / "packages/service_kit/src/service_kit"

    assert listed == {f"service_kit.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"}


def test_every_import_contract_is_explained() -> None:
    contracts = ConfigParser()
    contracts.read(ROOT / "importlinter.ini")
    names = {name.rpartition(":")[2] for name in contracts.sections() if ":contract:" in name}
    explained = section((ROOT / "doc/guides/architecture_contracts.md").read_text(), "The contracts")

    assert {spans(row[0])[0] for row in table_rows(explained)} == names


# --- commands ----------------------------------------------------------------------------------


@each_document
def test_make_targets_exist(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    text = path.read_text()
    named = {
        name
        for code in [*spans(text), *command_lines(text)]
        for name in re.findall(r"\bmake ([a-z][a-z-]*)", code)
    }

    for name in named:
        if name.startswith("bench-"):
            module = name.removeprefix("bench-").replace("-", "_")
            assert (ROOT / f"tests/benchmarks/{module}.py").exists(), name
        else:
            assert name in targets


@each_document
def test_commands_exist(path: Path) -> None:
    text = path.read_text()
    for line in [
        *command_lines(text),
        *(span for span in spans(text) if span.startswith((".venv/", "pulse "))),
    ]:
        for command in commands_of(line):
            assert_runs(command)


def commands_of(line: str) -> Iterator[list[str]]:
    """A line's own command and those in `$(...)`, without the variables set before them."""
    for inner in re.findall(r"\$\((.*?)\)", line):
        yield shlex.split(inner)
    words = shlex.split(line, comments=True)
    while words and re.match(r"[A-Za-z_]+=", words[0]):
        words = words[1:]
    if words:
        yield words


def assert_runs(words: list[str]) -> None:
    program, *arguments = words
    match Path(program).name or program:
        case "make" | "curl" | "docker" | "export" | "lint-imports" | "cat" | "chmod" | ".":
            assert program == (Path(program).name or program)
        case "python" if arguments[0] == "-m":
            assert find_spec(arguments[1]), words
        case "python":
            assert (ROOT / arguments[0]).is_file(), words
        case "pip":
            assert arguments[0] == "install", words
            assert all(
                (ROOT / re.sub(r"\[.*\]", "", path) / "pyproject.toml").exists() for path in arguments[1:]
            )
        case "pulse":
            assert_is_a_command(arguments)
        case _:
            pytest.fail(f"unknown program: {words}")


def assert_is_a_command(arguments: list[str]) -> None:
    command: Any = get_command(pulse.cli.app)
    path = iter(arguments)
    for word in path:
        if not hasattr(command, "commands"):
            break
        if not word.startswith("-"):
            assert word in command.commands, arguments
            command = command.commands[word]
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {
        "--help",
        "-h",
    }
    assert {word for word in arguments if word.startswith("-")} <= known, arguments


# --- configuration -----------------------------------------------------------------------------


class Recording(dict[str, str]):
    """An environment that remembers what was asked for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self.asked.add(str(key))
        return super().__contains__(key)


class Shell(NamedTuple):
    read: Any
    least: dict[str, str]


DSN = "postgresql://user:password@host/database"
SHELLS = {
    "gapi": Shell(
        gapi.settings.Settings.from_environ, {"PULSE_SERVICE_TOKEN": "t" * 16, "GAPI_JWT_SECRETS": "s" * 32}
    ),
    "pulse_api": Shell(
        pulse_api.settings.read_settings, {"DATABASE_URL": DSN, "PULSE_SERVICE_TOKEN": "t" * 16}
    ),
    "pulse_background": Shell(pulse_background.settings.read_settings, {"DATABASE_URL": DSN}),
}


# A shell, or what several of them read by one function.
PARTS = {
    **SHELLS,
    "kotak": Shell(read_kotak_settings, {"KOTAK_ACCESS_TOKEN": "token", "BROKER_SESSION_SECRETS": "s" * 32}),
    "telegram": Shell(
        read_telegram_settings,
        {"TELEGRAM_BOT_TOKEN": f"1:{'t' * 35}", "TELEGRAM_CHAT_IDS": "7", "PULSE_SERVICE_TOKEN": "t" * 16},
    ),
    "risk": Shell(read_risk, {}),
    "zerodha": Shell(
        read_zerodha_settings,
        {"ZERODHA_API_KEY": "key", "ZERODHA_API_SECRET": "secret", "BROKER_SESSION_SECRETS": "s" * 32},
    ),
}


# Several shells read these by one function, and one table lists them.
LISTED_ELSEWHERE = {
    "pulse_api": {*RISK_VARIABLES},
    "pulse_background": {*RISK_VARIABLES, *MARKET_VARIABLES} - {"BROKER_TYPE", "VIRTUAL_BROKER_READS"},
}


def known_to(part: str) -> set[str]:
    environ = Recording(PARTS[part].least)
    PARTS[part].read(environ)
    return environ.asked - LISTED_ELSEWHERE.get(part, set())


def documented(title: str) -> dict[str, str]:
    """The variables of a section of config.md, with their defaults."""
    rows = table_rows(section(CONFIG.read_text(), title))
    return {spans(row[0])[0]: row[1].strip("`") for row in rows}


@pytest.mark.parametrize("part", PARTS)
def test_config_lists_what_the_settings_know_and_nothing_else(part: str) -> None:
    assert set(documented(part)) == known_to(part)


@pytest.mark.parametrize("part", PARTS)
def test_required_variables_are_told_as_such(part: str) -> None:
    required = {name for name, default in documented(part).items() if default == "required"}

    assert required == set(PARTS[part].least)


@pytest.mark.parametrize("part", PARTS)
def test_setting_a_documented_default_changes_nothing(part: str) -> None:
    read, least = PARTS[part]
    given = {name: value for name, value in documented(part).items() if value not in ("required", "-")}

    def fields(environ: dict[str, str]) -> dict[str, Any]:
        settings = read(environ)
        return {name: getattr(settings, name) for name in settings.__struct_fields__}

    assert given
    assert fields({**least, **given}) == fields(least)


def test_config_lists_what_the_command_line_reads() -> None:
    environ = Recording({})
    pulse.state.state_folder(environ, root=False)
    command: Any = get_command(pulse.cli.app)
    options = {each.envvar for sub in command.commands["order"].commands.values() for each in sub.params}
    sources = (ROOT / "apps/pulse/src/pulse").glob("*.py")
    asked_for = {
        name for path in sources for name in re.findall(r'os\.environ\.get\("(\w+)"', path.read_text())
    }

    assert set(documented("The command `pulse`")) == environ.asked | (options - {None}) | asked_for


def test_the_environment_is_read_nowhere_else() -> None:
    """Settings modules take a mapping; these are the places that hand the process's own over."""
    readers = {
        path.relative_to(ROOT).as_posix()
        for path in [*ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("apps/*/src/**/*.py")]
        if "os.environ" in path.read_text()
    }

    assert readers == {
        "apps/gapi/src/gapi/server.py",
        "apps/pulse/src/pulse/broker.py",
        "apps/pulse/src/pulse/cli.py",
        "apps/pulse/src/pulse/database.py",
        "apps/pulse/src/pulse/instruments.py",
        "apps/pulse/src/pulse/simulate.py",
        "apps/pulse/src/pulse/main.py",
        "apps/pulse/src/pulse/operations.py",
        "apps/pulse/src/pulse/orders.py",
        "apps/pulse/src/pulse/output.py",
        "apps/pulse/src/pulse/up.py",
        "apps/pulse_api/src/pulse_api/__main__.py",
        "apps/pulse_background/src/pulse_background/__main__.py",
        "apps/pulse_background/src/pulse_background/market/__main__.py",
        # It passes on what a process needs to run at all, and nothing of ours.
        "apps/pulse_background/src/pulse_background/market/seat_process.py",
        # It writes one, as the broker's SDK knows no other switch for its log file.
        "packages/pulse_adapters/src/pulse_adapters/kotak/sdk.py",
        "packages/pulse_adapters/src/pulse_adapters/postgres/migrate.py",
    }


# --- deployment --------------------------------------------------------------------------------

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = {name: each for name, each in COMPOSE["services"].items() if each["image"] == "pulse-backend:latest"}
SECRETS = {"PULSE_SERVICE_TOKEN", "GAPI_JWT_SECRETS", "DATABASE_URL", "POSTGRES_PASSWORD"}
MIGRATE = "pulse_adapters.postgres.migrate"


def module_of(service: Mapping[str, Any]) -> str:
    python, option, module = service["command"]
    assert (python, option) == ("python", "-m")
    return str(module)


def test_compose_has_the_services_and_images() -> None:
    images = {name: each["image"] for name, each in COMPOSE["services"].items()}

    services = ("gapi", "pulse-api", "pulse-background", "pulse-market", "migrate")
    ours = dict.fromkeys(services, "pulse-backend:latest")
    assert images == {"postgres": "postgres:18", "redis": "redis:7", **ours}


@pytest.mark.parametrize("name", OURS)
def test_compose_commands_can_be_run(name: str) -> None:
    spec = find_spec(module_of(OURS[name]))

    assert spec is not None
    assert spec.submodule_search_locations is None or find_spec(f"{spec.name}.__main__")


@pytest.mark.parametrize("name", OURS)
def test_compose_sets_only_variables_that_are_read(name: str) -> None:
    module, given = module_of(OURS[name]), OURS[name]["environment"]

    if module.startswith("pulse_background."):  # a part of it, told by the same settings
        module = "pulse_background"
    known = {"DATABASE_URL"} if module == MIGRATE else known_to(module)
    if "TELEGRAM_BOT_TOKEN" in given:
        known |= known_to("telegram")
    assert set(given) <= known
    required = {"DATABASE_URL"} if module == MIGRATE else set(SHELLS[module].least)
    assert required <= set(given)


def test_compose_holds_no_secret() -> None:
    for service in COMPOSE["services"].values():
        for name, value in service.get("environment", {}).items():
            if name in SECRETS:
                assert re.search(r"\$\{\w+:\?[^}]+\}", value), (
                    f"{name} must come from outside, and be asked for"
                )


def test_compose_publishes_the_gateway_only() -> None:
    assert [name for name, each in COMPOSE["services"].items() if "ports" in each] == ["gapi"]
    assert COMPOSE["networks"]["internal"] == {"internal": True}
    for name, each in COMPOSE["services"].items():
        assert "internal" in each["networks"]
        assert ("public" in each["networks"]) == (name == "gapi")


def test_compose_starts_in_order_and_watches_health() -> None:
    services = COMPOSE["services"]
    for name, each in services.items():
        assert set(each.get("depends_on", {})) <= set(services)
        assert ("healthcheck" in each) == (name != "migrate")
        assert each["restart"] == ("no" if name == "migrate" else "unless-stopped")
    for name in ("pulse-api", "pulse-background", "pulse-market"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert set(COMPOSE["volumes"]) == {"postgres-data"}


def test_the_image_is_locked_unprivileged_and_complete() -> None:
    text = (ROOT / "Dockerfile").read_text()
    folders = [path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("*/*/pyproject.toml")]

    assert "--require-hashes -r requirements.txt" in text
    assert sorted(re.findall(r"\./((?:packages|apps)/\w+)", text)) == sorted(folders)
    assert text.index("USER pulse") > text.rindex("FROM ")
    assert not re.search(r"^(ENV|ARG) .*(TOKEN|SECRET|PASSWORD|DATABASE_URL)", text, re.MULTILINE)
    command = re.search(r"^CMD (.*)$", text, re.MULTILINE)
    assert command
    assert_runs(yaml.safe_load(command[1]))
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for word in line.split()
    }
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


@each_document
def test_yaml_examples_can_be_read_and_name_what_exists(path: Path) -> None:
    for fence in fences(path.read_text()):
        if fence.language != "yaml":
            continue
        for document in yaml.safe_load_all(fence.text):
            for container in document["spec"]["template"]["spec"]["containers"]:
                module = module_of(container)
                assert {each["name"] for each in container.get("env", ())} <= known_to(module)


def test_the_settings_modules_are_the_ones_documented() -> None:
    modules = {path.parent.name for path in ROOT.glob("apps/*/src/*/settings.py")}

    assert modules == set(SHELLS)
    assert all(inspect.ismodule(importlib.import_module(f"{name}.settings")) for name in modules)

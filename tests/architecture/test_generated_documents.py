"""Documents that are written from the code say what the code says."""

import re
from pathlib import Path

import pytest

from pulse_domain.orders.status import (
    PHASE_TRANSITIONS,
    QUEUE_TRANSITIONS,
    STAGE_TRANSITIONS,
    ExecutionStatus,
    OrderState,
    SliceOutcome,
)
from tests.architecture.generated import ORDER_LIFECYCLE, ROOT, documents

DOCUMENTS = documents()


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_a_generated_document_is_up_to_date(path: Path) -> None:
    committed = ROOT / path

    assert committed.exists(), f"{path} is missing: run `make docs` and commit it"
    assert committed.read_text(encoding="utf-8") == DOCUMENTS[path], (
        f"{path} is stale: run `make docs` and commit what changed"
    )


@pytest.mark.parametrize("table", [QUEUE_TRANSITIONS, STAGE_TRANSITIONS, PHASE_TRANSITIONS])
def test_the_life_cycle_draws_every_move_of_a_table_and_no_other(table) -> None:
    states = {str(state) for state in table}
    diagrams = re.findall(r"```mermaid\n(.*?)```", DOCUMENTS[ORDER_LIFECYCLE], re.DOTALL)
    [arrows] = [
        drawn
        for diagram in diagrams
        for drawn in [re.findall(r"^    (\w+) --> (\w+): (.*)$", diagram, re.MULTILINE)]
        if {end for arrow in drawn for end in arrow[:2]} == states
    ]

    drawn = {(before, event, after) for before, after, events in arrows for event in events.split("<br/>")}

    assert drawn == {
        (str(state), event.name, str(following))
        for state, row in table.items()
        for event, following in row.items()
        if following is not state
    }


@pytest.mark.parametrize("enum", [ExecutionStatus, SliceOutcome, OrderState])
def test_the_life_cycle_explains_everything_that_is_reported(enum) -> None:
    explained = set(re.findall(r"^\| (\w+) \| ", DOCUMENTS[ORDER_LIFECYCLE], re.MULTILINE))

    assert {str(member) for member in enum} <= explained

"""The process that a strategy has for itself, and how much of the machine it takes."""

import os
from pathlib import Path

import pytest

from pulse_background.market.messages import Answer, Make
from pulse_background.market.seat_process import SeatProcess
from tests.integration.market.desk_process import TCS


@pytest.mark.parametrize(("cpu_bound", "niceness"), [(True, 19), (False, 0)])
async def test_one_that_computes_for_long_takes_what_is_left_over(
    cpu_bound: bool, niceness: int, tmp_path: Path
) -> None:
    (tmp_path / "it.py").write_text(
        f"from pulse_domain.strategy import Strategy\nclass It(Strategy):\n    cpu_bound = {cpu_bound}\n"
    )
    answers, gone = list[Answer](), list[str]()
    seat = await SeatProcess.start(answers.append, gone.append)
    try:
        await seat.call(
            Make(name="it", version=1, kind=f"{tmp_path}/it.py:It", instruments=(TCS,), parameters={})
        )

        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, seat.pid) == min(19, own + niceness)
    finally:
        await seat.close()
    assert len(answers) == 1
    assert gone == []

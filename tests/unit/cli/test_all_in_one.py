from pathlib import Path

import pytest

from pulse.all_in_one import open_all
from pulse.state import Secrets
from pulse_background.settings import SettingsError

SECRETS = Secrets(jwt_secret="j" * 32, service_token="s" * 16, webhook_secret="w" * 16)
ZERODHA = {
    "BROKER_TYPE": "zerodha",
    "ZERODHA_API_KEY": "key",
    "ZERODHA_API_SECRET": "secret",
    "BROKER_SESSION_SECRETS": "s" * 32,
}


async def test_it_does_not_pretend_to_be_at_a_real_broker(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with pytest.raises(SettingsError, match=r"^BROKER_TYPE must be virtual for pulse up"):
        async with open_all(ZERODHA, SECRETS, state_dir, feed="synthetic", feed_speed=1.0):
            pytest.fail("it started")

    assert not state_dir.exists(), "no server was made"

"""The order API keeps the promises that every shell keeps."""

from collections.abc import Mapping

import pytest

from service_kit.testing import Response, ShellConformance, call
from tests.integration.pulse_api.conftest import TOKEN, Api


class TestOrderApi(ShellConformance):
    known_get_path = "/health"
    known_post_only_path = "/internal/orders/preview"

    @pytest.fixture(autouse=True)
    def _api(self, api: Api) -> None:
        self.api = api

    async def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        return await call(
            self.api.app, method, path, {"Authorization": f"Bearer {TOKEN}", **(headers or {})}, body
        )

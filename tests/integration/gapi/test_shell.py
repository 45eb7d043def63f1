"""What every service here promises, over a real socket."""

from collections.abc import Mapping
from typing import Any

import pytest

from service_kit.testing import Response, ShellConformance


class TestGateway(ShellConformance):
    known_get_path = "/health"
    known_post_only_path = "/api/orders/preview"

    @pytest.fixture(autouse=True)
    def _take(self, gateway: Any) -> None:
        self.gateway = gateway

    async def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        answer = await self.gateway.client.request(method, path, headers=headers, content=body)
        return Response(answer.status_code, dict(answer.headers), answer.content)

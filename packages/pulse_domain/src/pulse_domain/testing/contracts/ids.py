"""What every source of ids promises."""

import pytest

from pulse_domain.orders.ids import is_order_id
from pulse_domain.ports.ids import Ids

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


class IdsContract:
    """Subclass it and override `ids`, and `other_ids` where there can be several sources at once."""

    @pytest.fixture
    def ids(self) -> Ids:
        pytest.fail("a subclass overrides this fixture")

    @pytest.fixture
    def other_ids(self) -> Ids | None:
        """A second source, as another process would have it; None where ids are only unique in one."""
        return None

    def test_order_id_is_a_type_id(self, ids: Ids) -> None:
        assert all(is_order_id(ids.order_id()) for _ in range(100))

    def test_order_id_holds_a_uuid_of_version_7(self, ids: Ids) -> None:
        number = 0
        for letter in ids.order_id().removeprefix("ord_"):
            number = number << 5 | _CROCKFORD.index(letter)

        assert number >> 76 & 0xF == 7
        assert number >> 62 & 0b11 == 0b10

    def test_order_ids_are_unique_and_grow(self, ids: Ids) -> None:
        order_ids = [ids.order_id() for _ in range(10_000)]

        assert len(set(order_ids)) == len(order_ids)
        assert order_ids == sorted(order_ids)

    def test_executor_ids_are_never_used_again(self, ids: Ids) -> None:
        names = [ids.executor_id() for _ in range(1000)]

        assert len(set(names)) == len(names)
        assert all(0 < len(name) <= 64 and name.isprintable() for name in names)

    def test_two_sources_never_agree(self, ids: Ids, other_ids: Ids | None) -> None:
        if other_ids is None:
            return
        assert not {ids.order_id() for _ in range(1000)} & {other_ids.order_id() for _ in range(1000)}
        assert not {ids.executor_id() for _ in range(100)} & {other_ids.executor_id() for _ in range(100)}

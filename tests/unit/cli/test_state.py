import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.pretty import pretty_repr

from pulse.errors import StateError
from pulse.state import (
    Endpoint,
    load_or_create_secrets,
    load_secrets,
    reachable_url,
    read_endpoint,
    remove_endpoint,
    state_folder,
    write_endpoint,
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("environ", "root", "folder"),
    [
        ({"PULSE_STATE_DIR": "/srv/pulse", "XDG_STATE_HOME": "/x"}, True, "/srv/pulse"),
        ({"XDG_STATE_HOME": "/x"}, True, "/var/lib/pulse"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, False, "/x/pulse"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, False, "/h/.local/state/pulse"),
        ({"PULSE_STATE_DIR": "", "XDG_STATE_HOME": "", "HOME": "/h"}, False, "/h/.local/state/pulse"),
    ],
)
def test_state_folder_is_the_given_one_or_the_systems(environ: dict[str, str], root: bool, folder: str) -> None:
    assert state_folder(environ, root=root) == Path(folder)


def test_relative_state_folder_becomes_absolute() -> None:
    assert state_folder({"PULSE_STATE_DIR": "here"}) == Path.cwd() / "here"


def test_secrets_are_made_once_and_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "state"

    made = load_or_create_secrets(folder)

    assert load_or_create_secrets(folder) == made
    assert load_secrets(folder) == made
    assert len({made.jwt_secret, made.service_token, made.webhook_secret}) == 3
    assert os.listdir(folder) == ["secrets.json"]


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_others_may_pass_the_folder_and_not_read_the_secrets(tmp_path: Path, umask: int) -> None:
    former = os.umask(umask)
    try:
        load_or_create_secrets(tmp_path / "state")
    finally:
        os.umask(former)

    assert mode_of(tmp_path / "state") == 0o711
    assert mode_of(tmp_path / "state" / "secrets.json") == 0o600


def test_secrets_made_at_once_are_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(load_or_create_secrets, [tmp_path / "state"] * 8))

    assert len({secrets.jwt_secret for secrets in made}) == 1


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    secrets = load_or_create_secrets(tmp_path / "state")

    shown = f"{secrets!r} {secrets} {pretty_repr(secrets)}"

    assert secrets.jwt_secret not in shown
    assert secrets.service_token not in shown
    assert secrets.webhook_secret not in shown


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_secrets_open_to_others_are_refused(tmp_path: Path, mode: int) -> None:
    load_or_create_secrets(tmp_path / "state")
    (tmp_path / "state" / "secrets.json").chmod(mode)

    with pytest.raises(StateError, match="open to other users"):
        load_or_create_secrets(tmp_path / "state")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"jwt_secret": "hunter2-hunter2"}'])
def test_broken_secrets_are_refused_without_being_shown(tmp_path: Path, content: str) -> None:
    load_or_create_secrets(tmp_path / "state")
    (tmp_path / "state" / "secrets.json").write_text(content)

    with pytest.raises(StateError, match="is broken") as refused:
        load_or_create_secrets(tmp_path / "state")

    assert "hunter2" not in str(refused.value)


def test_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(StateError, match="writable by other users"):
        load_or_create_secrets(tmp_path)


def test_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")

    with pytest.raises(StateError, match="cannot use the state folder"):
        load_or_create_secrets(tmp_path / "state")


def test_no_secrets_where_there_is_no_folder(tmp_path: Path) -> None:
    assert load_secrets(tmp_path / "state") is None
    assert not (tmp_path / "state").exists()


def test_endpoint_is_told_and_taken_back(tmp_path: Path) -> None:
    write_endpoint(tmp_path, "http://127.0.0.1:8123", "http://127.0.0.1:8123/pulse")

    assert read_endpoint(tmp_path) == Endpoint(
        base_url="http://127.0.0.1:8123", order_api="http://127.0.0.1:8123/pulse"
    )
    assert mode_of(tmp_path / "endpoint.json") == 0o644

    remove_endpoint(tmp_path, "http://127.0.0.1:8123")

    assert read_endpoint(tmp_path) is None
    assert os.listdir(tmp_path) == []


def test_endpoint_of_another_is_left_alone(tmp_path: Path) -> None:
    write_endpoint(tmp_path, "http://127.0.0.1:8123", "http://127.0.0.1:8123/pulse")
    write_endpoint(tmp_path, "http://127.0.0.1:9000", "http://127.0.0.1:9001")

    remove_endpoint(tmp_path, "http://127.0.0.1:8123")

    assert read_endpoint(tmp_path) == Endpoint(
        base_url="http://127.0.0.1:9000", order_api="http://127.0.0.1:9001"
    )


def test_broken_endpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "endpoint.json").write_text(json.dumps({"url": 1}))

    with pytest.raises(StateError, match=r"endpoint\.json is broken"):
        read_endpoint(tmp_path)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("fe80::1", "http://[fe80::1]:80"),
        ("desk.example", "http://desk.example:80"),
    ],
)
def test_url_of_a_bound_server_can_be_connected_to(host: str, url: str) -> None:
    assert reachable_url(host, 80) == url

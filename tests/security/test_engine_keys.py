"""Attack: whoever may declare a connection has the engine's own token sent to a system of theirs, as its password."""

from pathlib import Path

import pytest

from pymigrate.engine.adapters.secrets.file import FileBackend
from pymigrate.engine.domain.errors import SecretRefused
from pymigrate.engine.ports.secrets import parse_secret_ref


@pytest.mark.parametrize("name", ["token", "acknowledge-key", "audit.key", "client.key"])
def test_no_reference_leads_to_what_lets_in_at_the_engine(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "endpoint").write_text("127.0.0.1:7433")
    (home / name).write_text("what nobody else may have")
    (tmp_path / "link").symlink_to(home / name)
    for path in (home / name, tmp_path / "link"):
        with pytest.raises(SecretRefused, match="the engine itself"):
            FileBackend().read(parse_secret_ref(f"file://{path}", "password"))
    with pytest.raises(SecretRefused, match="the engine itself"):
        FileBackend().read(parse_secret_ref(f"file://{home}#{name}", "password"))


def test_nor_to_the_secret_that_stands_for_its_home(tmp_path: Path) -> None:
    held = tmp_path / "..2026"
    held.mkdir()
    for name in ("endpoint", "token"):
        (held / name).write_text("what nobody else may have")
        (tmp_path / name).symlink_to(f"..data/{name}")
    (tmp_path / "..data").symlink_to(held.name)
    for reference in (f"file://{tmp_path}/token", f"file://{tmp_path}#token"):
        with pytest.raises(SecretRefused, match="the engine itself"):
            FileBackend().read(parse_secret_ref(reference, "password"))


def test_no_reference_leads_to_what_a_process_was_started_with() -> None:
    with pytest.raises(SecretRefused, match="the engine itself"):
        FileBackend().read(parse_secret_ref("file:///proc/self/environ", "password"))


def test_a_token_of_a_system_is_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of a system")
    assert (
        FileBackend().read(parse_secret_ref(f"file://{tmp_path}/token", "password")).values[""].reveal()
        == "of a system"
    )

"""Files as Docker and Kubernetes mount them: read at one moment, and never outside of their root."""

import os
from pathlib import Path

import pytest

from pymigrate.engine.adapters.secrets.env import EnvKind
from pymigrate.engine.adapters.secrets.file import FileBackend, FileKind
from pymigrate.engine.domain.errors import PyMigrateError, SecretMissing, SecretRefused
from pymigrate.engine.ports.secret_backend import BackendOptions, Lease
from pymigrate.engine.ports.secrets import SecretRef
from pymigrate.engine.testing.secrets import MemorySecrets

VALUE = "hunter2-of-the-file"


def ref(path: Path | str, key: str = "") -> SecretRef:
    return SecretRef("file", str(path), key)


def read(backend: FileBackend, path: Path | str, key: str = "") -> str:
    return backend.read(ref(path, key)).values[key].reveal()


def mount(folder: Path, version: str, values: dict[str, bytes]) -> None:
    """As the kubelet does it."""
    held = folder / f"..{version}"
    held.mkdir(parents=True)
    for name, value in values.items():
        (held / name).write_bytes(value)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data_tmp").symlink_to(held.name)
    (folder / "..data_tmp").replace(folder / "..data")


def test_a_file_is_read_whole_without_its_last_newline_and_its_path_may_be_quoted(tmp_path: Path) -> None:
    path = tmp_path / "pass word"
    path.write_text("line one\nline two\r\n")
    assert read(FileBackend(), str(path).replace(" ", "%20")) == "line one\nline two"


def test_numbers_in_a_json_file_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "legacy.json"
    path.write_text('{"port": 5432, "factor": 1.50, "is_on": true, "more": {"a": 1}, "": "x"}')
    document = FileBackend().read(ref(path, "port"))
    assert {key: secret.reveal() for key, secret in document.values.items() if key} == {
        "port": "5432",
        "factor": "1.50",
    }


def test_a_folder_of_docker_s_secrets_is_read_by_the_names_of_its_files_alone(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(VALUE + "\n")
    (tmp_path / "other").write_bytes(b"\xff")
    document = FileBackend().read(ref(tmp_path, "password"))
    assert {key: secret.reveal() for key, secret in document.values.items()} == {"password": VALUE}
    assert not document.is_whole
    for key in ("..", ".", f"../{tmp_path.name}/password"):
        with pytest.raises(SecretMissing):
            FileBackend().read(ref(tmp_path, key))


def test_all_keys_of_a_secret_that_kubernetes_mounts_are_of_one_version(tmp_path: Path) -> None:
    mount(tmp_path / "m", "2026_01", {"username": b"one", "password": b"one-secret", "keystore": b"\xff\xfe"})
    backend = FileBackend(str(tmp_path / "m"))
    before = backend.read(ref(tmp_path / "m", "username"))
    assert {key: secret.reveal() for key, secret in before.values.items()} == {
        "username": "one",
        "password": "one-secret",
    }
    assert before.version == "2026_01"
    mount(tmp_path / "m", "2026_02", {"username": b"two", "password": b"two-secret", "keystore": b"\xff"})
    after = backend.read(ref(tmp_path / "m", "password"))
    assert (after.version, after.values["username"].reveal()) == ("2026_02", "two")
    assert read(backend, tmp_path / "m" / "password") == "two-secret"
    with pytest.raises(SecretMissing, match="UTF-8"):
        backend.read(ref(tmp_path / "m", "keystore"))


def test_a_switch_while_a_secret_is_read_is_read_again(tmp_path: Path) -> None:
    mount(tmp_path, "1", {"password": b"one"})

    class Switched(FileBackend):
        """Sees the folder switched, and the former one gone, once it knows where the link leads."""

        switches = 0

        def _real(self, asked: SecretRef, path: Path) -> Path:
            real = super()._real(asked, path)
            if self.switches < 2:
                self.switches += 1
                mount(tmp_path, str(self.switches + 1), {"password": f"after {self.switches}".encode()})
                for file in (former := tmp_path / f"..{self.switches}").iterdir():
                    file.unlink()
                former.rmdir()
            return real

    assert read(Switched(), tmp_path / "password") == "after 2"


def test_nothing_leads_out_of_the_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "password").write_text(VALUE)
    (root / "link").symlink_to(outside / "password")
    (root / "folder").symlink_to(outside)
    (root / "within").symlink_to(root / "real")
    (root / "real").write_text(VALUE)
    backend = FileBackend(str(root))
    assert read(backend, root / "within") == VALUE
    assert read(backend, root / "real") == VALUE
    for path, key in (
        (root / "link", ""),
        (root / "folder" / "password", ""),
        (root / "folder", "password"),
        (root, "link"),
        (root / ".." / "outside" / "password", ""),
        (f"{root}/%2e%2e/outside/password", ""),
        (f"{root}-beside", ""),
        (outside / "password", ""),
    ):
        Path(f"{root}-beside").write_text(VALUE)
        with pytest.raises(SecretRefused, match="leads out of") as refused:
            backend.read(ref(path, key))
        assert VALUE not in str(refused.value)


def test_a_link_that_takes_a_part_s_place_is_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a").mkdir(parents=True)
    (root / "a" / "password").write_text("mine")
    outside.mkdir()
    (outside / "password").write_text(VALUE)

    class Replaced(FileBackend):
        """Sees a folder replaced by a link after it was checked."""

        def _real(self, asked: SecretRef, path: Path) -> Path:
            real = super()._real(asked, path)
            (root / "a").rename(root / "b")
            (root / "a").symlink_to(outside)
            return real

    with pytest.raises(SecretMissing) as refused:
        Replaced(str(root)).read(ref(root / "a" / "password"))
    assert VALUE not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"hunter2\xff", "UTF-8"), (b"x" * 1_000_001, "1,000,000 bytes"), (None, "is no file")],
)
def test_what_is_no_text_of_bounded_size_is_missing_and_not_shown(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "secret"
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    with pytest.raises(SecretMissing, match=said) as missing:
        FileBackend().read(ref(path))
    assert "hunter2" not in str(missing.value)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("secret", "must be absolute"),
        ("/nowhere/at/all", "No such file"),
        ("/etc", "is no file"),
        ("/a%00b", "absolute"),
    ],
)
def test_a_path_that_leads_to_no_file_says_why(path: str, said: str) -> None:
    with pytest.raises(SecretMissing, match=said):
        FileBackend().read(ref(path))


def test_a_root_that_is_not_there_is_found_by_logging_in(tmp_path: Path) -> None:
    assert FileBackend(str(tmp_path)).login() == "files"
    with pytest.raises(SecretMissing, match="is no folder"):
        FileBackend(str(tmp_path / "x")).login()


def test_kinds_open_what_their_options_say_and_nothing_is_leased(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    file = FileKind().open(BackendOptions("files", {"root": str(tmp_path)}, {}, MemorySecrets()))
    env = EnvKind().open(BackendOptions("vars", {"prefix": "PYMIGRATE_NONE_"}, {}, MemorySecrets()))
    assert read(file, tmp_path / "a") == "x"
    with pytest.raises(SecretRefused, match="begin with PYMIGRATE_NONE_"):
        env.read(SecretRef("vars", "PATH"))
    for backend in (file, env):
        with pytest.raises(PyMigrateError):
            backend.renew(Lease("x", 1.0))
        backend.revoke(Lease("x", 1.0))

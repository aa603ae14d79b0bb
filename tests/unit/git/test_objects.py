"""What is made of git's answers, whatever somebody has put into a commit or a folder."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.adapters.git.objects import blobs_of, commit_of, entries_of, signature_kind
from pymigrate.engine.domain.errors import RepositoryRefused
from pymigrate.engine.ports.repository import Blob

SHA = "0123456789" * 4


def test_a_commit_is_read_with_its_headers() -> None:
    raw = (
        f"tree {SHA}\nparent {'a' * 40}\nparent {'b' * 40}\nauthor Ada A <ada@x> 1000000000 +0200\n"
        "committer Bob <bob@x> 1000000060 -0330\ngpgsig -----BEGIN SSH SIGNATURE-----\n author Eve <eve@x> 1 +0000\n"
        " parent x\n -----END SSH SIGNATURE-----\n\nSubject\n\nBody\nparent none\n"
    ).encode()
    commit = commit_of(SHA, raw)
    assert commit.parents == ("a" * 40, "b" * 40)
    assert commit.author == "Ada A <ada@x>"
    assert commit.time == datetime(2001, 9, 9, 1, 47, 40, tzinfo=UTC)
    assert (commit.subject, commit.message) == ("Subject", "Subject\n\nBody\nparent none")
    assert signature_kind(raw) == "ssh"


@pytest.mark.parametrize(
    ("begin", "kind"),
    [
        ("SSH SIGNATURE", "ssh"),
        ("PGP SIGNATURE", "openpgp"),
        ("PGP MESSAGE", "openpgp"),
        ("SIGNED MESSAGE", "signed message"),
    ],
)
def test_the_kind_of_a_signature_is_that_of_the_header(begin: str, kind: str) -> None:
    assert signature_kind(f"tree x\ngpgsig -----BEGIN {begin}-----\n x\n\nmessage".encode()) == kind
    assert signature_kind(f"tree x\n\ngpgsig -----BEGIN {begin}-----\n".encode()) == ""


@given(st.binary(max_size=400))
def test_no_commit_is_too_odd_to_be_read(raw: bytes) -> None:
    commit = commit_of(SHA, raw)
    assert commit.time.tzinfo is UTC
    assert signature_kind(raw) == "" or raw


@given(st.integers(-(10**30), 10**30))
def test_a_time_that_is_none_is_read_as_one(seconds: int) -> None:
    commit = commit_of(SHA, f"committer A <a@x> {seconds} +9999\n\nx".encode())
    assert datetime(1970, 1, 1, tzinfo=UTC) <= commit.time <= datetime(9999, 12, 31, tzinfo=UTC)


name = st.binary(min_size=1, max_size=30).filter(lambda text: b"\0" not in text)


@given(st.lists(st.tuples(name, st.integers(0, 200_000_000)), max_size=20))
def test_files_are_taken_or_refused_and_names_are_always_readable(files: list[tuple[bytes, int]]) -> None:
    listed = b"".join(f"100644 blob {SHA} {size:>7}\t".encode() + path + b"\0" for path, size in files)
    blobs, told = taken(listed)
    if told is not None:
        assert told.reason in {"NAME_REFUSED", "FILE_TOO_LARGE", "FOLDER_TOO_LARGE"}
        assert str(told).isprintable()
        return
    assert [blob.path for blob in blobs] == sorted(blob.path for blob in blobs)
    assert {blob.path.encode() for blob in blobs} == {
        path for path, _ in files if path.endswith((b".yaml", b".yml", b".json"))
    }


def taken(listed: bytes) -> tuple[tuple[Blob, ...], RepositoryRefused | None]:
    """The files, and how they were refused."""
    try:
        return blobs_of(entries_of(listed), "folder"), None
    except RepositoryRefused as refused:
        return (), refused


def listing(*entries: tuple[str, str, int | None]) -> bytes:
    return b"".join(
        f"{mode} blob {SHA} {'-' if size is None else size:>7}\t{path}\0".encode() for mode, path, size in entries
    )


@pytest.mark.parametrize(
    ("reason", "entries"),
    [
        ("LINK_REFUSED", [("120000", "a.txt", 3)]),
        ("SUBMODULE_REFUSED", [("160000", "a", None)]),
        ("FILE_TOO_LARGE", [("100644", "a.yaml", 4 * 1024**2 + 1)]),
        ("FILE_TOO_LARGE", [("100644", "a.bin", 64 * 1024**2 + 1)]),
        ("FOLDER_TOO_LARGE", [("100644", f"{number}.yaml", 4 * 1024**2) for number in range(17)]),
        ("NAME_REFUSED", [("100644", "../a.yaml", 1)]),
        ("NAME_REFUSED", [("100644", "a/./b.yaml", 1)]),
    ],
)
def test_what_a_folder_may_not_have_is_refused(reason: str, entries: list[tuple[str, str, int | None]]) -> None:
    with pytest.raises(RepositoryRefused) as refused:
        blobs_of(entries_of(listing(*entries)), "")
    assert refused.value.reason == reason


def test_what_just_fits_is_taken() -> None:
    entries = [("100755", "a.yaml", 4 * 1024**2), ("100644", "b.bin", 64 * 1024**2), ("100644", "c.YAML", 5 * 1024**2)]
    assert [blob.path for blob in blobs_of(entries_of(listing(*entries)), "")] == ["a.yaml"]

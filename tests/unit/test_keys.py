"""Secrets that the engine makes for itself: once, whole, for its owner alone."""

from pathlib import Path

import pytest

from pymigrate.engine.domain.errors import PermanentError
from pymigrate.engine.main.keys import given_key, kept_key, sealing_key


def test_a_key_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = kept_key(path)
    assert len(key) >= 40
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept_key(path) == key
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_two_keys_are_never_the_same(tmp_path: Path) -> None:
    assert kept_key(tmp_path / "a") != kept_key(tmp_path / "b")


def test_a_key_that_others_could_read_is_shut(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("given\n")
    path.chmod(0o644)
    assert kept_key(path) == "given"
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_empty_key_is_refused_since_it_would_let_anybody_in(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("\n")
    with pytest.raises(PermanentError, match="is empty"):
        kept_key(path)


def test_a_token_that_is_given_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{'k3y_' * 8}\n")
    path.chmod(0o444)
    assert given_key(path) == "k3y_" * 8
    assert path.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("content", ["", "k" * 31, "k" * 4097, f"{'k' * 20} {'k' * 20}", "ä" * 40, "k" * 40 + "\x00"])
def test_a_token_that_is_guessed_easily_or_can_not_be_sent_is_refused_and_not_shown(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    with pytest.raises(PermanentError, match="openssl rand -hex 32") as refused:
        given_key(path)
    assert not content or content not in str(refused.value)


def test_a_token_that_is_given_and_missing_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=f"PYMIGRATE_TOKEN_FILE: can't read {tmp_path}/token"):
        given_key(tmp_path / "token")
    assert not (tmp_path / "token").exists()


def test_the_key_that_seals_are_signed_with_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    key = sealing_key(path, is_given=False)
    assert path.stat().st_mode & 0o777 == 0o600
    again = sealing_key(path, is_given=False)
    assert again.key_id == key.key_id
    assert again.is_signed(key.key_id, b"m", key.sign(b"m"))
    assert not again.is_signed(key.key_id, b"n", key.sign(b"m"))
    assert not again.is_signed(b"another", b"m", key.sign(b"m"))
    assert [each.name for each in tmp_path.iterdir()] == ["audit.key"]


def test_a_key_for_seals_that_is_given_is_taken_with_the_public_keys_of_before_behind_it(tmp_path: Path) -> None:
    before, path = sealing_key(tmp_path / "before", is_given=False), tmp_path / "given"
    sealing_key(path, is_given=False)
    path.write_text(path.read_text() + before.public_key)
    path.chmod(0o440)
    key = sealing_key(path, is_given=True)
    assert path.stat().st_mode & 0o777 == 0o440
    assert key.is_signed(before.key_id, b"m", before.sign(b"m"))
    assert key.key_id != before.key_id


@pytest.mark.parametrize(
    "content", [b"", b"s3cret", b"-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n"]
)
def test_a_key_for_seals_that_is_none_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "audit.key"
    path.write_bytes(content)
    with pytest.raises(PermanentError, match=str(path)) as refused:
        sealing_key(path, is_given=True)
    assert "s3cret" not in str(refused.value)


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = tmp_path / "audit.key"
    form = Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    path.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(*form))
    with pytest.raises(PermanentError, match="another kind of key"):
        sealing_key(path, is_given=True)


def test_a_key_for_seals_that_is_given_and_missing_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=f"PYMIGRATE_AUDIT_KEY_FILE: can't read {tmp_path}/key"):
        sealing_key(tmp_path / "key", is_given=True)
    assert not (tmp_path / "key").exists()

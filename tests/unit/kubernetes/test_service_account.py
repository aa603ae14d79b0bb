"""A pod's service account, and a token that is replaced while it is used."""

import os
from pathlib import Path

import pytest

from pymigrate.engine.adapters.kubernetes.access import TOKEN_SECONDS_MAX, FileToken
from pymigrate.engine.adapters.kubernetes.service_account import service_account_access
from pymigrate.engine.ports.cluster import ClusterMisconfigured
from pymigrate.engine.testing.clock import ManualClock
from tests.certificates import CertificateAuthority, replace

VARIABLES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    CertificateAuthority().issue(tmp_path)
    (tmp_path / "token").write_text("first")
    (tmp_path / "namespace").write_text("prod\n")
    return tmp_path


def test_a_pod_finds_its_cluster(folder: Path) -> None:
    found = service_account_access(ManualClock(), VARIABLES, folder)
    assert (found.server, found.namespace, found.token.current()) == ("https://10.0.0.1:443", "prod", "first")
    assert found.tls is not None
    assert len(found.tls.get_ca_certs()) == 1


def test_an_address_with_colons_is_put_in_brackets(folder: Path) -> None:
    found = service_account_access(ManualClock(), {**VARIABLES, "KUBERNETES_SERVICE_HOST": "fd00::1"}, folder)
    assert found.server == "https://[fd00::1]:443"


def test_elsewhere_there_is_no_cluster(folder: Path) -> None:
    with pytest.raises(ClusterMisconfigured, match="name a kubeconfig"):
        service_account_access(ManualClock(), {}, folder)


def test_a_pod_without_a_token_is_told_so(folder: Path) -> None:
    (folder / "token").unlink()
    with pytest.raises(ClusterMisconfigured, match="token holds no token"):
        service_account_access(ManualClock(), VARIABLES, folder)


def test_a_token_that_was_replaced_is_sent_at_once(folder: Path) -> None:
    token = FileToken(folder / "token", ManualClock())
    assert token.current() == "first"
    replace(folder / "token", b"second")
    assert token.current() == "second"


def test_a_token_is_read_anew_each_minute_even_if_its_file_looks_the_same(folder: Path) -> None:
    clock, path = ManualClock(), folder / "token"
    token, before = FileToken(path, clock), path.stat()
    path.write_text("other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert token.current() == "first"
    clock.advance(TOKEN_SECONDS_MAX)
    assert token.current() == "other"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"two\nlines"])
def test_while_no_token_can_be_read_the_former_one_is_sent(folder: Path, content: bytes) -> None:
    token = FileToken(folder / "token", ManualClock())
    (folder / "token").write_bytes(content)
    assert token.current() == "first"
    (folder / "token").unlink()
    assert token.current() == "first"
    (folder / "token").write_text("second")
    assert token.current() == "second"

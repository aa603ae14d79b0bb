"""What a Vault's nodes do besides answering: standbys, seals, quotas, lags, outages, namespaces, TLS."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pymigrate.engine.domain.errors import SecretMissing, SecretRefused, SecretsUnavailable
from tests.integration.secrets.vault_reading import PASSWORD, at, refusal, value
from tests.mail import make_certificates
from tests.vaults.scene import VaultScene
from tests.vaults.server import Fault, VaultNode, running_vault


def secret(scene: VaultScene) -> str:
    mount = scene.mount("kv", "kv", 2)
    scene.admin.secrets.kv.v2.create_or_update_secret("legacy", {"password": PASSWORD}, mount_point=mount)
    return f"{mount}/legacy"


@pytest.fixture
def standby(stand_in: VaultScene) -> Iterator[VaultNode]:
    """A second node, which sends its callers to the first."""
    node = VaultNode(stand_in.faults.vault, leads_to=stand_in.address)
    yield node
    node.close()


def test_a_standby_is_followed_to_the_active_node_with_method_body_and_token(
    stand_in: VaultScene, standby: VaultNode
) -> None:
    path = secret(stand_in)
    policy = stand_in.allow(f"{stand_in.base}/*")
    backend = stand_in.by_app_role(*stand_in.app_role(policy), address=standby.address)
    assert value(backend, at(path), "1") == PASSWORD
    assert [each.method for each in standby.asked] == ["POST", "GET", "GET"]
    assert stand_in.faults.asked[-1].query == {"version": "1"}


@pytest.mark.parametrize(
    "location",
    [
        "http://vault.example.com/v1/{path}",
        "{address}/v1/elsewhere",
        "https://127.0.0.1:1/v1/{path}",
        "http://root:x@127.0.0.1:1/v1/{path}",
        "ftp://127.0.0.1/v1/{path}",
        "http://[127.0.0.1/v1/{path}",
    ],
)
def test_a_redirect_to_anything_else_is_refused_and_no_token_goes_there(stand_in: VaultScene, location: str) -> None:
    path = secret(stand_in)
    backend = stand_in.open()
    value(backend, at(path))
    kv_path = f"{stand_in.base}/kv/data/legacy"
    where = location.format(path=kv_path, address=stand_in.address)
    stand_in.faults.faults.append(Fault(307, headers={"Location": where}, path=kv_path))
    before = len(stand_in.faults.asked)
    assert "which is not followed" in refusal(SecretRefused, backend, at(path))
    assert len(stand_in.faults.asked) == before + 1


def test_nodes_that_send_one_round_in_circles_are_left(stand_in: VaultScene, standby: VaultNode) -> None:
    path = secret(stand_in)
    standby.leads_to = standby.address
    assert "redirects more than 2 times" in refusal(SecretRefused, stand_in.open(address=standby.address), at(path))


def test_a_redirect_that_changes_the_method_is_refused(stand_in: VaultScene) -> None:
    path, backend = secret(stand_in), stand_in.open()
    stand_in.faults.faults.append(Fault(302, headers={"Location": f"{stand_in.address}/v1/x"}, path="sys/internal"))
    assert "302" in refusal(SecretRefused, backend, at(path))


@pytest.mark.parametrize("lag", [1, 2, 1_000])
def test_a_node_that_lags_behind_is_asked_again_and_at_last_to_ask_the_active_one(
    stand_in: VaultScene, lag: int
) -> None:
    path = secret(stand_in)
    lagging = VaultNode(stand_in.faults.vault, lag=lag)
    try:
        backend = stand_in.by_app_role(
            *stand_in.app_role(stand_in.allow(f"{stand_in.base}/*")), address=lagging.address
        )
        assert value(backend, at(path)) == PASSWORD
        known = [each.headers.get("x-vault-index") for each in lagging.asked]
        assert known[0] is None
        assert all(known[1:])
    finally:
        lagging.close()


def test_a_node_that_stays_behind_is_unavailable(stand_in: VaultScene) -> None:
    path, backend = secret(stand_in), stand_in.open()
    stand_in.faults.faults.append(Fault(412, ("required index state not present",), path="sys/internal"))
    assert "Vault answered 412" in refusal(SecretsUnavailable, backend, at(path))


def test_a_sealed_vault_is_unavailable_and_read_again_when_it_is_open(stand_in: VaultScene) -> None:
    path, backend = secret(stand_in), stand_in.open()
    stand_in.faults.vault.is_sealed = True
    assert "Vault answered 503: Vault is sealed" in refusal(SecretsUnavailable, backend, at(path))
    with pytest.raises(SecretsUnavailable, match="sealed"):
        backend.login()
    stand_in.faults.vault.is_sealed = False
    assert value(backend, at(path)) == PASSWORD


def test_a_quota_is_waited_for_as_long_as_vault_says(stand_in: VaultScene) -> None:
    path, backend = secret(stand_in), stand_in.open()
    stand_in.faults.throttles(17, times=1)
    with pytest.raises(SecretsUnavailable, match=r"429: request path .* rate limit quota exceeded") as failed:
        backend.read(at(path))
    assert failed.value.retry_after_seconds == 17.0
    assert value(backend, at(path)) == PASSWORD


@pytest.mark.parametrize("status", [500, 502, 503, 504, 472, 473])
def test_a_node_that_fails_is_unavailable(stand_in: VaultScene, status: int) -> None:
    path, backend = secret(stand_in), stand_in.open()
    stand_in.faults.faults.append(Fault(status, ("internal error",), times=1))
    assert str(status) in refusal(SecretsUnavailable, backend, at(path))
    assert value(backend, at(path)) == PASSWORD


@pytest.mark.parametrize("body", ["<html>502</html>", "[1]", "\x00", "{" * 2_000, ""])
def test_what_answers_but_is_no_vault_is_unavailable(stand_in: VaultScene, body: str) -> None:
    path, backend = secret(stand_in), stand_in.open()
    value(backend, at(path))
    stand_in.faults.faults.append(Fault(200, body=body or "[]", path=f"{stand_in.base}/kv"))
    assert "is this a Vault" in refusal(SecretsUnavailable, backend, at(path))


def test_an_answer_without_end_is_cut_off(stand_in: VaultScene) -> None:
    path, backend = secret(stand_in), stand_in.open()
    stand_in.faults.faults.append(Fault(200, body="[" + "1," * (3 << 20) + "1]"))
    assert "answered with more than" in refusal(SecretsUnavailable, backend, at(path))


def test_vaults_words_are_shown_only_where_they_repeat_no_secret(stand_in: VaultScene) -> None:
    path = secret(stand_in)
    token = stand_in.token_with(stand_in.allow(f"{stand_in.base}/*"))
    backend = stand_in.with_token(token)
    value(backend, at(path))
    stand_in.faults.faults.append(
        Fault(500, (f"no route for {token}", "try again", "x" * 1_000), path=f"{stand_in.base}/kv")
    )
    said = refusal(SecretsUnavailable, backend, at(path))
    assert token not in said
    assert "repeat a secret" in said
    assert "try again" in said
    assert len(said) < 500


def test_an_engine_that_is_being_upgraded_is_waited_for(stand_in: VaultScene) -> None:
    path, backend = secret(stand_in), stand_in.open()
    words = "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period"
    stand_in.faults.faults.append(Fault(400, (words,), path=f"{stand_in.base}/kv", times=1))
    assert "400: Upgrading" in refusal(SecretsUnavailable, backend, at(path))
    assert value(backend, at(path)) == PASSWORD


def test_an_answer_in_chunks_is_read_whole(stand_in: VaultScene) -> None:
    path, backend = secret(stand_in), stand_in.open()
    long = PASSWORD * 20_000
    stand_in.admin.secrets.kv.v2.create_or_update_secret(
        "legacy", {"password": long}, mount_point=f"{stand_in.base}/kv"
    )
    stand_in.faults.is_chunked = True
    assert [value(backend, at(path)) for _ in range(3)] == [long] * 3
    assert len({each.from_port for each in stand_in.faults.asked[-3:]}) == 1


def test_an_answer_that_drips_in_is_left_after_its_time(stand_in: VaultScene) -> None:
    path, backend = secret(stand_in), stand_in.open()
    value(backend, at(path))
    stand_in.faults.on_piece = lambda: stand_in.clock.wait(4.0)
    stand_in.faults.is_chunked = True
    assert "does not answer within 10 s" in refusal(SecretsUnavailable, backend, at(path))


def test_a_vault_that_is_gone_is_unavailable_and_why_is_told(stand_in: VaultScene) -> None:
    path = secret(stand_in)
    node = VaultNode(stand_in.faults.vault)
    backend = stand_in.open(address=node.address)
    assert value(backend, at(path)) == PASSWORD
    node.close()
    said = refusal(SecretsUnavailable, backend, at(path))
    assert f"{node.address} can't be reached: " in said
    refused = refusal(SecretsUnavailable, stand_in.open(address=node.address), at(path))
    assert refused.endswith("can't be reached: Connection refused")


def test_a_vault_that_resets_connections_is_unavailable(stand_in: VaultScene) -> None:
    path, backend = secret(stand_in), stand_in.open()
    stand_in.faults.faults.append(Fault(is_reset=True, times=1))
    assert "can't be reached: Connection reset by peer" in refusal(SecretsUnavailable, backend, at(path))
    assert value(backend, at(path)) == PASSWORD


def test_a_vault_that_hangs_is_left_after_its_time(stand_in: VaultScene) -> None:
    path = secret(stand_in)
    over = threading.Event()
    stand_in.faults.faults.append(Fault(hangs_until=over, times=1))
    backend = stand_in.open(timeout_seconds=0.2)
    try:
        assert "does not answer within 0.2 s" in refusal(SecretsUnavailable, backend, at(path))
    finally:
        over.set()
    assert value(backend, at(path)) == PASSWORD


def test_a_lease_can_not_be_renewed_while_vault_is_away_and_is_not_lost(stand_in: VaultScene) -> None:
    mount = stand_in.mount("databases", "database")
    stand_in.admin.adapter.post(f"/v1/{mount}/config/legacy", json={"plugin_name": "none"})
    stand_in.admin.adapter.post(f"/v1/{mount}/roles/reader", json={"db_name": "legacy", "default_ttl": "60s"})
    backend = stand_in.open()
    lease = backend.read(at(f"{mount}/creds/reader")).lease
    assert lease is not None
    stand_in.faults.vault.is_sealed = True
    with pytest.raises(SecretsUnavailable):
        backend.renew(lease)
    with pytest.raises(SecretsUnavailable):
        backend.revoke(lease)
    stand_in.faults.vault.is_sealed = False
    assert backend.renew(lease).seconds == 60.0


def test_a_login_is_used_on_while_it_can_not_be_renewed(stand_in: VaultScene) -> None:
    path = secret(stand_in)
    backend = stand_in.with_token(stand_in.token_with(stand_in.allow(f"{stand_in.base}/*"), ttl="90s"))
    value(backend, at(path))
    stand_in.advance(61.0)
    stand_in.faults.faults.append(Fault(503, ("busy",), path="auth/token/renew-self", times=1))
    assert value(backend, at(path)) == PASSWORD
    stand_in.advance(6.0)
    assert value(backend, at(path)) == PASSWORD
    stand_in.advance(60.0)
    assert value(backend, at(path)) == PASSWORD


def test_everything_is_asked_in_the_namespace_but_for_the_health_which_has_none(stand_in: VaultScene) -> None:
    stand_in.admin.sys.create_namespace("team")
    inner = VaultScene(stand_in.address, stand_in.token, stand_in.node, namespace="team")
    try:
        path = secret(inner)
        backend = inner.by_app_role(*inner.app_role(inner.allow(f"{inner.base}/*")))
        before = len(stand_in.faults.asked)
        assert backend.login() == "Vault 1.20.0"
        assert value(backend, at(path)) == PASSWORD
        backend.close()
        asked = stand_in.faults.asked[before:]
        assert {each.path for each in asked if each.namespace != "team"} == {"sys/health"}
        assert len(asked) == 5
        refusal(SecretRefused, stand_in.open(), at(path))
    finally:
        inner.close()


def test_a_vault_is_trusted_by_the_authority_that_is_declared_and_by_no_other(tmp_path: Path) -> None:
    with running_vault(tls=make_certificates(tmp_path).server) as node:
        scene = VaultScene(node.address, node.vault.root, node, ca_file=str(tmp_path / "certificate.pem"))
        try:
            path = secret(scene)
            assert value(scene.open(), at(path)) == PASSWORD
            before = len(node.asked)
            for ca_file, words in (
                ("", "its certificate is not trusted"),
                ("/nowhere/ca.pem", "certificates in /nowhere/ca.pem can't be read"),
            ):
                assert words in refusal(SecretsUnavailable, scene.open({"ca_file": ca_file}), at(path))
            assert len(node.asked) == before
        finally:
            scene.close()


def test_a_secret_that_is_not_there_is_no_outage_while_others_are_read(stand_in: VaultScene) -> None:
    path, backend = secret(stand_in), stand_in.open()
    refusal(SecretMissing, backend, at(f"{path}-not"))
    assert value(backend, at(path)) == PASSWORD

"""How one logs in to a Vault, and stays logged in: tokens, AppRole, wrapping, Kubernetes, JWT; renewed, revoked, and anew."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pymigrate.engine.adapters.secrets.vault_backend import VaultBackend
from pymigrate.engine.domain.errors import SecretMissing, SecretRefused
from tests.integration.secrets.vault_reading import PASSWORD, at, refusal, value
from tests.vaults.entries import Signer
from tests.vaults.scene import VaultScene, own
from tests.vaults.server import Fault

LATER_SECONDS = 3_600.0


def secret(scene: VaultScene) -> tuple[str, str]:
    """Where there is one, and a policy that lets one read it."""
    mount = scene.mount("kv", "kv", 2)
    scene.admin.secrets.kv.v2.create_or_update_secret("legacy", {"password": PASSWORD}, mount_point=mount)
    return f"{mount}/legacy", scene.allow(f"{mount}/data/*")


def logins(scene: VaultScene) -> int:
    return sum(each.path.endswith("/login") for each in scene.faults.asked)


def test_a_token_with_a_policy_reads_what_it_allows_and_nothing_else(vault: VaultScene) -> None:
    path, policy = secret(vault)
    vault.admin.secrets.kv.v2.create_or_update_secret("x/y", {"password": "y"}, mount_point=path.rpartition("/")[0])
    backend = vault.with_token(vault.token_with(policy))
    assert backend.login().startswith("Vault ")
    assert value(backend, at(path)) == PASSWORD
    other = vault.with_token(vault.token_with(vault.allow(f"{vault.base}/kv/data/x/*")))
    said = refusal(SecretRefused, other, at(path))
    assert "Vault answered 403: 1 error occurred: * permission denied" in said


def test_a_token_that_is_none_is_refused_with_where_it_comes_from(vault: VaultScene) -> None:
    path, _ = secret(vault)
    backend = vault.with_token("nothing-like-a-token")
    for call in (backend.login, lambda: backend.read(at(path))):
        with pytest.raises(SecretRefused, match="the token of env://OWN_TOKEN: Vault answered 403") as refused:
            call()
        assert "nothing-like" not in str(refused.value)


def test_a_token_is_renewed_before_it_ends(stand_in: VaultScene) -> None:
    path, policy = secret(stand_in)
    backend = stand_in.with_token(stand_in.token_with(policy, ttl="90s"))
    for _ in range(10):
        assert value(backend, at(path)) == PASSWORD
        stand_in.advance(61.0)
    assert sum(each.path == "auth/token/renew-self" for each in stand_in.faults.asked) == 9


def test_a_token_that_another_took_the_place_of_is_read_anew(stand_in: VaultScene) -> None:
    path, policy = secret(stand_in)
    first = stand_in.token_with(policy, ttl="90s", renewable=False)
    backend = stand_in.with_token(first)
    assert value(backend, at(path)) == PASSWORD
    stand_in.admin.auth.token.revoke(first)
    assert "has ended or was revoked" in refusal(SecretRefused, backend, at(path))
    stand_in.variables.values["OWN_TOKEN"] = stand_in.token_with(policy)
    assert value(backend, at(path)) == PASSWORD


def test_a_token_without_end_is_never_renewed(stand_in: VaultScene) -> None:
    path, _ = secret(stand_in)
    backend = stand_in.open()
    value(backend, at(path))
    stand_in.advance(1e9)
    assert value(backend, at(path)) == PASSWORD
    assert not [each for each in stand_in.faults.asked if each.path == "auth/token/renew-self"]


def test_one_logs_in_by_app_role(vault: VaultScene) -> None:
    path, policy = secret(vault)
    backend = vault.by_app_role(*vault.app_role(policy))
    assert value(backend, at(path)) == PASSWORD


def test_a_secret_id_that_is_none_is_refused_without_being_shown(vault: VaultScene) -> None:
    path, policy = secret(vault)
    mount, role_id = vault.app_role(policy)
    vault.variables.values["SECRET_ID"] = "0000-not-one-0000"
    said = refusal(SecretRefused, vault.by_app_role(mount, role_id), at(path))
    assert f"the login at auth/{mount} as `{role_id}`: Vault answered 400" in said
    assert "0000-not-one" not in said


def test_a_login_is_renewed_before_it_ends_and_made_anew_when_it_may_live_no_longer(stand_in: VaultScene) -> None:
    path, policy = secret(stand_in)
    backend = stand_in.by_app_role(*stand_in.app_role(policy, token_ttl="90s", token_max_ttl="200s"))
    for _ in range(8):
        assert value(backend, at(path)) == PASSWORD
        stand_in.advance(61.0)
    assert logins(stand_in) == 3


def test_a_login_that_was_revoked_is_made_anew_once(stand_in: VaultScene) -> None:
    path, policy = secret(stand_in)
    backend = stand_in.by_app_role(*stand_in.app_role(policy))
    value(backend, at(path))
    for token in [token for token in stand_in.faults.vault.tokens.values() if token.path.endswith("/login")]:
        stand_in.faults.vault.revoke_token(token)
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(lambda _: value(backend, at(path)), range(40))) == {PASSWORD}
    assert logins(stand_in) == 2


def test_a_refused_request_is_no_reason_to_log_in_again_and_again(stand_in: VaultScene) -> None:
    path, _ = secret(stand_in)
    mount = path.rpartition("/")[0]
    backend = stand_in.by_app_role(*stand_in.app_role(stand_in.allow(f"{mount}/data/other")))
    for _ in range(5):
        refusal(SecretRefused, backend, at(path))
    assert logins(stand_in) == 1


def test_what_a_role_has_been_allowed_since_counts_after_a_while(stand_in: VaultScene) -> None:
    path, policy = secret(stand_in)
    mount, role_id = stand_in.app_role(stand_in.allow(f"{path.rpartition('/')[0]}/data/other"))
    backend = stand_in.by_app_role(mount, role_id)
    refusal(SecretRefused, backend, at(path))
    stand_in.admin.auth.approle.create_or_update_approle("reader", token_policies=[policy], mount_point=mount)
    stand_in.advance(61.0)
    assert value(backend, at(path)) == PASSWORD


def test_threads_share_one_login(stand_in: VaultScene) -> None:
    path, policy = secret(stand_in)
    backend = stand_in.by_app_role(*stand_in.app_role(policy))
    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(lambda _: value(backend, at(path)), range(64))) == {PASSWORD}
    assert logins(stand_in) == 1


def test_a_login_is_given_up_at_the_end_and_a_given_token_is_not(stand_in: VaultScene) -> None:
    path, policy = secret(stand_in)
    given = stand_in.token_with(policy)
    backends = [stand_in.by_app_role(*stand_in.app_role(policy)), stand_in.with_token(given)]
    for backend in backends:
        value(backend, at(path))
        backend.close()
        backend.close()
    left = stand_in.faults.vault.tokens.values()
    assert not [token for token in left if token.path.endswith("/login")]
    assert given in {token.id for token in left}


def test_a_lease_lives_no_longer_than_the_login_that_made_it(stand_in: VaultScene) -> None:
    mount = stand_in.mount("databases", "database")
    stand_in.admin.adapter.post(f"/v1/{mount}/config/legacy", json={"plugin_name": "none"})
    stand_in.admin.adapter.post(f"/v1/{mount}/roles/reader", json={"db_name": "legacy", "default_ttl": "600s"})
    policy = stand_in.allow(f"{mount}/creds/reader")
    backend = stand_in.by_app_role(*stand_in.app_role(policy, token_ttl="90s", token_type="batch"))
    made = backend.read(at(f"{mount}/creds/reader")).lease
    assert made is not None
    assert made.seconds == pytest.approx(90.0, abs=1.0)
    stand_in.advance(70.0)
    renewed = backend.renew(made)
    assert renewed.seconds == pytest.approx(20.0, abs=1.0)
    stand_in.advance(21.0)
    with pytest.raises(SecretMissing):
        backend.renew(renewed)


def test_a_wrapped_secret_id_is_unwrapped_once_for_all_backends(vault: VaultScene) -> None:
    path, policy = secret(vault)
    mount, role_id = vault.app_role(policy)
    vault.variables.values["SECRET_ID"] = vault.wrapped_secret_id(mount)
    for _ in range(2):
        assert value(vault.by_app_role(mount, role_id, is_wrapped=True), at(path)) == PASSWORD


def test_a_wrapping_token_that_was_used_is_an_alarm(vault: VaultScene) -> None:
    path, policy = secret(vault)
    mount, role_id = vault.app_role(policy)
    vault.variables.values["SECRET_ID"] = token = vault.wrapped_secret_id(mount)
    vault.admin.sys.unwrap(token)
    said = refusal(SecretRefused, vault.by_app_role(mount, role_id, is_wrapped=True), at(path))
    assert "the wrapping token of env://SECRET_ID: Vault answered 400" in said
    assert "may have been intercepted" in said
    assert token not in said


def test_a_wrapping_token_that_something_else_made_is_an_alarm(vault: VaultScene) -> None:
    path, policy = secret(vault)
    mount, role_id = vault.app_role(policy)
    forged = vault.admin.sys.wrap({"secret_id": vault.variables.values["SECRET_ID"]}, ttl=60)
    vault.variables.values["SECRET_ID"] = forged["wrap_info"]["token"]
    said = refusal(SecretRefused, vault.by_app_role(mount, role_id, is_wrapped=True), at(path))
    assert "at `sys/wrapping/wrap`" in said


def test_a_wrapping_token_of_another_way_to_log_in_is_an_alarm(stand_in: VaultScene) -> None:
    path, policy = secret(stand_in)
    mount, role_id = stand_in.app_role(policy)
    other = stand_in.enable("others", "approle")
    stand_in.admin.auth.approle.create_or_update_approle("reader", token_policies=[policy], mount_point=other)
    stand_in.variables.values["SECRET_ID"] = stand_in.wrapped_secret_id(other)
    said = refusal(SecretRefused, stand_in.by_app_role(mount, role_id, is_wrapped=True), at(path))
    assert f"at `auth/{other}/role/reader/secret-id`" in said


def test_nobody_waits_for_a_login_that_is_renewed_while_it_is_good_still(stand_in: VaultScene) -> None:
    path, policy = secret(stand_in)
    backend = stand_in.with_token(stand_in.token_with(policy, ttl="90s"))
    value(backend, at(path))
    stand_in.advance(61.0)
    is_answered = threading.Event()
    stand_in.faults.faults.append(Fault(503, ("busy",), path="auth/token/renew-self", times=1, hangs_until=is_answered))
    with ThreadPoolExecutor(1) as thread:
        renewing = thread.submit(value, backend, at(path))
        while not any(each.path == "auth/token/renew-self" for each in stand_in.faults.asked):
            threading.Event().wait(0.005)
        assert value(backend, at(path)) == PASSWORD
        assert not renewing.done()
        is_answered.set()
        assert renewing.result() == PASSWORD


def by_jwt(scene: VaultScene, policy: str, claims: dict[str, object]) -> VaultBackend:
    signer = Signer()
    mount = scene.enable("jwt", "jwt")
    scene.admin.auth.jwt.configure(jwt_validation_pubkeys=[signer.public], path=mount)
    scene.admin.adapter.post(
        f"/v1/auth/{mount}/role/reader",
        json={
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["pymigrate"], "token_policies": [policy],
        },
    )  # fmt: skip
    scene.variables.values["JWT"] = signer.sign(**claims)
    return scene.open({"jwt.mount": mount, "jwt.role": "reader"}, {"jwt.jwt": own("JWT")})


def claims(**more: object) -> dict[str, object]:
    return {"sub": "ci", "aud": "pymigrate", "exp": 4_000_000_000, "iat": 1_700_000_000, **more}


def test_one_logs_in_by_a_jwt(vault: VaultScene) -> None:
    path, policy = secret(vault)
    assert value(by_jwt(vault, policy, claims()), at(path)) == PASSWORD


@pytest.mark.parametrize("wrong", [{"aud": "somebody"}, {"exp": 1_700_000_100}])
def test_a_jwt_that_does_not_hold_is_refused_and_not_shown(vault: VaultScene, wrong: dict[str, object]) -> None:
    path, policy = secret(vault)
    backend = by_jwt(vault, policy, claims(**wrong))
    said = refusal(SecretRefused, backend, at(path))
    assert "Vault answered 400: error validating token" in said
    assert vault.variables.values["JWT"] not in said


@pytest.fixture
def pod(stand_in: VaultScene, tmp_path: Path) -> Callable[[str], tuple[VaultBackend, Path]]:
    """Opens a backend as a pod with a service account does, and says where the pod's token lies."""
    signer = Signer()

    def opened(policy: str) -> tuple[VaultBackend, Path]:
        mount = stand_in.enable("kubernetes", "kubernetes")
        stand_in.admin.adapter.post(f"/v1/auth/{mount}/config", json={"pem_keys": [signer.public]})
        role = {
            "bound_service_account_names": ["host"],
            "bound_service_account_namespaces": ["migrations"],
            "token_policies": [policy],
            "token_ttl": "90s",
            "token_max_ttl": "120s",
        }
        stand_in.admin.adapter.post(f"/v1/auth/{mount}/role/reader", json=role)
        file = tmp_path / "token"
        file.write_text(signer.sign(sub="system:serviceaccount:migrations:host", exp=4_000_000_000) + "\n")
        options = {"kubernetes.mount": mount, "kubernetes.role": "reader", "kubernetes.token_file": str(file)}
        return stand_in.open(options, {}), file

    return opened


def test_a_pod_logs_in_by_its_service_account_whose_token_is_read_at_each_login(
    stand_in: VaultScene, pod: Callable[[str], tuple[VaultBackend, Path]]
) -> None:
    path, policy = secret(stand_in)
    backend, file = pod(policy)
    assert value(backend, at(path)) == PASSWORD
    file.write_text("not.a.jwt")
    stand_in.advance(LATER_SECONDS)
    assert "Vault answered 403: permission denied" in refusal(SecretRefused, backend, at(path))


def test_a_pod_without_a_token_is_told_so(
    stand_in: VaultScene, pod: Callable[[str], tuple[VaultBackend, Path]]
) -> None:
    path, policy = secret(stand_in)
    backend, file = pod(policy)
    file.unlink()
    assert f"{file}: No such file" in refusal(SecretMissing, backend, at(path))

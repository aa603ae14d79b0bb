"""What is read from a Vault's engines: KV in both versions, databases, transit."""

import base64
import subprocess
import sys

import pytest

from pymigrate.engine.domain.errors import InvalidDefinition, SecretMissing, SecretRefused
from pymigrate.engine.entrypoints.worker.transforms import transform_spec
from pymigrate.engine.ports.secret_backend import PREVIOUS
from pymigrate.engine.ports.secrets import Secret, SecretRef
from pymigrate.engine.ports.transform import Mask
from pymigrate.v1 import plan_pb2
from tests.integration.secrets.vault_reading import OTHER, PASSWORD, at, refusal, value
from tests.vaults.scene import VaultScene

MEMORY_DATABASE = {"plugin_name": "none", "allowed_roles": "*"}


@pytest.mark.parametrize("version", [1, 2])
def test_a_field_of_a_kv_secret_is_read_with_or_without_its_version_declared(vault: VaultScene, version: int) -> None:
    mount = vault.mount("team/kv", "kv", version)
    write = vault.admin.secrets.kv.v1 if version == 1 else vault.admin.secrets.kv.v2
    write.create_or_update_secret("apps/legacy db", {"password": PASSWORD, "port": 5432}, mount_point=mount)
    ref = at(f"{mount}/apps/legacy db")
    for options in ({}, {"kv_versions": f'{{"{mount}/": {version}}}'}):
        document = vault.open(options).read(ref)
        assert {name: secret.reveal() for name, secret in document.values.items()} == {
            "password": PASSWORD,
            "port": "5432",
        }
        assert document.version == ("1" if version == 2 else "")
        assert document.lease is None
        assert document.is_whole


def test_values_that_are_no_texts_are_read_as_json(vault: VaultScene) -> None:
    mount = vault.mount("kv", "kv", 2)
    data = {"on": True, "ports": [1, 2], "nested": {"ä": None}, "rate": 0.5, "nothing": None}
    vault.admin.secrets.kv.v2.create_or_update_secret("legacy", data, mount_point=mount)
    values = vault.open().read(at(f"{mount}/legacy")).values
    assert {name: secret.reveal() for name, secret in values.items()} == {
        "on": "true",
        "ports": "[1,2]",
        "nested": '{"ä":null}',
        "rate": "0.5",
    }


def test_versions_of_kv_are_numbers_and_the_one_before_is_known(vault: VaultScene) -> None:
    mount = vault.mount("kv", "kv", 2)
    for password in (PASSWORD, OTHER):
        vault.admin.secrets.kv.v2.create_or_update_secret("legacy", {"password": password}, mount_point=mount)
    ref, backend = at(f"{mount}/legacy"), vault.open()
    assert [value(backend, ref, version) for version in ("", "2", "1", PREVIOUS)] == [OTHER, OTHER, PASSWORD, PASSWORD]
    assert backend.read(ref, PREVIOUS).version == "1"
    assert "no version 7" in refusal(SecretMissing, backend, ref, "7")
    assert "numbers" in refusal(SecretMissing, backend, ref, "AWSPENDING")


def test_a_version_that_was_deleted_or_destroyed_is_missing_and_named(vault: VaultScene) -> None:
    mount = vault.mount("kv", "kv", 2)
    kv = vault.admin.secrets.kv.v2
    for password in (PASSWORD, OTHER, PASSWORD):
        kv.create_or_update_secret("legacy", {"password": password}, mount_point=mount)
    ref, backend = at(f"{mount}/legacy"), vault.open()
    kv.delete_secret_versions("legacy", [3], mount_point=mount)
    assert "version 3 was deleted at 20" in refusal(SecretMissing, backend, ref)
    assert value(backend, ref, PREVIOUS) == OTHER
    kv.destroy_secret_versions("legacy", [2], mount_point=mount)
    assert "version 2 was destroyed" in refusal(SecretMissing, backend, ref, PREVIOUS)
    kv.undelete_secret_versions("legacy", [3], mount_point=mount)
    assert value(backend, ref) == PASSWORD


def test_the_first_version_has_none_before_it(vault: VaultScene) -> None:
    mount = vault.mount("kv", "kv", 2)
    vault.admin.secrets.kv.v2.create_or_update_secret("legacy", {"password": PASSWORD}, mount_point=mount)
    assert "no version before" in refusal(SecretMissing, vault.open(), at(f"{mount}/legacy"), PREVIOUS)


@pytest.mark.parametrize("version", [1, 2])
def test_a_secret_that_is_not_there_is_missing_by_its_reference(vault: VaultScene, version: int) -> None:
    ref = at(f"{vault.mount('kv', 'kv', version)}/nowhere")
    said = refusal(SecretMissing, vault.open(), ref)
    assert said.startswith(f"{ref}: Vault answered 404")


def test_kv_version_1_has_no_versions(vault: VaultScene) -> None:
    mount = vault.mount("kv", "kv", 1)
    vault.admin.secrets.kv.v1.create_or_update_secret("legacy", {"password": PASSWORD}, mount_point=mount)
    for version in ("1", PREVIOUS):
        assert "keeps no versions" in refusal(SecretMissing, vault.open(), at(f"{mount}/legacy"), version)


@pytest.mark.parametrize(
    "path", ["kv", "kv//legacy", "kv/../sys/health", "sys/mounts", "auth/token/lookup-self", "/kv/x"]
)
def test_what_is_no_path_into_an_engine_is_missing_before_vault_is_asked(stand_in: VaultScene, path: str) -> None:
    refusal(SecretMissing, stand_in.open(), at(path))
    assert stand_in.faults.asked == []


def test_a_path_without_an_engine_is_refused_as_vault_refuses_it(vault: VaultScene) -> None:
    said = refusal(SecretRefused, vault.open(), at(f"{vault.base}/nowhere/legacy"))
    assert "there is none at that path" in said


def test_an_engine_that_is_mounted_anew_in_another_version_is_found(stand_in: VaultScene) -> None:
    mount = stand_in.mount("kv", "kv", 1)
    stand_in.admin.secrets.kv.v1.create_or_update_secret("legacy", {"password": PASSWORD}, mount_point=mount)
    backend, ref = stand_in.open(), at(f"{mount}/legacy")
    assert value(backend, ref) == PASSWORD
    stand_in.admin.sys.disable_secrets_engine(mount)
    stand_in.admin.sys.enable_secrets_engine("kv", path=mount, options={"version": "2"})
    stand_in.admin.secrets.kv.v2.create_or_update_secret("legacy", {"password": OTHER}, mount_point=mount)
    stand_in.advance(1.0)
    assert value(backend, ref) == OTHER


def test_an_engine_is_asked_for_once_for_all_that_is_in_it(stand_in: VaultScene) -> None:
    mount = stand_in.mount("kv", "kv", 2)
    for name in ("a", "b", "c"):
        stand_in.admin.secrets.kv.v2.create_or_update_secret(name, {"password": PASSWORD}, mount_point=mount)
    backend = stand_in.open()
    for name in ("a", "b", "c"):
        assert value(backend, at(f"{mount}/{name}")) == PASSWORD
    asked = [each.path for each in stand_in.faults.asked if "internal/ui" in each.path]
    assert asked == [f"sys/internal/ui/mounts/{mount}/a"]


def test_of_mounts_that_are_declared_the_longest_counts(stand_in: VaultScene) -> None:
    outer, inner = stand_in.mount("team", "kv", 1), stand_in.mount("team/inner", "kv", 2)
    stand_in.admin.secrets.kv.v1.create_or_update_secret("legacy", {"password": OTHER}, mount_point=outer)
    stand_in.admin.secrets.kv.v2.create_or_update_secret("legacy", {"password": PASSWORD}, mount_point=inner)
    backend = stand_in.open({"kv_versions": f'{{"{outer}": 1, "{inner}": 2}}'})
    assert value(backend, at(f"{inner}/legacy")) == PASSWORD
    assert value(backend, at(f"{outer}/legacy")) == OTHER


def test_hvac_is_imported_by_what_opens_a_vault_and_not_before() -> None:
    told = "import sys, pymigrate.engine.adapters.secrets.vault; print('hvac' in sys.modules, 'urllib3' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]


def database(scene: VaultScene, seconds: str = "60s") -> str:
    mount = scene.mount("databases", "database")
    scene.admin.adapter.post(f"/v1/{mount}/config/legacy", json=MEMORY_DATABASE)
    role = {"db_name": "legacy", "default_ttl": seconds, "max_ttl": "150s", "creation_statements": []}
    scene.admin.adapter.post(f"/v1/{mount}/roles/reader", json=role)
    return mount


def test_credentials_are_made_at_each_reading_and_have_a_lease(stand_in: VaultScene) -> None:
    ref, backend = at(f"{database(stand_in)}/creds/reader"), stand_in.open()
    one, other = backend.read(ref), backend.read(ref)
    assert one.lease is not None
    assert other.lease is not None
    assert (one.lease.seconds, one.lease.is_renewable) == (60.0, True)
    assert one.lease.id.endswith(f"/{one.version}")
    assert one.version != other.version
    assert one.values["username"] != other.values["username"]
    assert {one.values["password"].version, one.values["username"].version} == {one.version}
    assert "keeps no versions" in refusal(SecretMissing, backend, ref, PREVIOUS)


def test_a_lease_is_renewed_up_to_its_longest_life_and_then_missing(stand_in: VaultScene) -> None:
    backend = stand_in.open()
    lease = backend.read(at(f"{database(stand_in)}/creds/reader")).lease
    assert lease is not None
    for passing, life in ((50.0, 60.0), (50.0, 50.0), (45.0, 5.0)):
        stand_in.advance(passing)
        lease = backend.renew(lease)
        assert lease.seconds == life
    stand_in.advance(6.0)
    with pytest.raises(SecretMissing, match="lease not found"):
        backend.renew(lease)


def test_a_lease_that_was_revoked_is_missing_and_may_be_revoked_again(stand_in: VaultScene) -> None:
    mount, backend = database(stand_in), stand_in.open()
    lease = backend.read(at(f"{mount}/creds/reader")).lease
    assert lease is not None
    backend.revoke(lease)
    assert stand_in.faults.vault.leases == {}
    backend.revoke(lease)
    with pytest.raises(SecretMissing):
        backend.renew(lease)


def test_leases_that_were_revoked_by_their_prefix_are_noticed(stand_in: VaultScene) -> None:
    mount, backend = database(stand_in), stand_in.open()
    lease = backend.read(at(f"{mount}/creds/reader")).lease
    assert lease is not None
    stand_in.admin.sys.revoke_prefix(f"{mount}/creds")
    with pytest.raises(SecretMissing):
        backend.renew(lease)


def test_a_role_that_is_not_there_is_missing_in_vaults_own_words(stand_in: VaultScene) -> None:
    said = refusal(SecretMissing, stand_in.open(), at(f"{database(stand_in)}/creds/nobody"))
    assert said.endswith("Vault answered 400: unknown role: nobody")


def test_a_static_role_has_the_time_of_its_rotation_as_its_version(stand_in: VaultScene) -> None:
    mount, backend = database(stand_in), stand_in.open()
    role = {"db_name": "legacy", "username": "legacy", "rotation_period": "100s"}
    stand_in.admin.adapter.post(f"/v1/{mount}/static-roles/legacy", json=role)
    ref = at(f"{mount}/static-creds/legacy")
    first = backend.read(ref)
    assert first.lease is None
    assert first.values["username"].reveal() == "legacy"
    assert backend.read(ref).version == first.version != ""
    stand_in.advance(101.0)
    second = backend.read(ref)
    assert second.version > first.version
    assert second.values["password"] != first.values["password"]


def encrypted(scene: VaultScene, plain: bytes) -> tuple[str, str]:
    """A key's path below decrypt/ and a ciphertext."""
    mount = scene.mount("transit", "transit")
    scene.admin.secrets.transit.create_key("masks", mount_point=mount)
    text = base64.b64encode(plain).decode()
    found = scene.admin.secrets.transit.encrypt_data("masks", text, mount_point=mount)["data"]["ciphertext"]
    return f"{mount}/decrypt/masks", str(found)


def test_transit_decrypts_what_a_reference_holds(vault: VaultScene) -> None:
    path, ciphertext = encrypted(vault, PASSWORD.encode())
    document = vault.open().read(at(path, ciphertext))
    assert {name: secret.reveal() for name, secret in document.values.items()} == {ciphertext: PASSWORD}
    assert not document.is_whole
    assert document.version == "v1"


def test_a_masking_key_of_random_bytes_is_what_transit_decrypts_byte_by_byte(vault: VaultScene) -> None:
    key = bytes(range(256))
    path, ciphertext = encrypted(vault, key)
    backend = vault.open()

    class Reader:
        schemes = frozenset({"vault"})

        def read(self, ref: SecretRef) -> Secret:
            return backend.read(ref).values[ref.key]

    mask = plan_pb2.Transform()
    mask.mask.key = str(at(path, ciphertext))
    mask.mask.columns["name"].method = plan_pb2.MASK_METHOD_HASH
    spec = transform_spec(mask, Reader())
    assert isinstance(spec, Mask)
    assert spec.key == key


@pytest.mark.parametrize("key", ["vault:v1:bm90IGEgY2lwaGVydGV4dA==", "nothing", "vault:v9:bm90"])
def test_what_transit_can_not_decrypt_is_missing(vault: VaultScene, key: str) -> None:
    path, _ = encrypted(vault, b"x")
    assert "400" in refusal(SecretMissing, vault.open(), at(path, key))


def test_of_transit_only_decrypting_is_read(stand_in: VaultScene) -> None:
    path, ciphertext = encrypted(stand_in, b"x")
    backend = stand_in.open()
    for ref in (at(path, ""), at(path.replace("decrypt", "encrypt"), ciphertext)):
        assert "decrypt/{key}#{ciphertext}" in refusal(SecretMissing, backend, ref)
    assert "keeps no versions" in refusal(SecretMissing, backend, at(path, ciphertext), "1")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"address": "http://vault.example.com:8200"}, "address"),
        ({"address": "vault.example.com"}, "address"),
        ({"address": "https://root:x@vault.example.com"}, "address"),
        ({"ca_file": "ca.pem"}, "ca_file"),
        ({"kv_versions": '{"kv": 3}'}, "kv_versions"),
        ({"kv_versions": "kv"}, "kv_versions"),
        ({"jwt.role": "reader"}, "login"),
    ],
)
def test_options_that_can_not_be_are_refused_before_anything_is_asked(
    stand_in: VaultScene, options: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        stand_in.open(options)
    assert field in [problem.field for problem in refused.value.problems]
    assert stand_in.faults.asked == []


def test_a_vault_without_a_login_is_refused(stand_in: VaultScene) -> None:
    with pytest.raises(InvalidDefinition, match="exactly one of"):
        stand_in.open(references={})

"""The policies that docs/secrets.md gives for a Vault are enough for what it says, and for nothing else."""

import base64
import re
from pathlib import Path

from pymigrate.engine.domain.errors import SecretRefused
from tests.integration.secrets.vault_reading import PASSWORD, at, refusal, value
from tests.vaults.scene import VaultScene

GUIDE = Path(__file__).parents[3] / "docs" / "secrets.md"
MOUNTS = ("kv", "kv1", "database", "transit")


def documented(base: str) -> str:
    """All of them, for engines that are mounted below a path of the test's own."""
    text = "\n".join(re.findall(r"```hcl\n(.*?)```", GUIDE.read_text(), re.DOTALL))
    for mount in MOUNTS:
        text = text.replace(f'path "{mount}/', f'path "{base}/{mount}/')
    return text


def test_the_documented_policies_are_enough_and_no_more(stand_in: VaultScene) -> None:
    kv, kv1, database, transit = (
        stand_in.mount("kv", "kv", 2),
        stand_in.mount("kv1", "kv", 1),
        stand_in.mount("database", "database"),
        stand_in.mount("transit", "transit"),
    )
    admin = stand_in.admin
    for path in ("legacy/orders", "other/orders"):
        admin.secrets.kv.v2.create_or_update_secret(path, {"password": PASSWORD}, mount_point=kv)
        admin.secrets.kv.v1.create_or_update_secret(path, {"password": PASSWORD}, mount_point=kv1)
    admin.adapter.post(f"/v1/{database}/config/legacy", json={"plugin_name": "none"})
    for role in ("reader", "writer"):
        admin.adapter.post(f"/v1/{database}/roles/{role}", json={"db_name": "legacy"})
    for role in ("legacy", "other"):
        admin.adapter.post(f"/v1/{database}/static-roles/{role}", json={"db_name": "legacy", "username": role})
    ciphertexts = {}
    for key in ("masks", "others"):
        admin.secrets.transit.create_key(key, mount_point=transit)
        plain = base64.b64encode(PASSWORD.encode()).decode()
        found = admin.secrets.transit.encrypt_data(key, plain, mount_point=transit)
        ciphertexts[key] = str(found["data"]["ciphertext"])

    backend = stand_in.with_token(stand_in.token_with(stand_in.policy(documented(stand_in.base))))
    assert backend.login() == "Vault 1.20.0"
    for ref in (
        at(f"{kv}/legacy/orders"),
        at(f"{kv1}/legacy/orders"),
        at(f"{transit}/decrypt/masks", ciphertexts["masks"]),
    ):
        assert value(backend, ref) == PASSWORD
    assert value(backend, at(f"{database}/static-creds/legacy", "username")) == "legacy"
    lease = backend.read(at(f"{database}/creds/reader")).lease
    assert lease is not None
    backend.revoke(backend.renew(lease))
    assert stand_in.faults.vault.leases == {}
    for ref in (
        at(f"{kv}/other/orders"),
        at(f"{kv1}/other/orders"),
        at(f"{transit}/decrypt/others", ciphertexts["others"]),
        at(f"{database}/static-creds/other"),
        at(f"{database}/creds/writer"),
    ):
        refusal(SecretRefused, backend, ref)

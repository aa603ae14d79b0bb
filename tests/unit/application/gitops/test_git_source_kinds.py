"""What may be declared of Git sources, and what they need."""

from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

from pymigrate.engine.application.caller import Caller, Surroundings
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.gitops.git_source_definitions import git_source_problems
from pymigrate.engine.application.gitops.git_source_kinds import GIT_SOURCES, owner_of, source_of
from pymigrate.engine.application.kinds import ENVIRONMENTS
from pymigrate.engine.application.secret_backend_kinds import SECRET_BACKENDS
from pymigrate.engine.domain.errors import FailedPrecondition, InvalidDefinition
from pymigrate.engine.testing.clock import ManualClock
from pymigrate.engine.testing.store import MemoryStore
from pymigrate.v1 import environment_pb2, git_source_pb2, secret_backend_pb2

URL = "https://git.example.com/team/definitions.git"
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
KNOWN = (
    f"git.example.com,192.0.2.7 ssh-ed25519 {KEY}\n# from the host itself\n[git.example.com]:2222 ssh-ed25519 {KEY}\n"
)
SIGNERS = f'ada@example.com,bob@example.com namespaces="git" ssh-ed25519 {KEY} Ada\n'
SSH = {"privateKey": "file:///run/secrets/key", "knownHosts": KNOWN}
WEBHOOK = {"provider": "GIT_PROVIDER_GITHUB", "secrets": ["env://NEW", "env://OLD"]}
HOST = {"provider": "GIT_PROVIDER_GITLAB", "repository": "group/sub/definitions", "token": "env://TOKEN"}
PGP = (
    "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: Ada\n\n"
    "mDMEZq0kBRYJKwYBBAHaRw8BAQdAq7x9Xh3T0nCk4mWl2bQ8vE1rYp6sJ5uZtFoGdHc\n"
    "K3aO0GkFkYSA8YWRhQGV4YW1wbGUuY29tPoiTBBMWCgA7FiEE7Qm2Xw9ZrT4vB1nLs8\n=x7Qz\n-----END PGP PUBLIC KEY BLOCK-----\n"
)
CALLER = Caller("somebody", "api")


def a_source(**fields: Any) -> git_source_pb2.GitSource:
    named = {"name": "gitSources/warehouse", "url": URL, **fields}
    return json_format.ParseDict(
        {key: value for key, value in named.items() if value is not None}, git_source_pb2.GitSource()
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {
            "branch": "release/7",
            "path": "deploy/prod",
            "environment": "prod",
            "intervalSeconds": 5,
            "timeoutSeconds": 1,
        },
        {"tag": "v1.2", "https": {"token": "env://TOKEN"}},
        {"commit": "a" * 40, "https": {"username": "bot", "token": "vault://kv/git#token"}, "environment": "prod"},
        {"url": "git@git.example.com:team/definitions.git", "ssh": SSH},
        {"signatures": {"sshAllowedSigners": SIGNERS, "openpgpPublicKeys": PGP}},
        {"syncMode": "SYNC_MODE_DRY_RUN", "prunePolicy": "PRUNE_POLICY_DELETE", "driftPolicy": "DRIFT_POLICY_REPORT"},
        {"takenOverSides": ["api", "terraform"], "startedPlans": ["*"], "webhook": WEBHOOK, "host": HOST},
        {"startedPlans": ["warehouse", "crm"], "host": {**HOST, "apiUrl": "http://127.0.0.1:8000/api/v4"}},
        {
            "promotion": {
                "promotedFrom": "staging",
                "delivery": "PROMOTION_DELIVERY_COMMIT",
                "pinFile": "pins/prod",
                "author": "Bot <bot@example.com>",
            }
        },
    ],
)
def test_what_can_be_declared_has_no_problem(fields: dict[str, Any]) -> None:
    assert list(git_source_problems(a_source(**fields))) == []


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"url": None}, "url", "is required"),
        ({"url": "file:///srv/x"}, "url", "not fetched from"),
        ({"branch": "--upload-pack=x"}, "branch", "can't begin"),
        ({"tag": "a..b"}, "tag", "`..`"),
        ({"commit": "abc"}, "commit", "all 40"),
        ({"path": "../x"}, "path", "relative"),
        ({"environment": "Prod"}, "environment", "is no name"),
        ({"intervalSeconds": 4}, "interval_seconds", "5 to 86,400"),
        ({"timeoutSeconds": 3601}, "timeout_seconds", "0 to 3,600"),
        ({"url": "git@host:x"}, "ssh", "is required"),
        ({"ssh": SSH}, "ssh", "is for urls over SSH"),
        ({"https": {"token": "hunter2-hunter2"}}, "https.token", "never the token itself"),
        ({"https": {"username": "bot"}}, "https.token", "is required"),
        ({"https": {"username": "a b", "token": "env://T"}}, "https.username", "printable"),
        ({"https": {"caCertificates": "MIIB"}}, "https.ca_certificates", "holds no certificate"),
        ({"url": "git@host:x", "ssh": {**SSH, "privateKey": ""}}, "ssh.private_key", "is required"),
        ({"url": "git@host:x", "ssh": {**SSH, "knownHosts": ""}}, "ssh.known_hosts", "is required"),
        ({"url": "git@host:x", "ssh": {**SSH, "knownHosts": KNOWN + "x"}}, "ssh.known_hosts", "line 4"),
        ({"url": "git@host:x", "ssh": {**SSH, "knownHosts": f"|1|a=|b= ssh-rsa {KEY}"}}, "ssh.known_hosts", "line 1"),
        ({"signatures": {}}, "signatures", "whose signatures"),
        ({"signatures": {"sshAllowedSigners": "ada"}}, "signatures.ssh_allowed_signers", "line 1"),
        ({"signatures": {"openpgpPublicKeys": "ada"}}, "signatures.openpgp_public_keys", "ASCII armour"),
        ({"takenOverSides": ["git"]}, "taken_over_sides", "`git` is none of"),
        ({"takenOverSides": ["api", "api"]}, "taken_over_sides", "twice"),
        ({"startedPlans": ["*", "x"]}, "started_plans", "beside `*`"),
        ({"startedPlans": ["X"]}, "started_plans", "is no name"),
        ({"webhook": {**WEBHOOK, "secrets": []}}, "webhook.secrets", "not signed"),
        ({"webhook": {**WEBHOOK, "secrets": ["env://A"] * 3}}, "webhook.secrets", "1 to 2"),
        ({"webhook": {**WEBHOOK, "secrets": ["hunter2"]}}, "webhook.secrets[0]", "never the secret"),
        ({"webhook": {**WEBHOOK, "provider": 0}}, "webhook.provider", "is required"),
        ({"host": {**HOST, "repository": "x"}}, "host.repository", "owner/name"),
        ({"host": {**HOST, "repository": "a/.."}}, "host.repository", "owner/name"),
        ({"host": {**HOST, "token": ""}}, "host.token", "is required"),
        ({"host": {**HOST, "apiUrl": "http://h/x"}}, "host.api_url", "must be https"),
        ({"host": {**HOST, "apiUrl": "https://u:p@h"}}, "host.api_url", "no user"),
        ({"promotion": {"promotedFrom": "warehouse"}}, "promotion.promoted_from", "the source itself"),
        ({"promotion": {}}, "promotion.promoted_from", "is required"),
        ({"promotion": {"promotedFrom": "s", "pinFile": "/x"}}, "promotion.pin_file", "relative"),
        ({"promotion": {"promotedFrom": "s", "author": "x"}}, "promotion.author", "Name <name@example.com>"),
        ({"promotion": {"promotedFrom": "s"}, "tag": "v1"}, "promotion", "needs a branch"),
    ],
)
def test_what_can_t_be_declared_is_told_by_field(fields: dict[str, Any], field: str, said: str) -> None:
    found = list(git_source_problems(a_source(**fields)))
    assert [problem.field for problem in found] == [field]
    assert said in found[0].description
    assert "hunter2" not in found[0].description


def test_a_source_s_objects_are_of_a_side_that_no_caller_can_be() -> None:
    assert owner_of("gitSources/warehouse") == "git/warehouse"
    assert source_of("git/warehouse") == "gitSources/warehouse"
    assert source_of("git") == source_of("api") == ""


@pytest.fixture
def catalog() -> Catalog:
    ids = iter(f"uid{number:08}" for number in range(1_000))
    return Catalog(Surroundings(ManualClock(), lambda: next(ids)))


async def created(store: MemoryStore, catalog: Catalog, name: str, **fields: Any) -> git_source_pb2.GitSource:
    source = a_source(name="", **fields)
    return await store.transact(lambda unit: catalog.create(unit, GIT_SOURCES, "", name, source, CALLER))


async def test_public_keys_and_certificates_are_taken_for_no_secrets(catalog: Catalog) -> None:
    signed = {"sshAllowedSigners": SIGNERS, "openpgpPublicKeys": PGP}
    found = await created(MemoryStore(), catalog, "w", url="git@host:x", ssh=SSH, signatures=signed)
    assert found.signatures.openpgp_public_keys == PGP


async def test_where_it_stands_is_set_by_nobody(catalog: Catalog) -> None:
    store = MemoryStore()
    found = await created(store, catalog, "w", status={"appliedCommit": "a" * 40})
    assert not found.HasField("status")
    assert (found.name, found.managed_by) == ("gitSources/w", "api")
    with pytest.raises(InvalidDefinition, match="status"):
        await store.transact(lambda unit: catalog.update(unit, GIT_SOURCES, found, FieldMask(paths=["status"]), CALLER))


async def test_a_source_is_changed_as_a_whole_where_no_field_is_named(catalog: Catalog) -> None:
    store = MemoryStore()
    source = await created(store, catalog, "w", path="deploy", startedPlans=["*"])
    wanted = git_source_pb2.GitSource(name=source.name, url=source.url, tag="v1")
    wanted.status.applied_commit = "a" * 40
    found = await store.transact(lambda unit: catalog.update(unit, GIT_SOURCES, wanted, FieldMask(), CALLER))
    assert (found.path, found.tag, list(found.started_plans), found.HasField("status")) == ("", "v1", [], False)
    assert (found.uid, found.managed_by) == (source.uid, "api")


async def test_a_reference_leads_to_a_backend_of_the_source_s_environment(catalog: Catalog) -> None:
    store = MemoryStore()
    with pytest.raises(InvalidDefinition, match="set `environment`"):
        await created(store, catalog, "w", https={"token": "vault://kv/git#token"})
    with pytest.raises(InvalidDefinition, match="no secret backend `team`"):
        await created(store, catalog, "w", environment="prod", https={"token": "team://git#token"})

    def declare(unit: Any) -> None:
        catalog.create(unit, ENVIRONMENTS, "", "prod", environment_pb2.Environment(), CALLER)
        vault = secret_backend_pb2.SecretBackend(env=secret_backend_pb2.EnvBackend(prefix="PROD_"))
        catalog.create(unit, SECRET_BACKENDS, "environments/prod", "team", vault, CALLER)

    await store.transact(declare)
    await created(store, catalog, "w", environment="prod", https={"token": "team://git#token"})
    name = "environments/prod/secretBackends/team"
    with pytest.raises(FailedPrecondition, match="needed by gitSources/w"):
        await store.transact(lambda unit: catalog.delete(unit, SECRET_BACKENDS, name, "", CALLER))


async def test_a_source_that_is_promoted_from_stays_while_another_needs_it(catalog: Catalog) -> None:
    store = MemoryStore()
    with pytest.raises(InvalidDefinition, match="no Git source `staging`"):
        await created(store, catalog, "prod", promotion={"promotedFrom": "staging"})
    staging = await created(store, catalog, "staging")
    await created(store, catalog, "prod", promotion={"promotedFrom": "staging"})
    with pytest.raises(FailedPrecondition, match="needed by gitSources/prod"):
        await store.transact(lambda unit: catalog.delete(unit, GIT_SOURCES, staging.name, "", CALLER))


async def test_what_is_kept_of_a_source_goes_with_it(catalog: Catalog) -> None:
    store = MemoryStore()
    source = await created(store, catalog, "w")
    await store.transact(lambda unit: unit.git_records.set_status(source.uid, b"x", 0))
    await store.transact(lambda unit: catalog.delete(unit, GIT_SOURCES, source.name, "", CALLER))
    assert await store.read(lambda unit: unit.git_records.status(source.uid)) is None

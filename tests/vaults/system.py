"""What a Vault answers below `sys/`: its health and seal, engines, ways to log in, policies, namespaces, leases and wrapping."""

from typing import Any

from tests.vaults import policies
from tests.vaults.core import LEASE_SECONDS, Answer, Asked, Namespace, Refused, Token, Vault, whole
from tests.vaults.engines import ENGINES, seconds_of, unsupported
from tests.vaults.entries import ENTRIES, Tokens

USED = "wrapping token is not valid or does not exist"


def new_vault(started: Any) -> Vault:
    """A Vault with nothing but the ways that each has."""
    vault = Vault(started)
    vault.system = answer
    vault.namespaces[""].entries["token"] = Tokens(vault)
    return vault


def answer(vault: Vault, asked: Asked, rest: str, token: Token | None) -> Answer | None:
    """None: it needs a token, or is nothing of this."""
    if token is None:
        return _open(vault, asked, rest)
    space = vault.space(asked.namespace)
    operation, _, name = rest.partition("/")
    is_write = asked.method in {"POST", "PUT"}
    match operation:
        case "mounts" if is_write:
            kind, options = str(asked.body["type"]), dict(asked.body.get("options") or {})
            if kind not in ENGINES:
                raise Refused(400, f"plugin not found in the catalog: {kind}")
            if name in space.engines:
                raise Refused(400, f"path is already in use at {name}/")
            space.engines[name] = ENGINES[kind](vault, name, options)
        case "mounts" if asked.method == "DELETE":
            vault.revoke_prefix(f"{name}/")
            space.engines.pop(name, None)
        case "auth" if is_write:
            space.entries[name] = ENTRIES[str(asked.body["type"])](vault, name)
        case "auth" if asked.method == "DELETE":
            space.entries.pop(name, None)
        case "policies" | "policy":
            return _policy(asked, space, name.removeprefix("acl/"))
        case "namespaces":
            return _namespace(vault, asked, name)
        case "internal":
            return _mount(vault, asked, space, token, name.removeprefix("ui/mounts/"))
        case "leases":
            return _lease(vault, asked, name)
        case "wrapping" if name == "wrap":
            return Answer(200, whole(data=dict(asked.body)))
        case "seal" if is_write:
            vault.is_sealed = True
        case _:
            raise unsupported()
    return Answer(204)


def _open(vault: Vault, asked: Asked, rest: str) -> Answer | None:
    match rest:
        case "health" | "leader" | "seal-status" if asked.namespace:
            raise Refused(404, f'no handler for route "sys/{rest}". route entry not found.')
        case "health":
            document = {
                "initialized": True,
                "sealed": vault.is_sealed,
                "standby": False,
                "performance_standby": False,
                "version": vault.version,
                "cluster_name": "vault-cluster",
            }
            return Answer(503 if vault.is_sealed else 200, document)
        case "seal-status":
            return Answer(200, {"type": "shamir", "initialized": True, "sealed": vault.is_sealed})
        case "unseal":
            vault.is_sealed = False
            return Answer(200, {"type": "shamir", "initialized": True, "sealed": False})
        case "wrapping/lookup":
            wrapped = vault.wrapped.get(str(asked.body.get("token") or asked.token))
            if wrapped is None:
                raise Refused(400, USED)
            data = {
                "creation_path": wrapped.path,
                "creation_time": wrapped.created,
                "creation_ttl": wrapped.seconds,
            }
            return Answer(200, whole(data=data))
        case "wrapping/unwrap":
            wanted = str(asked.body.get("token") or asked.token)
            wrapped = vault.wrapped.pop(wanted, None)
            if wrapped is None:
                raise Refused(400, USED)
            vault.tokens.pop(wanted, None)
            return Answer(200, wrapped.answer)
    return None


def _policy(asked: Asked, space: Namespace, name: str) -> Answer:
    if asked.method == "DELETE":
        space.policies.pop(name, None)
        return Answer(204)
    if asked.method not in {"POST", "PUT"}:
        raise unsupported()
    try:
        space.policies[name] = policies.parsed(str(asked.body["policy"]))
    except ValueError as error:
        raise Refused(400, f"failed to parse policy: {error}") from error
    return Answer(204)


def _namespace(vault: Vault, asked: Asked, name: str) -> Answer:
    whole_name = "/".join(filter(None, (asked.namespace, name)))
    if asked.method == "DELETE":
        vault.namespaces.pop(whole_name, None)
    else:
        vault.namespaces[whole_name] = Namespace(entries={"token": Tokens(vault)})
    return Answer(204)


def _mount(vault: Vault, asked: Asked, space: Namespace, token: Token, path: str) -> Answer:
    mount = vault.mount_of(space, path)
    is_root = policies.ROOT in token.names
    if not mount or not (is_root or policies.reaches(vault.policies_of(token), f"{mount}/")):
        raise Refused(
            403,
            f'preflight capability check returned 403, please ensure client\'s policies grant access to path "{path}/"',
        )
    engine = space.engines[mount]
    data = {
        "accessor": f"{engine.kind}_0000",
        "config": {"default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": False},
        "description": "",
        "local": False,
        "options": engine.options() or None,
        "path": f"{mount}/",
        "seal_wrap": False,
        "type": engine.kind,
        "uuid": "",
    }
    return Answer(200, whole(data=data))


def _lease(vault: Vault, asked: Asked, name: str) -> Answer:
    if name.startswith(("revoke-prefix/", "revoke-force/")):
        vault.revoke_prefix(name.partition("/")[2])
        return Answer(204)
    lease = vault.leases.get(str(asked.body.get("lease_id", "")))
    if name == "revoke":
        if lease is not None:
            vault.revoke_lease(lease)
        return Answer(204)
    if lease is None or lease.namespace != asked.namespace:
        raise Refused(400, "lease not found" if name == "renew" else "invalid lease")
    if name == "lookup":
        data = {"id": lease.id, "renewable": True, "ttl": int(lease.ends - vault.seconds)}
        return Answer(200, whole(data=data))
    if name != "renew":
        raise unsupported()
    life, lease.ends = vault.renewed(lease.ends_max, seconds_of(asked.body.get("increment"), lease.seconds))
    lease.extend(life)
    return Answer(200, whole(lease_id=lease.id, renewable=True, lease_duration=int(min(life, LEASE_SECONDS))))

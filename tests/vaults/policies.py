"""A Vault's policies, in JSON or in as much of HCL as they are written in, and which capabilities they give at a path."""

import json
import re
from collections.abc import Iterable

ROOT = "root"
DEFAULT = "default"
PATH = re.compile(r'path\s+"([^"]+)"\s*\{\s*capabilities\s*=\s*\[([^\]]*)\]\s*\}')
COMMENT = re.compile(r"#[^\n]*")
# As a new Vault has it, of what is here.
DEFAULT_RULES = """
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/renew" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }
path "sys/wrapping/wrap" { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }
"""
Policy = dict[str, frozenset[str]]


def parsed(text: str) -> Policy:
    """The capabilities by their paths."""
    if text.lstrip().startswith("{"):
        return {path: frozenset(rule["capabilities"]) for path, rule in json.loads(text)["path"].items()}
    rules = {}
    for path, words in PATH.findall(COMMENT.sub("", text)):
        rules[path] = frozenset(re.findall(r'"([^"]+)"', words))
    if not rules:
        raise ValueError("a policy without a path")
    return rules


def capabilities(policies: Iterable[Policy], path: str) -> frozenset[str]:
    """Those of the most particular rule that holds for the path, in all policies together; none where one of them denies."""
    holding: dict[str, set[str]] = {}
    for policy in policies:
        for pattern, words in policy.items():
            if _holds(pattern, path):
                holding.setdefault(pattern, set()).update(words)
    if not holding:
        return frozenset()
    best = max(
        holding, key=lambda pattern: ("*" not in pattern and "+" not in pattern, "*" not in pattern, len(pattern))
    )
    return frozenset() if "deny" in holding[best] else frozenset(holding[best])


def reaches(policies: Iterable[Policy], mount: str) -> bool:
    """Whether any of them leads into an engine that is mounted there."""
    return any(
        "deny" not in words and (pattern.startswith(mount) or mount.startswith(pattern.rstrip("*+")))
        for policy in policies
        for pattern, words in policy.items()
    )


def _holds(pattern: str, path: str) -> bool:
    is_prefix = pattern.endswith("*")
    text = re.escape(pattern[:-1] if is_prefix else pattern).replace(r"\+", "[^/]+")
    return re.fullmatch(text + (".*" if is_prefix else ""), path, re.DOTALL) is not None

"""What the API server was asked by service accounts, from its audit log: verb and resource, and whether it was allowed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}


class Access(NamedTuple):
    """A verb on a resource, with its subresource behind a `/`; of one object where a rule or a call names it."""

    verb: str
    group: str
    resource: str


class KubeAudit:
    """The log of one API server."""

    def __init__(self, folder: Path) -> None:
        self._policy = folder / "audit-policy.yaml"
        self._log = folder / "audit.log"

    def arguments(self) -> Sequence[str]:
        """What the API server is started with."""
        self._policy.write_text(yaml.safe_dump(POLICY))
        return (f"--audit-policy-file={self._policy}", f"--audit-log-path={self._log}")

    def used(self, namespace: str, account: str) -> set[Access]:
        """What a service account has asked for, and was given."""
        return {access for access, is_allowed in self._asked(namespace, account) if is_allowed}

    def refused(self, namespace: str, account: str) -> set[Access]:
        """What it has asked for, and may not do."""
        return {access for access, is_allowed in self._asked(namespace, account) if not is_allowed}

    def _asked(self, namespace: str, account: str) -> Iterator[tuple[Access, bool]]:
        user = f"system:serviceaccount:{namespace}:{account}"
        for line in self._log.read_text().splitlines():
            event = json.loads(line)
            if event["user"]["username"] != user or "objectRef" not in event:
                continue
            about = event["objectRef"]
            resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
            decision = event["annotations"]["authorization.k8s.io/decision"]
            yield Access(event["verb"], about.get("apiGroup", ""), resource), decision == "allow"


def granted(rules: Sequence[Mapping[str, Any]]) -> set[Access]:
    """What the rules of a Role allow, each by itself. A star is none of them."""
    return {
        Access(verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }

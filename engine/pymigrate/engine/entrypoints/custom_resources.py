"""CustomResourceDefinitions, from the contract's descriptors: one for each kind that files may declare, and Run."""

from collections.abc import Mapping
from typing import Any

import yaml
from google.protobuf.descriptor import Descriptor

from pymigrate.engine.application.gitops.definition_kinds import DEFINITION_KINDS
from pymigrate.engine.entrypoints.rest.comments import contract_comments
from pymigrate.engine.entrypoints.structural_schemas import StructuralSchemas
from pymigrate.engine.ports.cluster import ResourceType
from pymigrate.v1.custom_resource_pb2 import ObjectStatus, RunSpec, RunStatus

GROUP = "pymigrate.io"
VERSION = "v1alpha1"
RUN = "Run"
CATEGORY = "pymigrate"
NAME_PATTERN = "^[a-z](?:[a-z0-9-]*[a-z0-9])?$"
"""The engine's rule of names, of what Kubernetes allows: no underscores there, no dots here."""
NAME_CHARACTERS_MAX = 63
SHORT_NAMES: Mapping[str, str] = {
    "Environment": "pmenv",
    "SecretBackend": "pmsecrets",
    "Connection": "pmconn",
    "Department": "pmdept",
    "Plan": "pmplan",
    "NotificationChannel": "pmchannel",
    "Stakeholder": "pmstake",
    "OnCallSchedule": "pmoncall",
    "NotificationTemplate": "pmtemplate",
    "AlertRule": "pmrule",
    "Silence": "pmsilence",
    "GitSource": "pmgit",
    RUN: "pmrun",
}
_RUN_TEXT = "A run of a plan: it moves the data of every phase, verifies it and publishes it."
_WIDTH_CHARACTERS = 140


def custom_resource_definitions() -> Mapping[str, dict[str, Any]]:
    """Each by its kind's word."""
    return {word: custom_resource_definition(word) for word in (*DEFINITION_KINDS, RUN)}


def custom_resource_definition(word: str) -> dict[str, Any]:
    """That of one kind."""
    kind = resource_type(word)
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": _columns(word),
        "subresources": {"status": {}, **({"scale": _SCALE} if word == RUN else {})},
        "schema": {"openAPIV3Schema": _schema(word)},
    }
    names = {
        "kind": word,
        "listKind": f"{word}List",
        "plural": kind.plural,
        "singular": word.lower(),
        "shortNames": [SHORT_NAMES[word]],
        "categories": [CATEGORY],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "pymigrate", "app.kubernetes.io/component": "crds"},
        },
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def resource_type(word: str) -> ResourceType:
    """A kind as the API serves it."""
    return ResourceType(GROUP, VERSION, f"{word.lower()}s", word)


def as_yaml(*documents: Mapping[str, Any]) -> str:
    """Documents as kubectl takes them."""
    return str(
        yaml.dump_all(
            documents,
            Dumper=_Plain,
            sort_keys=False,
            allow_unicode=True,
            width=_WIDTH_CHARACTERS,
            explicit_start=len(documents) > 1,
        )
    )


_SCALE = {
    "specReplicasPath": ".spec.lanes",
    "statusReplicasPath": ".status.lanes.running",
    "labelSelectorPath": ".status.lanes.selector",
}


def _schema(word: str) -> dict[str, Any]:
    message, status = _messages(word)
    comments = contract_comments()
    spec = StructuralSchemas(comments, is_status=False).reference(message)
    name = {"type": "string", "pattern": NAME_PATTERN, "maxLength": NAME_CHARACTERS_MAX}
    text = _RUN_TEXT if word == RUN else spec["description"]
    told = {} if word == RUN else {"description": "As it is to be."}
    schema = {
        "type": "object",
        "description": text,
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": {**spec, **told},
            "status": StructuralSchemas(comments, is_status=True).reference(status),
        },
    }
    return schema | ({"required": ["spec"]} if spec.get("required") or "oneOf" in spec else {})


def _messages(word: str) -> tuple[Descriptor, Descriptor]:
    if word == RUN:
        return RunSpec.DESCRIPTOR, RunStatus.DESCRIPTOR
    return DEFINITION_KINDS[word].kind.message().DESCRIPTOR, ObjectStatus.DESCRIPTOR


def _columns(word: str) -> list[dict[str, Any]]:
    own: dict[str, list[dict[str, Any]]] = {
        "Plan": [_column("Hash", ".status.planHash")],
        RUN: [
            _column("Phase", ".status.state"),
            _column("Progress", ".status.progress"),
            _column("Lanes", ".status.lanes.summary"),
            _column("Plan", ".spec.plan"),
        ],
    }
    return [
        _column("Ready", _of_ready("status")),
        _column("Reason", _of_ready("reason")),
        *own.get(word, []),
        _column("Age", ".metadata.creationTimestamp", type="date"),
        _column("Message", _of_ready("message"), priority=1),
    ]


def _of_ready(field: str) -> str:
    return f'.status.conditions[?(@.type=="Ready")].{field}'


def _column(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "string", "jsonPath": path, **more}


class _Plain(yaml.SafeDumper):
    """YAML without anchors, which reviewers stumble over."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True

"""Whatever the contract can say comes back from a real API server as it was sent."""

import random
from typing import Any

import pytest
from google.protobuf.message import Message

from pymigrate.engine.entrypoints.custom_resources import GROUP, RUN, VERSION, resource_type
from pymigrate.v1.shape import from_data, to_json_data
from tests.random_resources import KINDS, filled

SEEDS = range(30)


def place(word: str) -> tuple[str, str, str, str]:
    return GROUP, VERSION, "default", resource_type(word).plural


def resource(word: str, name: str, **parts: Any) -> dict[str, Any]:
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": word, "metadata": {"name": name}, **parts}


def read_back(data: Any, sent: Message) -> Message:
    found = type(sent)()
    from_data(data, found)
    return found


@pytest.mark.parametrize("word", KINDS)
def test_a_spec_is_kept_whole(word: str, objects: Any) -> None:
    for seed in SEEDS:
        sent = filled(word, random.Random(seed))["spec"]
        wanted = resource(word, f"spec-{seed}", spec=to_json_data(sent))
        kept = objects.create_namespaced_custom_object(*place(word), wanted, dry_run="All")
        if word == RUN:
            kept["spec"] = {name: value for name, value in kept["spec"].items() if name in wanted["spec"]}
            for name in set(kept["spec"].get("scaling", {})) - set(wanted["spec"].get("scaling", {})):
                del kept["spec"]["scaling"][name]
        assert read_back(kept["spec"], sent) == sent


@pytest.mark.parametrize("word", ["Plan", RUN])
def test_a_status_is_kept_whole(word: str, objects: Any) -> None:
    made = objects.create_namespaced_custom_object(
        *place(word), resource(word, "status", spec={"plan": "p"} if word == RUN else {})
    )
    for seed in SEEDS:
        sent = filled(word, random.Random(seed))["status"]
        wanted = {**made, "status": to_json_data(sent)}
        kept = objects.replace_namespaced_custom_object_status(*place(word), "status", wanted, dry_run="All")
        assert read_back(kept["status"], sent) == sent

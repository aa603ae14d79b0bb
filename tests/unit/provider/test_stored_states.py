"""States that an earlier provider stored are read by this one, and no schema changes under a version that states were stored with."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tf.gen import tfplugin_pb2 as pb

from pymigrate.provider.provider import PymigrateProvider
from pymigrate.provider.sdk.servicer import Servicer
from pymigrate.provider.sdk.states import read_state
from tests.unit.provider.stored_states import FOLDER, file, resources, shape

RESOURCES = dict(resources())
FILES = sorted(FOLDER.glob("*.json"))
HOW = "raise its schema's version, say in `upgrade` what becomes of older states, and run python -m tests.unit.provider.stored_states"


def breaks(stored: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Where a state of one shape is none of another; that there is more is no break."""
    for name, kind in stored.items():
        place = f"{path}{name}"
        if name not in now:
            yield f"{place} is gone"
        elif isinstance(kind, dict) and isinstance(now[name], dict) and kind.keys() == now[name].keys():
            ((nesting, inner),) = kind.items()
            yield from breaks(inner, now[name][nesting], f"{place}.")
        elif kind != now[name]:
            yield f"{place} is of another type"


@pytest.mark.parametrize("type_name", RESOURCES)
def test_every_version_of_a_schema_so_far_has_a_stored_state(type_name: str) -> None:
    version = RESOURCES[type_name].get_schema().version
    assert all(file(type_name, each).exists() for each in range(1, version + 1)), HOW


@pytest.mark.parametrize("type_name", RESOURCES)
def test_a_schema_holds_what_its_version_stored(type_name: str) -> None:
    schema = RESOURCES[type_name].get_schema()
    stored = json.loads(file(type_name, schema.version).read_text())["shape"]
    assert list(breaks(stored, shape(schema.by_name))) == [], HOW


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stored_state_is_read_without_a_loss(path: Path) -> None:
    type_name, _, version = path.stem.rpartition(".")
    stored = json.loads(path.read_text())["state"]
    request = pb.UpgradeResourceState.Request(
        type_name=type_name, version=int(version), raw_state=pb.RawState(json=json.dumps(stored).encode())
    )
    answer = Servicer(PymigrateProvider()).UpgradeResourceState(request, None)
    assert not answer.diagnostics
    schema = RESOURCES[type_name].get_schema()
    state = read_state(schema.by_name, answer.upgraded_state)
    assert state is not None
    assert state.keys() == schema.by_name.keys()
    if int(version) == schema.version:
        assert _held(stored, state) == stored


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ({"a": "string", "b": {"MAP": {"c": "number"}}, "more": "bool"}, []),
        ({"b": {"MAP": {"c": "number"}}}, ["a is gone"]),
        ({"a": "number", "b": {"MAP": {"c": "number"}}}, ["a is of another type"]),
        ({"a": "string", "b": {"MAP": {"d": "number"}}}, ["b.c is gone"]),
        ({"a": "string", "b": {"LIST": {"c": "number"}}}, ["b is of another type"]),
        ({"a": "string", "b": ["map", "number"]}, ["b is of another type"]),
    ],
)
def test_what_breaks_a_stored_state_is_found(now: dict[str, Any], told: list[str]) -> None:
    assert list(breaks({"a": "string", "b": {"MAP": {"c": "number"}}}, now)) == told


def _held(stored: Any, state: Any) -> Any:
    """The part of a state that a stored one has words for: attributes that came later are left out."""
    if isinstance(stored, dict) and isinstance(state, dict):
        return {name: _held(value, state.get(name)) for name, value in stored.items()}
    if isinstance(stored, list) and isinstance(state, list) and len(stored) == len(state):
        return [_held(one, other) for one, other in zip(stored, state, strict=True)]
    return state

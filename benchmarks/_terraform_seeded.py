"""A large configuration that is applied already. terraform writes its whole state after each of thousands of resources: many minutes on
either side, which say nothing of a plan. So a few resources are applied, and the others follow their example in the state and in the
engine. That a plan finds nothing to do is the proof that all of it is right."""

import base64
import copy
import json
import uuid
from pathlib import Path
from typing import Any

from pymigrate.v1 import plan_pb2
from tests.e2e.engines import EngineProcess

SECONDS = 120


def seed_phases(folder: Path, engine: EngineProcess, count: int) -> None:
    """Phases like those of the state, so many in all, divided among its plans in turn."""
    state, found = _read(folder, "pymigrate_phase")
    applied = found["instances"]
    phases: dict[str, plan_pb2.Phase] = {}
    with engine.client() as client:
        metadata = (*client.metadata, ("pymigrate-managed-by", "terraform"))
        for at, each in enumerate(applied):
            request = plan_pb2.GetPlanRequest(name=each["attributes"]["plan"])
            plan = client.plans.GetPlan(request, metadata=metadata, timeout=SECONDS)
            example = plan.phases[each["attributes"]["phase_id"]]
            for number in range(at + len(applied), count, len(applied)):
                phase = plan.phases[f"x{number}"]
                phase.department = example.department
                dataset = phase.datasets["rows"]
                dataset.CopyFrom(example.datasets["rows"])
                dataset.source.relation = dataset.target.relation = f"t{number}"
            update = plan_pb2.UpdatePlanRequest(plan=plan)
            update.update_mask.paths.append("phases")
            changed = client.plans.UpdatePlan(update, metadata=metadata, timeout=SECONDS)
            phases |= dict(changed.phases)
    found["instances"] = [
        _phase(applied[number % len(applied)], number, phases[f"x{number}"]) for number in range(count)
    ]
    _write(folder, state)


def seed_data(folder: Path, count: int) -> None:
    """terraform_data like those of the state, so many in all."""
    state, found = _read(folder, "terraform_data")
    applied = found["instances"]
    found["instances"] = [_data(applied[number % len(applied)], number) for number in range(count)]
    _write(folder, state)


def _phase(example: dict[str, Any], number: int, phase: plan_pb2.Phase) -> dict[str, Any]:
    made = copy.deepcopy(example)
    made["index_key"] = number
    made["private"] = base64.b64encode(json.dumps({"etag": phase.etag}).encode()).decode()
    attributes = made["attributes"]
    attributes |= {
        "phase_id": f"x{number}",
        "name": phase.name,
        "uid": phase.uid,
        "definition_hash": phase.definition_hash,
    }
    rows = attributes["datasets"]["rows"]
    rows["source"]["relation"] = rows["target"]["relation"] = f"t{number}"
    return made


def _data(example: dict[str, Any], number: int) -> dict[str, Any]:
    made = copy.deepcopy(example)
    made["index_key"] = number
    made["attributes"]["id"] = str(uuid.UUID(int=number + 1))
    for side in ("input", "output"):
        value = made["attributes"][side]["value"]
        value["phase_id"] = f"x{number}"
        rows = value["datasets"]["rows"]
        rows["source"]["relation"] = rows["target"]["relation"] = f"t{number}"
    return made


def _read(folder: Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    state: dict[str, Any] = json.loads((folder / "terraform.tfstate").read_text())
    return state, next(each for each in state["resources"] if each["type"] == kind)


def _write(folder: Path, state: dict[str, Any]) -> None:
    state["serial"] += 1
    (folder / "terraform.tfstate").write_text(json.dumps(state, indent=2))

"""What holds in environments: a definition of 1,000 datasets through five layers, and one change of a base that ten environments inherit.

References, in turns with it: the same definition as JSON, read, merged with what four layers say, its texts filled in by
`string.Template` and written again; and the same change made by hand in each of the ten environments, which inherit nothing.
"""

import asyncio
import json
import statistics
import string
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from _figures import Report, arguments, seconds
from google.protobuf.field_mask_pb2 import FieldMask

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pymigrate.engine.adapters.clock import SystemClock
from pymigrate.engine.adapters.patterns import Re2Patterns
from pymigrate.engine.adapters.store.sqlite import SqliteStore
from pymigrate.engine.application.caller import Caller, Surroundings, random_id
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.environment_layers import EnvironmentLayers
from pymigrate.engine.application.inherited_kinds import INHERITED
from pymigrate.engine.application.kinds import CONNECTIONS, DEPARTMENTS, ENVIRONMENTS, PHASES, PLANS
from pymigrate.engine.application.resolving import Resolving
from pymigrate.engine.ports.store import Store, Unit
from pymigrate.v1 import plan_pb2
from pymigrate.v1.shape import from_data, to_data

ME = Caller("me")
LAYERS = 5
HEIRS = 10
GOAL_MILLISECONDS = 50.0
KEY = "plans/p/phases/big"
OVERRIDDEN = 25  # fields that each layer but the first says otherwise


class Scene:
    """A store with a base and what inherits from it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.surroundings = Surroundings(SystemClock(), random_id, Re2Patterns())
        self.catalog = Catalog(self.surroundings)

    async def create(self, kind: Any, parent: str, name: str, **spec: Any) -> None:
        """Declares an object."""
        message = kind.message()
        from_data(spec, message)
        await self.store.transact(lambda unit: self.catalog.create(unit, kind, parent, name, message, ME))

    async def base(self, name: str) -> None:
        """An environment with what phases refer to, and two parameters."""
        parameters = {"schema": {"defaultValue": "erp"}, "lanes": {"type": "integer", "defaultValue": "2"}}
        await self.create(ENVIRONMENTS, "", name, parameters=parameters)
        parent = f"environments/{name}"
        await self.create(DEPARTMENTS, parent, "sales")
        await self.create(CONNECTIONS, parent, "legacy", sqlite={"path": "/legacy.db"})
        await self.create(CONNECTIONS, parent, "warehouse", duckdb={"path": "/warehouse.duckdb"})
        await self.create(PLANS, parent, "p")

    async def phases(self, name: str, count: int) -> None:
        """So many phases of one dataset each, in one transaction."""

        def work(unit: Unit) -> None:
            for number in range(count):
                phase = plan_pb2.Phase()
                from_data(definition(1, f"t{number}_"), phase)
                parent = f"environments/{name}/plans/p"
                self.catalog.create(unit, PHASES, parent, f"f{number}", phase, ME, is_checked=True)

        await self.store.transact(work)


def definition(datasets: int, prefix: str = "t") -> dict[str, Any]:
    """A phase whose datasets have parameters in their texts."""
    tables = {
        f"{prefix}{number}": {
            "source": {"connection": "legacy", "relation": f"${{schema}}.{prefix}{number}"},
            "target": {"connection": "warehouse", "relation": f"{prefix}{number}", "loadMode": "replace"},
            "key": ["id"],
        }
        for number in range(datasets)
    }
    return {"department": "sales", "datasets": tables}


def said(layer: int, datasets: int) -> dict[str, str]:
    """What a layer says otherwise."""
    chosen = [(layer * OVERRIDDEN + number) % datasets for number in range(min(OVERRIDDEN, datasets))]
    return {f"datasets.t{number}.lanes": "${lanes}" for number in chosen} | {
        f"datasets.t{number}.source.relation": f"${{schema}}.layer{layer}_{number}" for number in chosen
    }


async def layered(scene: Scene, datasets: int) -> None:
    """Five layers, each of which inherits from the one before."""
    await scene.base("l0")
    await scene.create(PHASES, "environments/l0/plans/p", "big", **definition(datasets))
    for layer in range(1, LAYERS):
        overrides = {KEY: {"fields": said(layer, datasets)}}
        await scene.create(ENVIRONMENTS, "", f"l{layer}", bases=[f"l{layer - 1}"], overrides=overrides)


def resolve(unit: Unit, *, has_origins: bool) -> Any:
    """The definition as it holds in the last layer, from what the store has."""
    layers = EnvironmentLayers(unit, Re2Patterns())
    name = f"l{LAYERS - 1}"
    declared = {layer: layers.declared(layer, (KEY,)) for layer in layers.layers(name)}
    resolving = Resolving(layers, name, declared)
    held = resolving.resolve(KEY)
    assert held is not None
    assert not held.problems
    if has_origins:
        return dict(resolving.origins(INHERITED["phases"], held))
    return held.message


class Merged:
    """The reference: plain JSON, merged and filled in."""

    def __init__(self, datasets: int) -> None:
        self._base = json.dumps(definition(datasets))
        self._layers = [json.dumps(nested(said(layer, datasets))) for layer in range(1, LAYERS)]

    def __call__(self) -> dict[str, Any]:
        """Reads, merges, fills in and writes."""
        whole = json.loads(self._base)
        for layer in self._layers:
            merge(whole, json.loads(layer))
        text = string.Template(json.dumps(whole)).substitute(schema="erp", lanes="2")
        found: dict[str, Any] = json.loads(text)
        return found


def nested(paths: dict[str, str]) -> dict[str, Any]:
    """Paths as a tree."""
    tree: dict[str, Any] = {}
    for path, value in paths.items():
        *outer, last = path.split(".")
        at = tree
        for segment in outer:
            at = at.setdefault(segment, {})
        at[last] = value
    return tree


def merge(into: dict[str, Any], other: dict[str, Any]) -> None:
    """The other's values in the first's places."""
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = value


def same(message: plan_pb2.Phase, merged: dict[str, Any]) -> bool:
    """Whether both came to the same."""
    for dataset in merged["datasets"].values():
        if "lanes" in dataset:
            dataset["lanes"] = int(dataset["lanes"])
    held = to_data(message)
    held.pop("name")
    return held == merged


async def measure_resolving(report: Report, rounds: int, datasets: int) -> None:
    """The definition, with and without where its values come from."""
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteStore.open(Path(folder) / "store.db", SystemClock())
        scene = Scene(store)
        await layered(scene, datasets)
        merged = Merged(datasets)
        assert same(await store.read(lambda unit: resolve(unit, has_origins=False)), merged())
        plain, told, references = [], [], []

        def measure(unit: Unit) -> None:
            for _ in range(rounds):
                plain.append(seconds(lambda: resolve(unit, has_origins=False)) * 1_000)
                references.append(seconds(merged) * 1_000)
                told.append(seconds(lambda: resolve(unit, has_origins=True)) * 1_000)

        await store.read(measure)
        await store.close()
    for figure, values in (
        (f"a definition of {datasets:,} datasets through {LAYERS} layers", plain),
        ("the same with where every value comes from", told),
    ):
        value = statistics.median(values)
        report.add(
            figure,
            value,
            "ms",
            reference="JSON read, merged and filled in",
            reference_value=statistics.median(references),
            goal=f"below {GOAL_MILLISECONDS:g} ms",
            met=value < GOAL_MILLISECONDS,
        )


async def measure_changes(report: Report, rounds: int, phases: int) -> None:
    """A phase of the base, and a parameter that all phases have in them, beside the same by hand."""
    with tempfile.TemporaryDirectory() as folder:
        stores = [
            await SqliteStore.open(Path(folder) / f"{name}.db", SystemClock()) for name in ("inherited", "by_hand")
        ]
        inherited, by_hand = map(Scene, stores)
        await inherited.base("base")
        for number in range(HEIRS):
            await inherited.create(ENVIRONMENTS, "", f"e{number}", bases=["base"])
            await by_hand.base(f"e{number}")
            await by_hand.phases(f"e{number}", phases)
        await inherited.phases("base", phases)
        names = [f"environments/base/plans/p/phases/f{number}" for number in range(phases)]
        await inherited.store.transact(lambda unit: inherited.catalog.follow(unit, ME, names))
        for figure, change in (
            ("one phase of a base", change_phase),
            ("a parameter in all phases of a base", change_parameter),
        ):
            mine, theirs = [], []
            for turn in range(rounds):
                mine.append(await timed(inherited, ["base"], change, turn))
                theirs.append(await timed(by_hand, [f"e{number}" for number in range(HEIRS)], change, turn))
            value, reference = statistics.median(mine), statistics.median(theirs)
            report.add(
                f"{figure} changed, with {HEIRS} environments that inherit {phases:,} phases",
                value,
                "s",
                reference="the same in each by hand",
                reference_value=reference,
                goal="no longer than twice by hand",
                met=value < 2 * reference,
            )
        for store in stores:
            await store.close()


Change = Callable[[Scene, Unit, str, int], None]


async def timed(scene: Scene, environments: list[str], change: Change, turn: int) -> float:
    """How long the change takes in all of these, each in a transaction of its own."""
    clock = scene.surroundings.clock
    started = clock.monotonic()
    for name in environments:
        await scene.store.transact(partial(_apply, change, scene, name, turn))
    return clock.monotonic() - started


def _apply(change: Change, scene: Scene, name: str, turn: int, unit: Unit) -> None:
    change(scene, unit, name, turn)


def change_phase(scene: Scene, unit: Unit, environment: str, turn: int) -> None:
    """Another priority."""
    phase = scene.catalog.get(unit, PHASES, f"environments/{environment}/plans/p/phases/f0")
    phase.priority, phase.etag = turn + 1, ""
    scene.catalog.update(unit, PHASES, phase, FieldMask(), ME)


def change_parameter(scene: Scene, unit: Unit, environment: str, turn: int) -> None:
    """Another schema, which is part of every phase."""
    found = scene.catalog.get(unit, ENVIRONMENTS, f"environments/{environment}")
    found.parameters["schema"].default_value, found.etag = f"erp{turn}", ""
    scene.catalog.update(unit, ENVIRONMENTS, found, FieldMask(), ME)


def main() -> None:
    """Measures, and keeps the figures."""
    asked = arguments(__doc__ or "")
    report = Report("environments", ("protobuf", "google-re2", "sqlmodel"))
    rounds, datasets, phases = (31, 1_000, 1_000)
    if asked.quick:
        rounds = 11
    if asked.tiny:
        rounds, datasets, phases = 2, 5, 3
    asyncio.run(measure_resolving(report, rounds, datasets))
    asyncio.run(measure_changes(report, 2 if asked.quick or asked.tiny else 5, phases))
    report.write(asked.results)


if __name__ == "__main__":
    main()

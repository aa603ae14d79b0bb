"""pymigrate_phase."""

from typing import Any

from pymigrate.provider import secrets
from pymigrate.provider.comparing import Change, changed_path
from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.provider.formats import REFERENCE
from pymigrate.provider.moving import is_phase_moved
from pymigrate.provider.sdk.diagnostics import ManyRefused, Refused
from pymigrate.provider.sdk.resource import Context, State
from pymigrate.provider.sdk.schema import elements
from pymigrate.provider.sdk.values import Unknown
from pymigrate.v1 import plan_pb2

# What may change downtime. A warning stands at the first of them that changes.
COSTS = (
    "schedule",
    "downtime_policy",
    "datasets",
    "dependencies",
    "department_dependencies",
    "department",
    "gates",
    "steps",
    "priority",
)


class PhaseResource(DeclaredResource):
    """One department's datasets. Its `definition_hash` changes when another run is due."""

    declaration = Declaration(
        "phase",
        "PlanService",
        plan_pb2,
        parent="plan",
        required=(
            "department",
            "datasets",
            "datasets.source",
            "datasets.target",
            "datasets.source.connection",
            "datasets.source.relation",
            "datasets.source.columns.type",
            "datasets.target.connection",
            "datasets.target.relation",
            "datasets.source.http_json.cursor.next",
            "datasets.references.columns",
            "datasets.references.relation",
            "datasets.references.relation_columns",
            "datasets.transforms.rename.columns",
            "datasets.transforms.filter.condition",
            "datasets.transforms.derive.columns",
            "datasets.transforms.derive.columns.expression",
            "datasets.transforms.derive.columns.type",
            "datasets.transforms.select.columns",
            "datasets.transforms.drop.columns",
            "datasets.transforms.cast.columns",
            "datasets.transforms.cast.columns.type",
            "datasets.transforms.lookup.source",
            "datasets.transforms.lookup.source.connection",
            "datasets.transforms.lookup.source.relation",
            "datasets.transforms.lookup.source.columns.type",
            "datasets.transforms.lookup.keys",
            "datasets.transforms.lookup.columns",
            "datasets.transforms.split.column",
            "datasets.transforms.split.separator",
            "datasets.transforms.split.into",
            "datasets.transforms.merge.columns",
            "datasets.transforms.merge.into",
            "datasets.transforms.mask.columns",
            "datasets.transforms.mask.columns.method",
            "datasets.transforms.plugin.name",
            "datasets.transforms.python.function",
            "datasets.transforms.python.columns",
            "datasets.transforms.python.columns.type",
        ),
        outputs=("definition_hash",),
        checks={"datasets.transforms.mask.key": REFERENCE},
    )

    def validate(self, context: Context, config: State) -> None:
        """What is secret in the headers of a step is a reference."""
        super().validate(context, config)
        wrong = [
            error
            for name, step in elements(self.attributes()["steps"], config.get("steps"))
            for part in ("call", "undo")
            if isinstance(call := step.get(part), dict)
            for error in secrets.headers(call.get("headers"), ["steps", (name,), part, "headers"], of_step=True)
        ]
        if wrong:
            raise ManyRefused(wrong)

    def modify_plan(self, context: Context, prior: State | None, planned: State) -> State:
        """The digest is unknown only when something changes that moves data, a connection's system too. What a change makes of downtime is
        warned of."""
        if prior is None:
            return planned
        self.provider.known.tell(context)
        path = changed_path(self.attributes(), COSTS, prior, planned)
        if path:
            change = Change(planned["plan"], planned["phase_id"], lambda: self._variant(planned), path)
            self.provider.comparisons.warn(context, self.provider, change)
        is_moved = self.provider.moved_connections.has_any_of(prior["plan"], planned) or (
            prior != planned and self._is_moved(prior, planned)
        )
        return {**planned, "definition_hash": Unknown if is_moved else prior.get("definition_hash")}

    def _is_moved(self, prior: State, planned: State) -> bool:
        try:
            return is_phase_moved(self._message(prior), self._message(planned), planned)
        except Refused:  # what does not fit the contract is the apply's to tell
            return True

    def _variant(self, planned: State) -> Any:
        from pymigrate.v1 import impact_pb2

        changed = impact_pb2.PhaseVariant(definition=self._message(planned))
        return impact_pb2.ImpactVariant(phases={planned["phase_id"]: changed})

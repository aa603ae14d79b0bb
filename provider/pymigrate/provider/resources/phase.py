"""pymigrate_phase."""

from typing import Any

from pymigrate.provider import secrets
from pymigrate.provider.comparing import Change, changed_path
from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.provider.formats import REFERENCE
from pymigrate.provider.sdk.diagnostics import ManyRefused
from pymigrate.provider.sdk.resource import Context, State
from pymigrate.provider.sdk.schema import are_equal, elements
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
NO_MATTER = frozenset({"display_name", "labels", "priority", "definition_hash"})


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
        """The digest is unknown only when something changes that moves data. What a change makes of downtime is warned of."""
        if prior is None:
            return planned
        path = changed_path(self.attributes(), COSTS, prior, planned)
        if path:
            change = Change(planned["plan"], planned["phase_id"], lambda: self._variant(planned), path)
            self.provider.comparisons.warn(context, self.provider, change)
        is_moved = any(
            not are_equal(attribute, prior.get(name), planned.get(name))
            for name, attribute in self.attributes().items()
            if name not in NO_MATTER
        )
        return planned if is_moved else {**planned, "definition_hash": prior.get("definition_hash")}

    def _variant(self, planned: State) -> Any:
        from pymigrate.v1 import impact_pb2

        changed = impact_pb2.PhaseVariant(definition=self._message(planned))
        return impact_pb2.ImpactVariant(phases={planned["phase_id"]: changed})

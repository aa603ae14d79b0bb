"""data.pymigrate_impact: what a plan costs the business before it runs."""

from functools import cache
from typing import Any

from tf.types import Bool, Number, String

from pymigrate.provider import contract
from pymigrate.provider.asking import ask
from pymigrate.provider.descriptions import description_of
from pymigrate.provider.sdk.diagnostics import Refused, attribute_path
from pymigrate.provider.sdk.resource import Context, DataSource, State
from pymigrate.provider.sdk.schema import Attribute, Schema
from pymigrate.v1 import impact_pb2
from pymigrate.v1.shape import ShapeError, from_data

PROBE_DEFAULT_SECONDS = 30.0
REHEARSE_TIMEOUT_SECONDS = 180.0  # beside probing: what reading statistics and rehearsing may take
OPTIONS = {
    "draws": Number(),
    "seed": Number(),
    "start_time": String(),
    "probe_seconds_max": Number(),
    "remeasures": Bool(),
}
ARGUMENTS = ("plan", *OPTIONS)
TOLD = frozenset({"draws", "seed", "start_time"})  # as the engine chose them where they are not given
# One entry for each change of a lane's state: thousands in a large plan, and nothing that a configuration decides by.
LEAVE_OUT = ("lane_uses",)


class ImpactDataSource(DataSource):
    """A plan's impact, analyzed anew at every reading; measurements of before are used again."""

    @classmethod
    def get_name(cls) -> str:
        """`impact`."""
        return "impact"

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        """The request, and all of the answer but `lane_uses`."""
        fields = contract.attributes_of(
            impact_pb2.Impact.DESCRIPTOR, leave_out=(*ARGUMENTS, *LEAVE_OUT), is_computed=True
        )
        return Schema(
            [
                Attribute("plan", required=True, description=description_of("AnalyzeImpactRequest.plan")),
                *(
                    Attribute(
                        name,
                        kind,
                        optional=True,
                        computed=name in TOLD,
                        description=description_of(f"AnalyzeImpactRequest.{name}"),
                    )
                    for name, kind in OPTIONS.items()
                ),
                *fields,
            ],
            description=(
                "What a plan costs the business before it runs: analyzed anew at every reading, from measurements that are used again. "
                "Name the plan's phases in `depends_on`."
            ),
        )

    def read(self, context: Context, config: State) -> State:
        """Asks the engine, and waits as long as it may probe."""
        attributes = self.get_schema().by_name
        request = impact_pb2.AnalyzeImpactRequest()
        given = {name: config[name] for name in ARGUMENTS if config.get(name) is not None}
        summary = f"The impact of {config['plan']} can't be told"
        try:
            from_data(given, request)
        except ShapeError as error:
            raise Refused(summary, str(error), attribute_path(error.path, attributes)) from error
        seconds = probe_seconds(request) + REHEARSE_TIMEOUT_SECONDS
        impact = ask(self, context, ("ImpactService", "AnalyzeImpact"), request, summary, seconds)
        return {**contract.to_figures(impact, attributes), **given}


def probe_seconds(request: Any) -> float:
    """How long the engine may probe for a request."""
    asked: float = request.probe_seconds_max
    return max(asked, 0.0) if asked else PROBE_DEFAULT_SECONDS

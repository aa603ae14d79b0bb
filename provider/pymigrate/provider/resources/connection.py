"""pymigrate_connection."""

from itertools import chain

import grpc

from pymigrate.provider import secrets, work
from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.provider.engine import is_missing, refuse
from pymigrate.provider.formats import REFERENCE, WITHOUT_PASSWORD
from pymigrate.provider.sdk.diagnostics import ManyRefused
from pymigrate.provider.sdk.resource import Context, State
from pymigrate.v1 import connection_pb2, plan_pb2


class ConnectionResource(DeclaredResource):
    """How to reach a system. Another kind of system is another connection."""

    declaration = Declaration(
        "connection",
        "ConnectionService",
        connection_pb2,
        parent="environment",
        kinds=tuple(field.name for field in connection_pb2.Connection.DESCRIPTOR.oneofs_by_name["system"].fields),
        required=(
            *(
                "sqlite.path",
                "duckdb.path",
                "files.root",
                "http.base_url",
                "iceberg.catalog_path",
                "plugin.kind",
                "iceberg.warehouse",
                "sqlalchemy.url",
            ),
            *(f"{system}.{field}" for system in ("postgres", "mysql") for field in ("host", "database", "user")),
        ),
        checks={
            **{f"{system}.password": REFERENCE for system in ("postgres", "mysql", "sqlalchemy")},
            **dict.fromkeys(("sqlalchemy.url", "files.root", "http.base_url"), WITHOUT_PASSWORD),
        },
    )

    def validate(self, context: Context, config: State) -> None:
        """What is secret by its name is a reference."""
        super().validate(context, config)
        files, plugin, http = (_known(config.get(kind)) for kind in ("files", "plugin", "http"))
        wrong = chain(
            secrets.options(files.get("options"), ["files", "options"]),
            secrets.options(plugin.get("options"), ["plugin", "options"]),
            secrets.headers(http.get("headers"), ["http", "headers"]),
        )
        if found := list(wrong):
            raise ManyRefused(found)

    def plan_destroy(self, context: Context, prior: State) -> None:
        """Says which runs are under way that read from it or write to it."""
        own = prior["connection_id"]
        runs = work.runs_below(self.engine, f"{prior['environment']}/plans/-", self.attributes())
        unfinished = [run for run in runs if work.state_of(run) not in work.ENDED]
        using = {name: self._is_used(name, own) for name in {run.name.rpartition("/runs/")[0] for run in unfinished}}
        in_use = [run for run in unfinished if using[run.name.rpartition("/runs/")[0]]]
        work.warn_of_unfinished(context, prior["name"], in_use)

    def _is_used(self, plan: str, own: str) -> bool:
        """Whether a plan names the connection."""
        try:
            found = self.engine.call("PlanService", "GetPlan", plan_pb2.GetPlanRequest(name=plan))
        except grpc.RpcError as error:
            if is_missing(error):
                return False
            refuse(error, f"{plan} can't be read", self.attributes())
        return any(
            own in (dataset.source.connection, dataset.target.connection)
            for phase in found.phases.values()
            for dataset in phase.datasets.values()
        )


def _known(system: object) -> State:
    return system if isinstance(system, dict) else {}

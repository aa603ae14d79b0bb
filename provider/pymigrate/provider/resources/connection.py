"""pymigrate_connection."""

from itertools import chain
from typing import Any

import grpc

from pymigrate.provider import secrets, work
from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.provider.engine import is_missing, refuse
from pymigrate.provider.formats import REFERENCE, WITHOUT_PASSWORD
from pymigrate.provider.moving import is_connection_moved
from pymigrate.provider.replacing import Replaceable
from pymigrate.provider.sdk.diagnostics import ManyRefused, Refused
from pymigrate.provider.sdk.resource import Context, State
from pymigrate.v1 import connection_pb2, plan_pb2


class ConnectionResource(Replaceable, DeclaredResource):
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

    identifying = ("environment", "connection_id")

    def read(self, context: Context, current: State) -> State | None:
        """The connection as the engine has it."""
        self.note_read(current)
        return super().read(context, current)

    def plan_change(self, context: Context, prior: State, planned: State) -> None:
        """Notes whether phases would move from or to another system."""
        self._note_move(prior, planned)

    def update(self, context: Context, current: State, planned: State) -> State:
        """Changes it; phases that are planned anew afterwards are told."""
        made = super().update(context, current, planned)
        self._note_move(current, planned)
        return made

    def plan_destroy(self, context: Context, prior: State) -> None:
        """Says which runs are under way that read from it or write to it."""
        self.hear_of_destruction(prior)
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
        return any(own in _named(dataset) for phase in found.phases.values() for dataset in phase.datasets.values())

    def _note_move(self, prior: State, planned: State) -> None:
        try:
            is_moved = prior != planned and is_connection_moved(self._message(prior), self._message(planned), planned)
        except Refused:  # what does not fit the contract is the apply's to tell
            is_moved = True
        if is_moved:
            self.provider.moved_connections.add(prior["name"])


def _named(dataset: Any) -> set[str]:
    """The connections that a dataset reads from, writes to and looks up in."""
    looked_up = {each.lookup.source.connection for each in dataset.transforms if each.HasField("lookup")}
    return {dataset.source.connection, dataset.target.connection} | looked_up


def _known(system: object) -> State:
    return system if isinstance(system, dict) else {}

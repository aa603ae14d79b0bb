"""data.pymigrate_run_status: where a run stands."""

from functools import cache

import grpc

from pymigrate.provider import contract
from pymigrate.provider.engine import Engine, refuse
from pymigrate.provider.sdk.resource import Context, DataSource, State
from pymigrate.provider.sdk.schema import Attribute, Schema
from pymigrate.v1 import run_pb2

LEAVE_OUT = ("name", "etag", "desired_state", "triggers", "managed_by")


class RunStatusDataSource(DataSource):
    """A run with its phases and datasets, as it stands now."""

    @classmethod
    def get_name(cls) -> str:
        """`run_status`."""
        return "run_status"

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        """The run's message, all of it computed."""
        fields = contract.attributes_of(run_pb2.Run.DESCRIPTOR, leave_out=LEAVE_OUT, is_computed=True)
        return Schema(
            [Attribute("run", required=True, description="Resource name of the run."), *fields],
            description="Where a run stands, with its phases and datasets, read anew at every plan.",
        )

    def read(self, context: Context, config: State) -> State:
        """Asks the engine."""
        engine: Engine = self.provider.engine()
        attributes = self.get_schema().by_name
        try:
            run = engine.call("RunService", "GetRun", run_pb2.GetRunRequest(name=config["run"]))
        except grpc.RpcError as error:
            refuse(error, f"{config['run']} can't be read", attributes)
        return {**contract.to_state(run, attributes), "run": config["run"]}

"""The provider: its own configuration, and which resources and data sources there are. Types are imported when they are asked for."""

from pathlib import Path
from typing import Any

from tf.iface import Provider
from tf.types import String
from tf.utils import Diagnostics

from pymigrate.provider.engine import Engine, home_of
from pymigrate.provider.sdk.diagnostics import Refused
from pymigrate.provider.sdk.schema import Attribute, Schema
from pymigrate.provider.sdk.values import Unknown


class PymigrateProvider(Provider):
    """`provider "pymigrate" {}`: everything that it needs is the home of an engine that serves on this machine."""

    def __init__(self) -> None:
        self._home: Path | None = home_of(None)
        self._engine: Engine | None = None

    def get_model_prefix(self) -> str:
        """What every type's name begins with."""
        return "pymigrate_"

    def full_name(self) -> str:
        """The provider's address."""
        return "registry.terraform.io/pymigrate/pymigrate"

    def get_provider_schema(self, diags: Diagnostics) -> Schema:
        """The configuration."""
        return Schema(
            [
                Attribute(
                    "home",
                    String(),
                    optional=True,
                    description="Folder of the engine's token and endpoint. Default: PYMIGRATE_HOME, else the user's data folder.",
                )
            ]
        )

    def validate_config(self, diags: Diagnostics, config: dict[str, Any] | None) -> None:
        """Nothing beyond the schema."""

    def configure_provider(self, diags: Diagnostics, config: dict[str, Any] | None) -> None:
        """Notes the home; nothing is contacted before the first call."""
        home = (config or {}).get("home")
        self._home = None if home is Unknown else home_of(home)
        self._engine = None

    def engine(self) -> Engine:
        """The engine of the configuration. Raises Refused while its home is not known yet."""
        if self._home is None:
            raise Refused(
                "The engine's home is not known yet", "Set `home` to a value that is known when planning.", ["home"]
            )
        if self._engine is None:
            self._engine = Engine(self._home)
        return self._engine

    def get_resources(self) -> list[Any]:
        """The resources."""
        from pymigrate.provider.resources.connection import ConnectionResource
        from pymigrate.provider.resources.department import DepartmentResource
        from pymigrate.provider.resources.environment import EnvironmentResource
        from pymigrate.provider.resources.phase import PhaseResource
        from pymigrate.provider.resources.plan import PlanResource
        from pymigrate.provider.resources.run import RunResource
        from pymigrate.provider.resources.run_gate import RunGateResource

        return [
            EnvironmentResource,
            DepartmentResource,
            ConnectionResource,
            PlanResource,
            PhaseResource,
            RunResource,
            RunGateResource,
        ]

    def get_data_sources(self) -> list[Any]:
        """The data sources."""
        from pymigrate.provider.data_sources.impact import ImpactDataSource
        from pymigrate.provider.data_sources.run_status import RunStatusDataSource

        return [RunStatusDataSource, ImpactDataSource]

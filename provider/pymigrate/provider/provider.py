"""The provider: its own configuration, and which resources and data sources there are. Types are imported when they are asked for."""

import math
import os
from typing import Any

from tf.iface import Provider
from tf.types import Number, String
from tf.utils import Diagnostics

from pymigrate.provider.bulk_reads import BulkReads
from pymigrate.provider.comparing import Comparisons
from pymigrate.provider.engine import Engine
from pymigrate.provider.moving import MovedConnections
from pymigrate.provider.reaching import ENDPOINT, TOKEN, TOKEN_VARIABLE, place_of
from pymigrate.provider.replacing import Known
from pymigrate.provider.sdk import planning
from pymigrate.provider.sdk.diagnostics import ManyRefused, Refused
from pymigrate.provider.sdk.schema import Attribute, Schema
from pymigrate.provider.sdk.values import Unknown

SHARE_DEFAULT = 0.2
SHARE_VARIABLE = "PYMIGRATE_DOWNTIME_INCREASE_SHARE_MAX"
NO_COMPARISON = -1.0
PLACES = ("home", "endpoint", "token", "ca_file")  # what leads to the engine


class PymigrateProvider(Provider):
    """`provider "pymigrate" {}`: everything that it needs is the home of an engine, or endpoint and token.

    `downtime_increase_share_max` is None where no planned change is to be compared; `comparisons` are those of this process."""

    def __init__(self, comparisons: Comparisons | None = None) -> None:
        self._engine: Engine | None = Engine(place_of(os.environ))
        self._unknown = ""
        self.downtime_increase_share_max: float | None = SHARE_DEFAULT
        self.comparisons = comparisons or Comparisons()
        self.bulk_reads = BulkReads()
        self.known = Known()
        self.moved_connections = MovedConnections()

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
                ),
                Attribute(
                    "endpoint",
                    String(),
                    optional=True,
                    check=ENDPOINT,
                    description=(
                        "Where the engine listens, such as `127.0.0.1:7433` or, with a `ca_file`, `pymigrate.example.com:7433`; with its "
                        "`token` in place of a `home`. Default: PYMIGRATE_ENDPOINT, else the home's."
                    ),
                ),
                Attribute(
                    "token",
                    String(),
                    optional=True,
                    sensitive=True,
                    check=TOKEN,
                    description=(
                        "What the engine is shown, in place of the home's: one of `ephemeral.pymigrate_token`, which ends by itself, or "
                        "an ephemeral variable. It is in no plan and no state. Default: what the file PYMIGRATE_TOKEN_FILE holds, else the "
                        "home's."
                    ),
                ),
                Attribute(
                    "ca_file",
                    String(),
                    optional=True,
                    description=(
                        "PEM file of the authorities that the engine's certificate is known by. An engine on another machine is spoken to "
                        "over TLS alone. Default: PYMIGRATE_CA_FILE, else the home's ca.crt; where there is none, an engine on this "
                        "machine is spoken to without TLS."
                    ),
                ),
                Attribute(
                    "downtime_increase_share_max",
                    Number(),
                    optional=True,
                    description=(
                        "By which share of itself a planned change may raise a phase's downtime without a warning: 0.2 is 20%. "
                        "-1: changes are not compared at all, for windows neither. "
                        f"Default: {SHARE_VARIABLE}, else {SHARE_DEFAULT:g}."
                    ),
                ),
            ],
            description=(
                "Declares what PyMigrate migrates, who is told, and when it runs. It needs an engine that serves, and no configuration "
                "where that has the default home on this machine."
            ),
        )

    def validate_config(self, diags: Diagnostics, config: dict[str, Any] | None) -> None:
        """The share, where it is known, and what leads to the engine. Raises Refused."""
        told = config or {}
        share_of(told.get("downtime_increase_share_max"))
        if wrong := list(planning.config_errors(self.get_provider_schema(diags).by_name, told)):
            raise ManyRefused(wrong)
        if told.get("endpoint") is not None and told.get("home") is not None:
            raise Refused("There is one engine", "Set `endpoint` with `token`, or `home`.", ["endpoint"])
        if told.get("endpoint") is not None and told.get("token") is None and not os.environ.get(TOKEN_VARIABLE):
            said = f"Set `token`, {TOKEN_VARIABLE} to a file that holds it, or `home` in place of both."
            raise Refused("An endpoint needs a token", said, ["endpoint"])

    def configure_provider(self, diags: Diagnostics, config: dict[str, Any] | None) -> None:
        """Notes how to reach the engine, and the share; nothing is contacted before the first call. Raises Refused for a share that is
        none."""
        self.bulk_reads.begin()
        self.known.forget()
        self.moved_connections.forget()
        told = config or {}
        self._unknown = next((name for name in PLACES if told.get(name) is Unknown), "")
        self._engine = None if self._unknown else Engine(place_of(os.environ, *(told.get(name) for name in PLACES)))
        self.downtime_increase_share_max = share_of(told.get("downtime_increase_share_max"))

    @property
    def is_engine_known(self) -> bool:
        """Whether `engine` has one to tell."""
        return self._engine is not None

    def engine(self) -> Engine:
        """The engine of the configuration. Raises Refused while it is not known yet how to reach it."""
        if self._engine is None:
            raise Refused(
                f"The engine's {self._unknown} is not known yet",
                f"Set `{self._unknown}` to a value that is known when planning.",
                [self._unknown],
            )
        return self._engine

    def get_resources(self) -> list[Any]:
        """The resources."""
        from pymigrate.provider.resources.alert_rule import AlertRuleResource
        from pymigrate.provider.resources.connection import ConnectionResource
        from pymigrate.provider.resources.department import DepartmentResource
        from pymigrate.provider.resources.environment import EnvironmentResource
        from pymigrate.provider.resources.git_source import GitSourceResource
        from pymigrate.provider.resources.notification_channel import NotificationChannelResource
        from pymigrate.provider.resources.notification_template import NotificationTemplateResource
        from pymigrate.provider.resources.on_call_schedule import OnCallScheduleResource
        from pymigrate.provider.resources.phase import PhaseResource
        from pymigrate.provider.resources.plan import PlanResource
        from pymigrate.provider.resources.role_binding import RoleBindingResource
        from pymigrate.provider.resources.run import RunResource
        from pymigrate.provider.resources.run_gate import RunGateResource
        from pymigrate.provider.resources.secret_backend import SecretBackendResource
        from pymigrate.provider.resources.silence import SilenceResource
        from pymigrate.provider.resources.stakeholder import StakeholderResource

        return [
            EnvironmentResource,
            DepartmentResource,
            SecretBackendResource,
            ConnectionResource,
            PlanResource,
            PhaseResource,
            RunResource,
            RunGateResource,
            StakeholderResource,
            NotificationChannelResource,
            NotificationTemplateResource,
            OnCallScheduleResource,
            AlertRuleResource,
            SilenceResource,
            GitSourceResource,
            RoleBindingResource,
        ]

    def get_data_sources(self) -> list[Any]:
        """The data sources."""
        from pymigrate.provider.data_sources.audit import AuditDataSource
        from pymigrate.provider.data_sources.discovered_schema import DiscoveredSchemaDataSource
        from pymigrate.provider.data_sources.environment import EnvironmentDataSource
        from pymigrate.provider.data_sources.impact import ImpactDataSource
        from pymigrate.provider.data_sources.kpis import KpisDataSource
        from pymigrate.provider.data_sources.phases import PhasesDataSource
        from pymigrate.provider.data_sources.plan import PlanDataSource
        from pymigrate.provider.data_sources.run_status import RunStatusDataSource

        return [
            RunStatusDataSource,
            ImpactDataSource,
            PlanDataSource,
            PhasesDataSource,
            KpisDataSource,
            DiscoveredSchemaDataSource,
            EnvironmentDataSource,
            AuditDataSource,
        ]

    def get_ephemeral_resources(self) -> list[Any]:
        """The ephemeral resources."""
        from pymigrate.provider.ephemeral_resources.token import TokenResource

        return [TokenResource]

    def get_functions(self) -> list[Any]:
        """The functions."""
        from pymigrate.provider.functions.parse_name import ParseName
        from pymigrate.provider.functions.phase_order import PhaseOrder

        return [ParseName, PhaseOrder]


def share_of(configured: Any) -> float | None:
    """The share by which downtime may rise: as configured, as the variable says, or the default; None for no comparison. Raises Refused
    for what is neither above 0 nor -1."""
    given = os.environ.get(SHARE_VARIABLE) if configured is None or configured is Unknown else configured
    if given is None or given == "":
        return SHARE_DEFAULT
    try:
        share = float(given)
    except ValueError:
        share = math.nan
    if share == NO_COMPARISON:
        return None
    if not 0 < share < math.inf:
        where = "" if given is configured else f" ({SHARE_VARIABLE})"
        raise Refused(
            f"downtime_increase_share_max can't be {given}{where}",
            "It is a share above 0, such as 0.2 for 20%, or -1 for no comparison.",
            ["downtime_increase_share_max"],
        )
    return share

"""pymigrate_environment."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.v1 import environment_pb2


class EnvironmentResource(DeclaredResource):
    """An isolated place that plans run in."""

    declaration = Declaration("environment", "EnvironmentService", environment_pb2)

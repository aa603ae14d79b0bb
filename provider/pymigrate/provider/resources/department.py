"""pymigrate_department."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.v1 import environment_pb2


class DepartmentResource(DeclaredResource):
    """A part of the business that owns systems."""

    declaration = Declaration("department", "EnvironmentService", environment_pb2, parent="environment")

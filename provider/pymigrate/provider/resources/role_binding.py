"""pymigrate_role_binding."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.v1 import access_pb2


class RoleBindingResource(DeclaredResource):
    """A role that principals and groups have: everywhere, in one environment, or for some of its plans."""

    declaration = Declaration("role_binding", "AccessService", access_pb2, required=("role", "members"))

"""Lists of environments show those that a caller may read."""

from pymigrate.engine.application.access.authorizer import Authorizer
from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.kinds import ENVIRONMENTS
from pymigrate.engine.application.pages import PAGE_MAX, page_limit
from pymigrate.engine.domain.access import EVERYWHERE, Permission, place_of
from pymigrate.engine.ports.store import Unit
from pymigrate.v1 import environment_pb2

PAGES_MAX = 1_000


def readable_environments(
    unit: Unit, catalog: Catalog, authorizer: Authorizer, request: environment_pb2.ListEnvironmentsRequest
) -> tuple[list[environment_pb2.Environment], str]:
    """A page of the environments that the caller may read, ordered by name, and the token of the next one."""
    if authorizer.may(Permission.READ, EVERYWHERE):
        return catalog.list(unit, ENVIRONMENTS, "", request.page_size, request.page_token)
    size, after = page_limit(request.page_size), request.page_token
    found: list[environment_pb2.Environment] = []
    for _ in range(PAGES_MAX):
        page, after = catalog.list(unit, ENVIRONMENTS, "", PAGE_MAX, after)
        for each in page:
            if not authorizer.may(Permission.READ, place_of(each.name)):
                continue
            if len(found) == size:
                return found, found[-1].name
            found.append(each)
        if not after:
            return found, ""
    return found, after

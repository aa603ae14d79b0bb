"""What a template would read like, before it is stored or after: its texts rendered for a made-up event."""

from pymigrate.engine.application.catalog import Catalog
from pymigrate.engine.application.event_types import EVENT_TYPES
from pymigrate.engine.application.notification_kinds import NOTIFICATION_TEMPLATES
from pymigrate.engine.application.required_objects import require_parent
from pymigrate.engine.application.template_checks import packaged_template, rendered_samples
from pymigrate.engine.application.template_definitions import template_own_problems
from pymigrate.engine.domain.errors import InvalidDefinition, Problem
from pymigrate.engine.domain.names import environment_of, nearest
from pymigrate.engine.ports.rendering import Renderer
from pymigrate.engine.ports.store import Store
from pymigrate.v1 import notification_pb2


class TryingTemplates:
    """The use case behind RenderNotificationTemplate."""

    def __init__(self, store: Store, catalog: Catalog, renderer: Renderer) -> None:
        self._store = store
        self._catalog = catalog
        self._renderer = renderer

    async def render(
        self, request: notification_pb2.RenderNotificationTemplateRequest
    ) -> notification_pb2.RenderNotificationTemplateResponse:
        """Every text of a template that is given, stored or the package's own. Raises InvalidDefinition and NotFound."""
        if request.type not in EVENT_TYPES:
            raise InvalidDefinition(
                (Problem("type", f"`{request.type}` is no type{nearest(request.type, EVENT_TYPES)}"),)
            )
        await self._store.read(lambda unit: require_parent(unit, request.parent))
        template = await self._template(request)
        return await rendered_samples(template, request.type, self._renderer)

    async def _template(
        self, request: notification_pb2.RenderNotificationTemplateRequest
    ) -> notification_pb2.NotificationTemplate:
        given = request.template
        if given.texts:
            problems = [Problem(f"template.{p.field}", p.description) for p in template_own_problems(given)]
            if problems:
                raise InvalidDefinition(tuple(problems))
            return await self._store.read(
                lambda unit: self._catalog.held(unit, NOTIFICATION_TEMPLATES, request.parent, given)
            )
        if not given.name:
            raise InvalidDefinition((Problem("template", "is required: give its texts, or the name of a stored one"),))
        packaged = packaged_template(given.name)
        if packaged is not None:
            return packaged
        if environment_of(given.name) != request.parent:
            raise InvalidDefinition(
                (Problem("template.name", f"is no template of {request.parent}: name one of its own"),)
            )
        return await self._store.read(lambda unit: self._catalog.as_used(unit, NOTIFICATION_TEMPLATES, given.name))

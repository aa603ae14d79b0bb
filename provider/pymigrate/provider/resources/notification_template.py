"""pymigrate_notification_template."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.provider.formats import LINE
from pymigrate.provider.sdk.resource import Context, State
from pymigrate.provider.sdk.schema import are_equal
from pymigrate.v1 import notification_pb2


class NotificationTemplateResource(DeclaredResource):
    """How messages of some kinds of events read. The engine refuses one that does not render, at the text that does not."""

    declaration = Declaration(
        "notification_template",
        "NotificationService",
        notification_pb2,
        parent="environment",
        required=("texts", "texts.subject", "texts.body"),
        checks={"texts.subject": LINE},
        outputs=("version",),
    )

    def modify_plan(self, context: Context, prior: State | None, planned: State) -> State:
        """The version is unknown only when a text changes."""
        if prior is None or not are_equal(self.attributes()["texts"], prior.get("texts"), planned.get("texts")):
            return planned
        return {**planned, "version": prior.get("version")}

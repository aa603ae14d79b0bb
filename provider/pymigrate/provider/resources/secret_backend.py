"""pymigrate_secret_backend."""

from pymigrate.provider.declared import Declaration, DeclaredResource
from pymigrate.provider.formats import OWN_REFERENCE
from pymigrate.v1 import secret_backend_pb2


class SecretBackendResource(DeclaredResource):
    """A place that secrets are kept in. Another kind of place is another object; what one logs in with is a reference."""

    declaration = Declaration(
        "secret_backend",
        "SecretBackendService",
        secret_backend_pb2,
        parent="environment",
        kinds=tuple(
            field.name for field in secret_backend_pb2.SecretBackend.DESCRIPTOR.oneofs_by_name["backend"].fields
        ),
        required=("vault.address", "aws.region", "plugin.kind"),
        checks={
            "vault.token": OWN_REFERENCE,
            "vault.app_role.secret_id": OWN_REFERENCE,
            "vault.jwt.jwt": OWN_REFERENCE,
            "aws.access_key_id": OWN_REFERENCE,
            "aws.secret_access_key": OWN_REFERENCE,
            "aws.session_token": OWN_REFERENCE,
        },
    )

"""What staging must hold of its own before it is published: a key that is one, and references that find something."""

from collections.abc import Mapping

from pymigrate.engine.domain.errors import (
    InvalidDefinition,
    Problem,
    VerificationFailed,
)
from pymigrate.engine.ports.staging import Dangling
from pymigrate.engine.ports.target import Target
from pymigrate.engine.transfer.verification_job import VerifyJob


def check_key(job: VerifyJob, target: Target) -> None:
    """Raises VerificationFailed where the key does not hold in staging."""
    if not job.staging.key:
        return
    duplicates, examples = target.duplicate_keys(job.staging)
    if duplicates:
        again, advice = ("more than once", "declare columns that are unique")
        if job.staging.merge is not None:
            again, advice = ("with other content", "let conflict policy `latest` or `quarantine` settle it")
        raise VerificationFailed(
            f"dataset {job.dataset}: {duplicates:,} values of the key ({', '.join(job.staging.key)}) occur {again} or hold a "
            f"NULL, such as {', '.join(examples)}: mend the source, or {advice}; nothing is published",
            field="key",
        )


def check_references(job: VerifyJob, target: Target) -> Mapping[str, Dangling]:
    """What dangles, by reference. Raises VerificationFailed where that is fatal."""
    found: dict[str, Dangling] = {}
    for name, reference in sorted(job.references.items()):
        try:
            dangling = target.dangling(job.staging, reference.check)
        except InvalidDefinition as error:
            problems = tuple(Problem(f"references.{name}", problem.description) for problem in error.problems)
            raise InvalidDefinition(problems) from error
        found[name] = dangling
        if dangling.rows and reference.is_fatal:
            raise VerificationFailed(
                f"dataset {job.dataset}: {dangling.rows:,} rows refer by ({', '.join(reference.check.columns)}) to {dangling.values:,} "
                f"values that {reference.check.relation} does not have, such as {', '.join(dangling.examples)}: mend the source, or let "
                "the reference's policy be `report`; nothing is published",
                field=f"references.{name}",
            )
    return found

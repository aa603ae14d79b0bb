"""Rows that pass from server to server undecoded: both servers hash their own, all at `full`, and at `sampled` those with one of
seven values of the key (all without a key)."""

from collections.abc import Callable
from dataclasses import replace

from pymigrate.engine.domain.errors import FailedPrecondition, SourceChanged
from pymigrate.engine.ports.relations import RowsDigest, SourceRelation
from pymigrate.engine.ports.source import Digesting, Source
from pymigrate.engine.ports.staging import Checkpoint
from pymigrate.engine.ports.target import DigestingTarget, Target
from pymigrate.engine.transfer.means import Means
from pymigrate.engine.transfer.repair import RowsDiffer, digest_of_stream
from pymigrate.engine.transfer.signals import Signals
from pymigrate.engine.transfer.verification_job import Digests, Level, VerifyJob

KEYS_SHARE = 7


def compare_servers(
    job: VerifyJob,
    lanes: list[Checkpoint],
    transferred: str,
    target: Target,
    open_source: Callable[[], Source],
    signals: Signals,
    means: Means,
) -> Digests:
    """Both servers hash their own rows at once: all of them, or those of a share of the key's values."""
    if job.level is Level.COUNT and len(lanes) == 1:
        return Digests()
    share = 1 if job.level is Level.FULL or not job.staging.key else KEYS_SHARE
    relation = replace(job.relation, key=job.staging.key)
    with means.read(open_source, signals) as reader:
        reading = reader.start(lambda source: _own_digest(source, relation, job, share))
        if not isinstance(target, DigestingTarget):
            raise FailedPrecondition(f"{target.version()} can't hash its rows: start another run")
        found = target.digest(job.staging, share)
        expected = reader.wait(reading)
        if found == expected:
            return Digests(_text(expected), _text(found), found.rows)
        is_same = digest_of_stream(job, reader, means) == transferred
    said = (
        f"dataset {job.dataset}: of the rows compared, {job.relation.relation} has {expected.rows:,} with digest {_text(expected)}, and "
        f"the staging of {job.staging.relation} {found.rows:,} with digest {_text(found)}"
    )
    if is_same:
        raise RowsDiffer(f"{said}, while the source is as it was: the target stores something other than it was given")
    raise SourceChanged(
        f"{said}: it changed since it was copied, and nothing is published; stop what writes to it, then retry the run",
        field="source.relation",
    )


def _text(digest: RowsDigest) -> str:
    return f"record-send:{digest.total:016x}"


def _own_digest(source: Source, relation: SourceRelation, job: VerifyJob, share: int) -> RowsDigest:
    if not isinstance(source, Digesting):
        raise FailedPrecondition(f"{source.version()} can't hash its rows: start another run")
    return source.digest(relation, job.staging.columns, share)

"""Tables of what is kept of estimates. What an estimate says is opaque here."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Double, Index, LargeBinary
from sqlmodel import Field

from pymigrate.engine.adapters.store.columns import NAME, Instant
from pymigrate.engine.adapters.store.tables import Table
from pymigrate.engine.domain.calibration import Sample
from pymigrate.engine.ports.estimates import KeptEstimate


class MeasureRow(Table, table=True):
    """What was measured of a dataset."""

    __tablename__ = "measure"

    plan: str = Field(primary_key=True, sa_type=NAME)
    place: str = Field(primary_key=True, sa_type=NAME)
    body: bytes = Field(sa_type=LargeBinary)


class RunEstimateRow(Table, table=True):
    """What was estimated for a run."""

    __tablename__ = "run_estimate"
    __table_args__ = (Index(None, "plan", "create_time", "run"),)

    run: str = Field(primary_key=True, sa_type=NAME)
    plan: str = Field(sa_type=NAME)
    create_time: datetime = Field(sa_type=Instant)
    body: bytes = Field(sa_type=LargeBinary)
    attempt: int = Field(sa_type=BigInteger)

    def to_domain(self) -> KeptEstimate:
        """The estimate as the port knows it."""
        return KeptEstimate(self.run, self.plan, self.create_time, self.body, self.attempt)

    @staticmethod
    def from_domain(estimate: KeptEstimate) -> dict[str, Any]:
        """The row's values."""
        return {
            "run": estimate.run,
            "plan": estimate.plan,
            "create_time": estimate.create_time,
            "body": estimate.body,
            "attempt": estimate.attempt,
        }


class SampleRow(Table, table=True):
    """How far one estimate lay off."""

    __tablename__ = "sample"
    __table_args__ = (Index(None, "environment", "key", "time"),)

    environment: str = Field(primary_key=True, sa_type=NAME)
    run: str = Field(primary_key=True, sa_type=NAME)
    key: str = Field(primary_key=True, sa_type=NAME)
    place: str = Field(primary_key=True, sa_type=NAME)
    time: datetime = Field(sa_type=Instant)
    estimated_p50_seconds: float = Field(sa_type=Double)
    estimated_p90_seconds: float = Field(sa_type=Double)
    uncalibrated_seconds: float = Field(sa_type=Double)
    actual_seconds: float = Field(sa_type=Double)

    def to_domain(self) -> Sample:
        """The sample as the core knows it."""
        return Sample(
            run=self.run,
            place=self.place,
            time=self.time,
            estimated_p50_seconds=self.estimated_p50_seconds,
            estimated_p90_seconds=self.estimated_p90_seconds,
            uncalibrated_seconds=self.uncalibrated_seconds,
            actual_seconds=self.actual_seconds,
        )

    @staticmethod
    def from_domain(environment: str, key: str, sample: Sample) -> dict[str, Any]:
        """The row's values."""
        return {
            "environment": environment,
            "key": key,
            "run": sample.run,
            "place": sample.place,
            "time": sample.time,
            "estimated_p50_seconds": sample.estimated_p50_seconds,
            "estimated_p90_seconds": sample.estimated_p90_seconds,
            "uncalibrated_seconds": sample.uncalibrated_seconds,
            "actual_seconds": sample.actual_seconds,
        }

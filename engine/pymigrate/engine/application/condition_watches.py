"""What a rule watches of a run: which subjects, which value of each, the terms that it is held to, and the words for what is found."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pymigrate.engine.application.figure_values import Copying, value_of
from pymigrate.engine.application.findings import (
    DRIFT_CROSSED,
    DRIFT_RECOVERED,
    KPI_CROSSED,
    KPI_RECOVERED,
    WINDOW_CLOSING,
)
from pymigrate.engine.application.kpi_telling import KpiTelling
from pymigrate.engine.domain.calendar import Calendar, are_open, open_spans
from pymigrate.engine.domain.crossing import Terms, Unknown, Value
from pymigrate.engine.domain.kpi import RunKpis
from pymigrate.engine.domain.matching import Matcher
from pymigrate.engine.domain.names import environment_of, last_segment
from pymigrate.engine.domain.notices import EventMatch, Occurrence, Rule, Severity
from pymigrate.engine.domain.run_states import PHASE_IN_HAND
from pymigrate.engine.domain.spelling import spell_seconds
from pymigrate.engine.domain.watched_figures import DRIFT, Figure, figure_of
from pymigrate.v1 import kpi_pb2

# A drift lies off to either side: what is held to the bound is how far.
DRIFT_HYSTERESIS = 0.05
WHOLE = ""
MOMENT = timedelta(microseconds=1)


class Looked:
    """A run as it is at a moment. `calendars` are those of plans and their phases, by (plan, phase) and (plan, ""). A phase of WHOLE means
    the run itself; everything is found once, however many rules ask."""

    def __init__(
        self,
        run: RunKpis,
        told: KpiTelling,
        copying: Copying,
        calendars: Mapping[tuple[str, str], Calendar],
    ) -> None:
        self.run = run
        self.now = told.now
        self._told = told
        self._copying = copying
        self._calendars = calendars
        self._kpis: dict[str, kpi_pb2.Kpis] = {}
        self._values: dict[tuple[str, str], Value] = {}
        self._closes: dict[str, datetime | None] = {}
        self.phases = {WHOLE: self._subject(WHOLE, "")} | {
            name: self._subject(name, phase.record.department)
            for name, phase in sorted(run.phases.items())
            if phase.record is not None
        }

    def _subject(self, phase: str, department: str) -> Occurrence:
        """A subject as rules match what happens to it."""
        return Occurrence(
            id="",
            entry=0,
            type="",
            subject=self.name(phase),
            time=self.now,
            severity=Severity.CRITICAL,
            environment=environment_of(self.run.name),
            plan=last_segment(self.run.plan),
            run=self.run.name,
            phase=phase,
            department=department,
        )

    def name(self, phase: str) -> str:
        """The resource name of the run or of a phase of it."""
        return f"{self.run.name}/phases/{phase}" if phase else self.run.name

    def kpis(self, phase: str) -> kpi_pb2.Kpis:
        """The KPIs of the run or of a phase of it."""
        found = self._kpis.get(phase)
        if found is None:
            name, run = self.name(phase), self.run
            found = self._told.phase(name, run, run.phases[phase]) if phase else self._told.run(name, run)
            self._kpis[phase] = found
            self._copying.observe(found, self.now)
        return found

    def value(self, phase: str, path: str) -> Value:
        """The value of a figure."""
        key = (phase, path)
        if key not in self._values:
            self._values[key] = value_of(self.kpis(phase), path, self._copying, self.now)
        return self._values[key]

    def close_time(self, phase: str) -> datetime | None:
        """When the open window closes that work in hand needs, of the run the earliest; None where there is none."""
        if phase not in self._closes:
            phases = [phase] if phase else [name for name in self.phases if name]
            closes = [close for name in phases if (close := self._close_of(name)) is not None]
            self._closes[phase] = min(closes, default=None)
        return self._closes[phase]

    def _close_of(self, phase: str) -> datetime | None:
        record = self.run.phases[phase].record
        if record is None or record.state not in PHASE_IN_HAND or not self.run.is_active:
            return None
        places = ((self.run.plan, ""), (self.run.plan, phase))
        calendars = [self._calendars[place] for place in places if place in self._calendars]
        if not calendars or not are_open(calendars, self.now):
            return None
        return next((close for _, close in open_spans(calendars, self.now, self.now + MOMENT)), None)


@dataclass(frozen=True, slots=True)
class Watch:
    """What one rule watches. `crossed` and `recovered` are the types of its entries, the latter empty where nobody is told of the end."""

    rule: Rule
    terms: Terms
    figure: str
    crossed: str
    recovered: str
    matcher: Matcher

    def subjects(self, looked: Looked) -> Iterator[str]:
        """The phases that it watches each on its own where it names phases or departments, else the run: WHOLE."""
        match = self.rule.match
        if not match.phases and not match.departments:
            if self.matcher.matches(looked.phases[WHOLE]):
                yield WHOLE
            return
        for name, subject in looked.phases.items():
            if name and self.matcher.matches(subject):
                yield name

    def value(self, looked: Looked, phase: str) -> Value:
        """What is held to the terms."""
        if self.crossed == WINDOW_CLOSING:
            close = looked.close_time(phase)
            return Unknown.MOOT if close is None else (close - looked.now).total_seconds()
        value = looked.value(phase, self.figure)
        return abs(value) if self.crossed == DRIFT_CROSSED and not isinstance(value, Unknown) else value

    def tell_crossed(self, looked: Looked, phase: str, value: float) -> str:
        """That it is beyond, as a sentence."""
        name = looked.name(phase)
        if self.crossed == WINDOW_CLOSING:
            return f"The window of {name} closes in {spell_seconds(value)}, and work that needs it goes on{_left(looked, phase)}."
        if self.crossed == DRIFT_CROSSED:
            drift = looked.kpis(phase).drift
            takes, estimated = spell_seconds(drift.expected_seconds), spell_seconds(drift.estimated_seconds.p50)
            return f"{name} takes {takes}, where {estimated} were estimated ({drift.drift:+.0%})."
        figure, side = self._figure, "above" if self.terms.is_above else "below"
        held = f", and has been for {spell_seconds(self.terms.hold_seconds)}" if self.terms.hold_seconds > 0 else ""
        return f"`{self.figure}` of {name} is {figure.spell(value)}, {side} {figure.spell(self.terms.bound)}{held}."

    def tell_recovered(self, name: str, value: Value) -> str:
        """That it is over, as a sentence."""
        side = "above" if self.terms.is_above else "below"
        if isinstance(value, Unknown):
            return f"`{self.figure}` of {name} has no value any more; it was {side} {self._figure.spell(self.terms.bound)}."
        told = self._figure.spell(value)
        return f"`{self.figure}` of {name} is {told} again; it was {side} {self._figure.spell(self.terms.bound)}."

    @property
    def _figure(self) -> Figure:
        found = figure_of(self.figure)
        if found is None:
            raise ValueError(f"the rule {self.rule.id} watches `{self.figure}`, which is no figure")
        return found


def watches_of(rules: Iterable[Rule]) -> Sequence[Watch]:
    """What rules watch that are not left out for now."""
    return [watch for rule in rules if not rule.is_paused and (watch := _watch(rule)) is not None]


def _watch(rule: Rule) -> Watch | None:
    """A rule names one of a figure, a drift and a window; that of a figure that is not known here watches nothing."""
    match = rule.match
    matcher = Matcher(EventMatch(plans=match.plans, phases=match.phases, departments=match.departments))
    if match.kpi is not None:
        figure = figure_of(match.kpi.figure)
        if figure is None:
            return None
        terms = Terms(
            is_above=match.kpi.is_above,
            bound=match.kpi.bound,
            hold_seconds=match.kpi.hold_seconds,
            hysteresis=match.kpi.hysteresis,
            repeat_seconds=rule.repeat_interval_seconds,
            least=figure.least,
            most=figure.most,
        )
        return Watch(rule, terms, match.kpi.figure, KPI_CROSSED, KPI_RECOVERED, matcher)
    repeated = Terms(is_above=True, bound=0.0, repeat_seconds=rule.repeat_interval_seconds)
    if match.drift_min > 0:
        terms = replace(repeated, bound=match.drift_min, hysteresis=DRIFT_HYSTERESIS, least=0.0)
        return Watch(rule, terms, DRIFT, DRIFT_CROSSED, DRIFT_RECOVERED, matcher)
    if match.window_closes_seconds > 0:
        terms = replace(repeated, is_above=False, bound=match.window_closes_seconds)
        return Watch(rule, terms, "", WINDOW_CLOSING, "", matcher)
    return None


def _left(looked: Looked, phase: str) -> str:
    kpis = looked.kpis(phase)
    if not kpis.HasField("remaining_seconds"):
        return ""
    return f"; {spell_seconds(kpis.remaining_seconds.p50)} of it are expected to be left"

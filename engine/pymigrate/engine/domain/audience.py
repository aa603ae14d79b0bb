"""Who a rule's recipients are, and how each is reached: by an address, or why not. The same for every occurrence of one department and
severity, so that many occurrences share it.

Somebody whom a role names is told where the occurrence's department concerns them; one of no department concerns everybody. Who is named,
or on duty, is told whatever the department is. Owners are those with the role `owner` who name the department.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pymigrate.engine.domain.delivery import DeliveryState
from pymigrate.engine.domain.duty import OnDuty
from pymigrate.engine.domain.notices import Address, Directory, Recipients, Severity, Stakeholder
from pymigrate.engine.domain.run import Failure

OWNER = "owner"
NO_ADDRESS = "NO_ADDRESS"
NO_RECIPIENT = "NO_RECIPIENT"
UNKNOWN_STAKEHOLDER = "UNKNOWN_STAKEHOLDER"
UNKNOWN_CHANNEL = "UNKNOWN_CHANNEL"
PAUSED = "STAKEHOLDER_PAUSED"
ALWAYS_QUIET = "ALWAYS_QUIET"
SAME_ADDRESS = "TOLD_AT_THE_SAME_ADDRESS"


@dataclass(frozen=True, slots=True)
class Reached:
    """What becomes of one address of one recipient: WAITING where they are told, else SUPPRESSED or UNDELIVERABLE with the reason. One
    without any address that fits has an empty `address`; a rule that nobody follows has one with an empty `stakeholder`. `role` is the
    one that they are told in, `because` says why, each as a sentence."""

    stakeholder: str
    state: DeliveryState
    because: tuple[str, ...]
    uid: str = ""
    address: str = ""
    channel: str = ""
    to: str = ""
    role: str = ""
    failure: Failure | None = None

    @property
    def is_told(self) -> bool:
        """Whether a message goes out."""
        return self.state is DeliveryState.WAITING


@dataclass(frozen=True, slots=True)
class _Chosen:
    stakeholder: Stakeholder | None
    id: str
    role: str
    because: str


class Audiences:
    """Finds audiences by an environment's directory; what its stakeholders are is sorted once. `always_quiet` are those whom quiet hours
    leave no time of the week."""

    def __init__(self, directory: Directory, always_quiet: Iterable[str] = ()) -> None:
        self._directory = directory
        self._always_quiet = frozenset(always_quiet)
        self._by_role: dict[str, list[Stakeholder]] = {}
        for _, stakeholder in sorted(directory.stakeholders.items()):
            for role in dict.fromkeys(stakeholder.roles):
                self._by_role.setdefault(role, []).append(stakeholder)

    def find(
        self,
        who: str,
        recipients: Recipients,
        department: str,
        severity: Severity,
        duty: Mapping[str, tuple[OnDuty, ...]],
    ) -> tuple[Reached, ...]:
        """What becomes of every address of every recipient, ordered by stakeholder and address; never empty. `who` names the rule in
        sentences, `duty` is who is on duty now, by schedule."""
        chosen = dict[str, _Chosen]()
        for each in self._choose(recipients, department, duty):
            chosen.setdefault(each.id, each)
        if not chosen:
            told = _nobody(who, recipients, department)
            failure = Failure(NO_RECIPIENT, f"{told}: give somebody the role, or name another recipient in the rule")
            return (Reached("", DeliveryState.UNDELIVERABLE, (f"{told}.",), failure=failure),)
        reached = [each for name in sorted(chosen) for each in self._reach(chosen[name], severity)]
        return tuple(_once_by_address(reached))

    def _choose(
        self, recipients: Recipients, department: str, duty: Mapping[str, tuple[OnDuty, ...]]
    ) -> Iterator[_Chosen]:
        """Everybody, some of them more than once; the first reason is the one that is told."""
        for role in recipients.roles:
            for each in self._by_role.get(role, ()):
                if not department or not each.departments or department in each.departments:
                    concern = f", whom {department} concerns" if department else ""
                    yield _Chosen(each, each.id, role, f"{each.id} has the role {role}{concern}.")
        if recipients.includes_owners and department:
            for each in self._by_role.get(OWNER, ()):
                if department in each.departments:
                    yield _Chosen(each, each.id, OWNER, f"{each.id} is an owner of {department}.")
        for name in recipients.stakeholders:
            yield self._named(name, f"{name} is named.")
        for schedule in recipients.on_call_schedules:
            for turn in duty.get(schedule, ()):
                yield self._named(turn.stakeholder, f"{turn.stakeholder} is on duty: {turn.because}.")

    def _named(self, name: str, because: str) -> _Chosen:
        stakeholder = self._directory.stakeholders.get(name)
        return _Chosen(stakeholder, name, stakeholder.roles[0] if stakeholder and stakeholder.roles else "", because)

    def _reach(self, chosen: _Chosen, severity: Severity) -> Iterator[Reached]:
        someone, because = chosen.stakeholder, chosen.because
        if someone is None:
            failure = Failure(
                UNKNOWN_STAKEHOLDER, f"there is no stakeholder {chosen.id}: declare them, or name another"
            )
            yield Reached(
                chosen.id, DeliveryState.UNDELIVERABLE, (because, "No such stakeholder is declared."), failure=failure
            )
            return
        fitting = {name: each for name, each in sorted(someone.addresses.items()) if each.severity_min <= severity}
        if not fitting:
            failure = _no_address(someone, severity)
            told = (because, f"None of their addresses takes what is {severity.name.lower()}.")
            yield Reached(someone.id, DeliveryState.UNDELIVERABLE, told, someone.uid, role=chosen.role, failure=failure)
        for name, address in fitting.items():
            yield self._at(chosen, someone, name, address, severity)

    def _at(self, chosen: _Chosen, someone: Stakeholder, name: str, address: Address, severity: Severity) -> Reached:
        state, failure = DeliveryState.WAITING, None
        least = address.severity_min.name.lower()
        because: tuple[str, ...] = (chosen.because, f"Their address {name} takes what is {least} or graver.")
        if address.channel not in self._directory.channels:
            state = DeliveryState.UNDELIVERABLE
            failure = Failure(
                UNKNOWN_CHANNEL,
                f"address {name} of {someone.id} is by channel {address.channel}, which is not declared",
            )
        elif someone.is_paused:
            state = DeliveryState.SUPPRESSED
            failure = Failure(PAUSED, f"{someone.id} is paused: they are told nothing for now")
        elif someone.id in self._always_quiet and severity < Severity.CRITICAL:
            state = DeliveryState.SUPPRESSED
            failure = Failure(
                ALWAYS_QUIET, f"the quiet hours of {someone.id} never end: they are told what is critical only"
            )
        if failure is not None:
            because = (*because, f"{failure.message}.")
        return Reached(someone.id, state, because, someone.uid, name, address.channel, address.to, chosen.role, failure)


def _once_by_address(reached: Iterable[Reached]) -> Iterator[Reached]:
    """Each place that a channel leads to once: who shares it with somebody before them is told within that message, and one's own second
    address to the same place adds nothing."""
    taken: dict[tuple[str, str], Reached] = {}
    for each in reached:
        first = taken.setdefault((each.channel, each.to), each) if each.is_told else each
        if first is each:
            yield each
        elif first.stakeholder != each.stakeholder:
            failure = Failure(
                SAME_ADDRESS, f"{first.stakeholder} is told at the same place, by their address {first.address}"
            )
            yield Reached(
                each.stakeholder,
                DeliveryState.SUPPRESSED,
                (*each.because, f"{failure.message}."),
                each.uid,
                each.address,
                each.channel,
                each.to,
                each.role,
                failure,
            )


def _no_address(someone: Stakeholder, severity: Severity) -> Failure:
    if not someone.addresses:
        return Failure(NO_ADDRESS, f"{someone.id} has no address: declare one")
    least = min(each.severity_min for each in someone.addresses.values())
    return Failure(
        NO_ADDRESS,
        f"{someone.id} has no address for what is {severity.name.lower()}: theirs begin at {least.name.lower()}",
    )


def _nobody(who: str, recipients: Recipients, department: str) -> str:
    named = [f"role {role}" for role in recipients.roles]
    if recipients.includes_owners:
        named.append(f"owners of {department}" if department else "owners, of no department")
    named.extend(f"whoever is on duty by {schedule}" for schedule in recipients.on_call_schedules)
    return f"{who} tells nobody now ({', '.join(named)})"

"""Objects that are replaced although nothing in their configuration asks for it: by `-replace`, or because they are tainted. Terraform asks
about them as about creations; that an object of the same name was read or planned before is what tells them apart.

Of the second answer about an object, which `-replace` brings, Terraform shows errors only. What that is warned of is told with the answer
about the next object, which as a rule is one that depends on it.
"""

import json
import threading
from typing import Any

from tf.utils import Diagnostics

from pymigrate.provider.sdk.resource import Context, Resource, State
from pymigrate.provider.sdk.values import has_unknown


class Known:
    """What one command of Terraform has read or planned, and has not yet heard of as destroyed, by identity."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: dict[str, State] = {}
        self._planned: dict[str, State] = {}
        self._untold: list[Any] = []

    def forget(self) -> None:
        """Another command begins."""
        with self._lock:
            self._read.clear()
            self._planned.clear()
            self._untold.clear()

    def read(self, identity: str, state: State) -> None:
        """An object that is there."""
        self._read[identity] = state

    def planned(self, identity: str, state: State) -> None:
        """An object that is there, of which a change or none was planned."""
        self._planned[identity] = state

    def take(self, identity: str) -> tuple[State | None, bool]:
        """The object, which is told once, and whether something was planned of it already."""
        with self._lock:
            read, planned = self._read.pop(identity, None), self._planned.pop(identity, None)
        return (read or planned, planned is not None)

    def put_off(self, diagnostics: Diagnostics) -> None:
        """Warnings that Terraform would not show now."""
        with self._lock:
            self._untold += diagnostics.diagnostics

    def tell(self, context: Context) -> None:
        """Tells what was put off. The answer must be the first one about its object."""
        with self._lock:
            context.diagnostics.diagnostics += self._untold
            self._untold.clear()


class Replaceable(Resource):
    """A resource of whose destruction there is something to say when planning. `identifying` are the attributes that make it the same
    object."""

    identifying: tuple[str, ...] = ()

    def plan_change(self, context: Context, prior: State, planned: State) -> None:
        """Says what a change in place does."""

    def modify_plan(self, context: Context, prior: State | None, planned: State) -> State:
        """Nothing is other. What a change does is said, and what a creation does that takes another object's place."""
        if prior is None:
            self.plan_creation(context, planned)
        else:
            self.note_planned(context, prior)
            self.plan_change(context, prior, planned)
        return planned

    def note_read(self, state: State) -> None:
        """The object is there, as far as Terraform knows."""
        if identity := self._identity(state):
            self._known.read(identity, state)

    def note_planned(self, context: Context, prior: State) -> None:
        """Something is planned of an object that is there."""
        self._known.tell(context)
        if identity := self._identity(prior):
            self._known.planned(identity, prior)

    def hear_of_destruction(self, state: State) -> None:
        """Terraform asks about it: what is created in its place is no other destruction."""
        if identity := self._identity(state):
            self._known.take(identity)

    def plan_creation(self, context: Context, planned: State) -> None:
        """Says what a destruction would do where this creation takes the place of an object that is there. Raises what it raises."""
        identity = self._identity(planned)
        there, is_second_answer = self._known.take(identity) if identity else (None, False)
        if there is None:
            return
        if not is_second_answer:
            self.plan_destroy(context, there)
            return
        apart = Context(Diagnostics(), context.type_name, context.stopping)
        self.plan_destroy(apart, there)
        self._known.put_off(apart.diagnostics)

    @property
    def _known(self) -> Known:
        known: Known = self.provider.known
        return known

    def _identity(self, state: State) -> str:
        parts: list[Any] = [state.get(name) for name in self.identifying]
        return "" if has_unknown(parts) else json.dumps([self.get_name(), *parts], sort_keys=True, default=str)

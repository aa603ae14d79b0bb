"""The one door: wraps every servicer once, before gRPC or REST has it, so that no call reaches a use case without its permission.

Default-deny: a method that the table of rules does not name, and a rule for a method that there is not, keep the engine from serving.
What else is to hold around a call (what is noted of it, how many there may be at once) is a guard around this check.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.descriptor import ServiceDescriptor

from pymigrate.engine.application.access.authorizer import DISPATCHER, WORKER, Authorizer, GrantsOf
from pymigrate.engine.application.caller import Caller
from pymigrate.engine.domain.access import EVERYWHERE, Permission
from pymigrate.engine.domain.errors import NotFound, NotPermitted, PyMigrateError
from pymigrate.engine.domain.names import without_nearest
from pymigrate.engine.entrypoints.identity import LINK_PRINCIPAL, caller
from pymigrate.engine.entrypoints.method_rules import RULES, Opening, Rule

# What a process of the engine's own may call, besides what anybody may.
_OWN_SERVICES = {WORKER: "WorkerService", DISPATCHER: "DispatchService"}


class NotServed(PyMigrateError):
    """The contract has a method that no rule lets anybody call, or a rule names one that there is not: a mistake in the engine."""

    reason = "INTERNAL"


@dataclass(frozen=True, slots=True)
class Asked:
    """One call at the door: `RunService/StartRun`, what it asks for, and who makes it."""

    method: str
    rule: Rule
    request: Any
    caller: Caller
    is_stream: bool = False

    @property
    def subject(self) -> str:
        """The name that the call is about; empty where there is none."""
        return self.rule.subject_of(self.request)


class Guard(Protocol):
    """What holds around a call. It is entered before the check of permissions, so that it hears of a refusal too."""

    def around(self, asked: Asked) -> AbstractAsyncContextManager[None]:
        """Raises PyMigrateError, on entering, for a call that is not to be made."""
        ...


class Door:
    """Lets calls in by their rules. `grants_of` tells what a caller may do; `guards` are entered in their order."""

    def __init__(self, grants_of: GrantsOf, guards: Sequence[Guard] = ()) -> None:
        self._grants_of = grants_of
        self._guards = tuple(guards)

    def wrapped(self, servicers: Mapping[str, Any], descriptors: Mapping[str, ServiceDescriptor]) -> dict[str, Any]:
        """The servicers by name, behind the door. Raises NotServed for a method without a rule, and for a rule without a method."""
        return {name: _Guarded(self, servicer, descriptors[name]) for name, servicer in servicers.items()}

    async def enter(self, asked: Asked, stack: AsyncExitStack) -> None:
        """Raises NotPermitted for who may not make this call."""
        for guard in self._guards:
            await stack.enter_async_context(guard.around(asked))
        self.check(asked)
        stack.enter_context(self._silent_of_neighbours(asked.caller))

    def check(self, asked: Asked) -> None:
        """As `enter`, without the guards."""
        who, rule = asked.caller, asked.rule
        if rule.opening is Opening.ANYBODY:
            if who.principal == LINK_PRINCIPAL:
                raise NotPermitted("a signed link acknowledges its delivery, and does nothing else")
            return
        if who.principal == LINK_PRINCIPAL:
            # Its use case lets nobody in whose signature is not right, and a signature is right for one delivery alone.
            if rule.opening is not Opening.LINK or not asked.request.signature:
                raise NotPermitted("a signed link acknowledges its delivery, and does nothing else")
            return
        _require_own(asked)
        authorizer = Authorizer(who, self._grants_of(who))
        for demand in rule.demands(asked.request):
            authorizer.require(demand.permissions, demand.place, f"call {asked.method}")

    @contextmanager
    def _silent_of_neighbours(self, who: Caller) -> Iterator[None]:
        """Whoever may not read everywhere is not told what else there is instead of a name: that may be what it may not read."""
        try:
            yield
        except NotFound as error:
            if Authorizer(who, self._grants_of(who)).may(Permission.READ, EVERYWHERE):
                raise
            raise NotFound(without_nearest(error.message), field=error.field) from error


def _require_own(asked: Asked) -> None:
    """A worker host that the engine started, and a dispatcher, call for themselves alone."""
    kind, _, name = asked.caller.principal.partition("/")
    own_service = _OWN_SERVICES.get(kind)
    if own_service is None:
        return
    own_name = f"workerHosts/{name}" if kind == WORKER else name
    if asked.method.partition("/")[0] != own_service or asked.subject != own_name:
        raise NotPermitted(f"{asked.caller.principal} calls {own_service} for itself, and does nothing else")
    host = getattr(asked.request, "host", None)
    affinity = getattr(host, "affinity", asked.caller.affinity)
    if affinity != asked.caller.affinity:
        raise NotPermitted(
            f"{asked.caller.principal} was started for {asked.caller.affinity}, and takes no work of {affinity}"
        )


class _Guarded:
    """A servicer behind the door: each method of its service is one of this object, and nothing else is."""

    def __init__(self, door: Door, servicer: Any, service: ServiceDescriptor) -> None:
        rules = RULES.get(service.name, {})
        methods = {method.name for method in service.methods}
        if wrong := sorted(methods ^ rules.keys()):
            raise NotServed(
                f"{service.name} can't be served: there is a method or a rule too few for {', '.join(wrong)}"
            )
        for method in service.methods:
            serve, rule = getattr(servicer, method.name), rules[method.name]
            wrap = _stream if method.server_streaming else _call
            setattr(self, method.name, wrap(door, serve, rule, f"{service.name}/{method.name}"))


def _call(door: Door, serve: Callable[..., Any], rule: Rule, method: str) -> Callable[..., Any]:
    async def served(request: Any, context: Any) -> Any:
        async with AsyncExitStack() as stack:
            await door.enter(Asked(method, rule, request, caller()), stack)
            return await serve(request, context)

    return served


def _stream(door: Door, serve: Callable[..., Any], rule: Rule, method: str) -> Callable[..., Any]:
    async def served(request: Any, context: Any) -> AsyncIterator[Any]:
        async with AsyncExitStack() as stack:
            await door.enter(Asked(method, rule, request, caller(), is_stream=True), stack)
            answers = await stack.enter_async_context(aclosing(serve(request, context)))
            async for answer in answers:
                yield answer

    return served

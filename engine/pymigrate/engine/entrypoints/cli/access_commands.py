"""The commands of access: who has which role where, giving one, taking it away, and who calls."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.table import Table

from pymigrate.engine.entrypoints.cli.client import Client, connected
from pymigrate.engine.entrypoints.cli.commands import HOME_DEFAULT, AsJson, Home, console, print_json
from pymigrate.v1 import access_pb2
from pymigrate.v1.shape import enum_number, enum_word

BindingName = Annotated[str, typer.Argument(help="The role binding: admins, or roleBindings/admins.")]
PAGE_SIZE = 1_000
COLLECTION = "roleBindings/"
ENVIRONMENTS = "environments/"

access = typer.Typer(help="Give and take roles, and tell who has which.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Adds the commands to the application, below one word."""
    app.add_typer(access, name="access")


@access.command()
def bind(
    name: BindingName,
    role: Annotated[str, typer.Argument(help="viewer, operator, approver, editor, admin or lane_worker.")],
    members: Annotated[list[str], typer.Argument(help="service/ci, oidc/ann@example.com, group/dba ...")],
    environment: Annotated[str, typer.Option(help="The environment that it is for; all without one.")] = "",
    plan: Annotated[list[str] | None, typer.Option(help="A plan of it that it is for; all without one.")] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    home: Home = HOME_DEFAULT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, and store nothing.")] = False,
) -> None:
    """Give members a role; it holds at once."""
    binding = access_pb2.RoleBinding(
        description=description,
        role=_number(role),
        members=members,
        environment=_environment(environment),
        plans=plan or [],
    )
    request = access_pb2.CreateRoleBindingRequest(
        role_binding_id=name.removeprefix(COLLECTION), role_binding=binding, validate_only=dry_run
    )
    with connected(home) as client:
        made = client.access.CreateRoleBinding(request, **client.options)
    console().print(_line(made), highlight=False, soft_wrap=True)


@access.command(name="list")
def list_bindings(home: Home = HOME_DEFAULT, as_json: AsJson = False) -> None:
    """Tell every role binding."""
    with connected(home) as client:
        found = list(_all(client))
    if as_json:
        print_json(access_pb2.ListRoleBindingsResponse(role_bindings=found))
        return
    table = Table("Name", "Role", "Where", "Members", box=None, pad_edge=False)
    for each in found:
        table.add_row(each.name.removeprefix(COLLECTION), _role(each.role), _where(each), ", ".join(each.members))
    console().print(table)


@access.command()
def unbind(
    name: BindingName,
    home: Home = HOME_DEFAULT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, and delete nothing.")] = False,
) -> None:
    """Take a role away; it holds no longer at once."""
    full = name if name.startswith(COLLECTION) else f"{COLLECTION}{name}"
    request = access_pb2.DeleteRoleBindingRequest(name=full, validate_only=dry_run)
    with connected(home) as client:
        client.access.DeleteRoleBinding(request, **client.options)


@access.command()
def whoami(home: Home = HOME_DEFAULT, as_json: AsJson = False) -> None:
    """Tell who calls, and which roles that principal has."""
    with connected(home) as client:
        info = client.access.GetCaller(access_pb2.GetCallerRequest(), **client.options)
    if as_json:
        print_json(info)
        return
    groups = f" in {', '.join(info.groups)}" if info.groups else ""
    console().print(f"{info.principal}{groups}", highlight=False, soft_wrap=True)
    for grant in info.grants:
        by = f" by {grant.role_binding}" if grant.role_binding else ""
        console().print(f"{_role(grant.role)} {_where(grant)}{by}", highlight=False, soft_wrap=True)
    if not info.grants:
        console().print("no role: an admin gives one with `pymigrate access bind`", highlight=False, soft_wrap=True)


def _all(client: Client) -> Iterator[access_pb2.RoleBinding]:
    request = access_pb2.ListRoleBindingsRequest(page_size=PAGE_SIZE)
    while True:
        answer = client.access.ListRoleBindings(request, **client.options)
        yield from answer.role_bindings
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def _environment(given: str) -> str:
    return given if not given or given.startswith(ENVIRONMENTS) else f"{ENVIRONMENTS}{given}"


def _number(role: str) -> "access_pb2.Role.ValueType":
    try:
        number: Any = enum_number(access_pb2.Role.DESCRIPTOR, role.replace("-", "_"))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="ROLE") from error
    return number  # type: ignore[no-any-return]  # a number of that enum, which was looked up by its word


def _role(number: int) -> str:
    return enum_word(access_pb2.Role.DESCRIPTOR, number)


def _where(held: access_pb2.RoleBinding | access_pb2.Grant) -> str:
    if not held.environment:
        return "everywhere"
    return f"{held.environment}: {', '.join(held.plans)}" if held.plans else held.environment


def _line(binding: access_pb2.RoleBinding) -> str:
    return f"{binding.name}: {_role(binding.role)} {_where(binding)} for {', '.join(binding.members)}"

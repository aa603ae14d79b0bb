"""A definition that holds a secret is refused with the path of the field, and without the secret."""

import random
import string

from pymigrate.engine.application.literal_secrets import without_literals
from pymigrate.engine.domain.errors import Problem
from pymigrate.v1 import connection_pb2, environment_pb2, plan_pb2

TOKEN = "gh" + "p_" + "".join(random.Random(3).choices(string.ascii_letters, k=36))


def phase(**fields: object) -> plan_pb2.Phase:
    made = plan_pb2.Phase(department="sales")
    made.datasets["orders"].source.relation = "orders"
    for path, value in fields.items():
        setattr(made, path, value)
    return made


def test_every_text_at_any_depth_is_looked_at() -> None:
    declared = phase(display_name=f"token {TOKEN}")
    declared.labels["ci"] = TOKEN
    declared.dependencies.extend(["before", TOKEN])
    dataset = declared.datasets["orders"]
    dataset.source.relation = TOKEN
    dataset.transforms.add().filter.condition = f"token = '{TOKEN}'"
    found = without_literals(declared, ())
    assert {problem.field for problem in found} == {
        "display_name",
        "labels.ci",
        "dependencies[1]",
        "datasets.orders.source.relation",
        "datasets.orders.transforms[0].filter.condition",
    }
    assert all("looks like a GitHub token" in problem.description for problem in found)
    assert all("env://NAME" in problem.description for problem in found)
    assert TOKEN not in str(found)


def test_a_secret_that_is_a_key_is_in_no_path() -> None:
    declared = environment_pb2.Environment(labels={TOKEN: "x"})
    other = Problem(f"labels.{TOKEN}", f"`{TOKEN}` is no name")
    found = without_literals(declared, [other])
    assert [problem.field for problem in found] == ["labels.***", "labels"]
    assert TOKEN not in str(found)


def test_what_is_refused_already_is_refused_once_and_without_the_value() -> None:
    declared = connection_pb2.Connection(sqlalchemy=connection_pb2.SqlalchemySystem(url="x://u:" + "hunter22@h/d"))
    found = without_literals(declared, [Problem("sqlalchemy.url", "x://u:" + "hunter22@h/d is wrong")])
    assert found == (Problem("sqlalchemy.url", "*** is wrong"),)


def test_an_entry_is_judged_by_its_name_where_names_tell_something() -> None:
    declared = connection_pb2.Connection(labels={"token": "Rotated-2024"})
    declared.http.headers["X-Auth-Token"] = "Rotated-2024"
    assert [problem.field for problem in without_literals(declared, ())] == ["http.headers.X-Auth-Token"]


def test_what_the_engine_sets_is_not_judged() -> None:
    assert without_literals(plan_pb2.Plan(uid=TOKEN, etag=TOKEN), ()) == ()


def test_problems_are_left_as_they_are_where_nothing_is_hidden() -> None:
    told = [Problem("department", "is required")]
    assert without_literals(phase(), iter(told), "phase") == tuple(told)

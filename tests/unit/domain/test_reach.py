"""Who is hit by a phase, directly and downstream, and by which chain."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pymigrate.engine.domain.reach import Effect, Hit, gravest, reach
from pymigrate.engine.domain.systems import Criticality, Department, Landscape, System
from tests.unit.domain.businesses import landscape, sales

CHAIN = landscape(
    sales=sales(),
    finance=Department({"ledger": System(criticality=Criticality.HIGH, dependencies=("sales/crm",))}),
    board=Department({"cockpit": System(dependencies=("finance/ledger",)), "archive": System("tapes")}),
)


def told(hits: tuple[Hit, ...]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Effect and chain of each system."""
    return {hit.label: (str(hit.effect), hit.via) for hit in hits}


def test_the_systems_behind_a_source_are_down_and_everything_that_needs_them_is_downstream() -> None:
    found = reach(CHAIN, "sales", {"crm"}, Effect.DOWN)
    assert told(found.hits) == {
        "board/cockpit": ("downstream", ("sales/crm", "finance/ledger")),
        "finance/ledger": ("downstream", ("sales/crm",)),
        "sales/crm": ("down", ()),
    }
    assert all(hit.is_down for hit in found.hits)
    assert found.direct == {"sales"}
    assert found.downstream == {"finance", "board"}


def test_what_needs_a_system_that_can_still_be_read_is_downstream_and_not_down() -> None:
    for effect in (Effect.READ_ONLY, Effect.LOAD):
        found = reach(CHAIN, "sales", {"crm"}, effect)
        assert told(found.hits)["finance/ledger"] == ("downstream", ("sales/crm",))
        assert not any(hit.is_down for hit in found.hits)


def test_a_target_is_loaded_and_hits_nobody_downstream() -> None:
    found = reach(CHAIN, "board", {"tapes"}, Effect.DOWN, {"crm", "warehouse"})
    assert told(found.hits) == {
        "warehouse": ("load", ()),
        "board/archive": ("down", ()),
        "sales/crm": ("load", ()),
    }
    assert found.departments == {"board"}


def test_a_target_that_needs_a_system_that_is_down_stays_down() -> None:
    known = landscape(sales=sales(), it=Department({"warehouse": System("warehouse", dependencies=("sales/crm",))}))
    warehouse = reach(known, "sales", {"crm"}, Effect.DOWN, {"warehouse"}).hits[0]
    assert (warehouse.label, warehouse.effect, warehouse.is_down) == ("it/warehouse", Effect.DOWNSTREAM, True)
    loaded = reach(known, "sales", {"crm"}, Effect.LOAD, {"warehouse"}).hits[0]
    assert (loaded.effect, loaded.via) == (Effect.LOAD, ())


def test_a_connection_that_is_source_and_target_is_hit_as_a_source() -> None:
    assert told(reach(CHAIN, "sales", {"crm"}, Effect.READ_ONLY, {"crm"}).hits)["sales/crm"] == ("read_only", ())


def test_a_department_that_needs_another_needs_all_its_systems() -> None:
    known = landscape(
        sales=sales(), shop=Department({"web": System(), "till": System()}, dependencies=("sales",)), hr=Department()
    )
    found = reach(known, "sales", {"crm"}, Effect.DOWN)
    assert told(found.hits) == {
        "sales/crm": ("down", ()),
        "shop/till": ("downstream", ("sales/crm",)),
        "shop/web": ("downstream", ("sales/crm",)),
    }


def test_a_department_without_systems_is_hit_too_and_hands_it_on() -> None:
    known = landscape(
        sales=sales(),
        agency=Department(dependencies=("sales",)),
        press=Department({"site": System()}, dependencies=("agency",)),
    )
    found = reach(known, "sales", {"crm"}, Effect.DOWN)
    assert found.downstream == {"agency", "press"}
    assert told(found.hits)["press/site"] == ("downstream", ("sales/crm", "agency"))


def test_a_connection_that_nobody_declares_appears_with_its_own_name_and_whoever_needs_the_department_is_hit() -> None:
    known = landscape(sales=Department(), shop=Department({"web": System()}, dependencies=("sales",)))
    found = reach(known, "sales", {"legacy"}, Effect.DOWN)
    assert told(found.hits) == {"legacy": ("down", ()), "shop/web": ("downstream", ("legacy",))}
    assert found.undeclared == ("legacy",)
    assert found.hits[0].department == ""


def test_a_system_that_two_departments_declare_is_hit_for_both() -> None:
    known = landscape(sales=sales(), finance=Department({"shared": System("crm")}))
    assert reach(known, "sales", {"crm"}, Effect.DOWN).direct == {"sales", "finance"}


def test_of_several_chains_the_shortest_is_told_and_of_equally_long_ones_the_first_by_name() -> None:
    known = landscape(
        a=Department(
            {
                "source": System("crm"),
                "x": System(dependencies=("source",)),
                "y": System(dependencies=("source",)),
                "z": System(dependencies=("x", "y")),
                "end": System(dependencies=("z", "y", "x")),
            }
        )
    )
    hits = told(reach(known, "a", {"crm"}, Effect.DOWN).hits)
    assert hits["a/z"] == ("downstream", ("a/source", "a/x"))
    assert hits["a/end"] == ("downstream", ("a/source", "a/x"))


def test_systems_and_departments_that_need_one_another_in_a_circle_are_each_told_once() -> None:
    known = landscape(
        sales=sales(systems={"crm": System("crm", dependencies=("web",)), "web": System(dependencies=("crm",))}),
        shop=Department({"till": System()}, dependencies=("sales",)),
        depot=Department({"stock": System()}, dependencies=("shop",)),
    )
    known = Landscape(
        {**known.departments, "sales": sales(systems=known.departments["sales"].systems, dependencies=("depot",))}
    )
    found = reach(known, "sales", {"crm"}, Effect.DOWN)
    assert sorted(told(found.hits)) == ["depot/stock", "sales/crm", "sales/web", "shop/till"]
    assert found.direct == {"sales"}
    assert found.downstream == {"shop", "depot"}


def test_what_leads_to_nothing_declared_is_told() -> None:
    known = landscape(sales=sales(systems={"crm": System(dependencies=("it/mail", "disk"))}, dependencies=("it",)))
    assert known.unknowns == (
        "sales needs department it, which is not declared.",
        "sales/crm needs it/mail, which is not declared.",
        "sales/crm needs sales/disk, which is not declared.",
    )


def test_a_system_that_several_phases_hit_is_told_as_it_is_hit_most_gravely() -> None:
    hits = [
        hit
        for effect in (Effect.LOAD, Effect.DOWN, Effect.READ_ONLY)
        for hit in reach(CHAIN, "sales", {"crm"}, effect).hits
    ]
    assert told(gravest(hits))["sales/crm"] == ("down", ())
    assert [hit.label for hit in gravest(hits)] == ["board/cockpit", "finance/ledger", "sales/crm"]
    assert all(hit.is_down for hit in gravest(hits))


GRAPHS = st.dictionaries(st.integers(0, 7), st.lists(st.integers(0, 7), max_size=4), min_size=1, max_size=8)


@given(GRAPHS)
def test_downstream_is_exactly_what_needs_the_source_by_any_number_of_steps(graph: dict[int, list[int]]) -> None:
    systems = {
        f"s{node}": System("crm" if node == min(graph) else "", dependencies=tuple(f"s{need}" for need in needs))
        for node, needs in graph.items()
    }
    hits = reach(landscape(a=Department(systems)), "a", {"crm"}, Effect.DOWN).hits
    wanted = {f"s{min(graph)}"}
    while more := {name for name, system in systems.items() if name not in wanted and wanted & {*system.dependencies}}:
        wanted |= more
    assert {hit.system for hit in hits} == wanted
    for hit in hits:
        chain = [*(label.removeprefix("a/") for label in hit.via), hit.system]
        assert chain[0] == f"s{min(graph)}"
        assert all(before in systems[after].dependencies for before, after in pairwise(chain))

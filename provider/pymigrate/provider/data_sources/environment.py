"""data.pymigrate_environment: what holds in an environment after inheritance, overrides and parameters."""

from functools import cache

from pymigrate.provider import contract
from pymigrate.provider.asking import PAGE_SIZE, PAGES_MAX, ask
from pymigrate.provider.descriptions import description_of
from pymigrate.provider.formats import PARENTS
from pymigrate.provider.sdk.diagnostics import Refused
from pymigrate.provider.sdk.resource import Context, DataSource, State
from pymigrate.provider.sdk.schema import Attribute, Nesting, Schema
from pymigrate.v1 import environment_pb2

CHECK, _ = PARENTS["environment"]
LEAVE_OUT = ("objects", "next_page_token")


class EnvironmentDataSource(DataSource):
    """Every value that holds, with the layer that says so."""

    @classmethod
    def get_name(cls) -> str:
        """`environment`."""
        return "environment"

    @classmethod
    @cache
    def get_schema(cls) -> Schema:
        """The environment, and the answer as its message says; objects by their names within the environment."""
        answer = contract.attributes_of(
            environment_pb2.ResolveEnvironmentResponse.DESCRIPTOR, leave_out=LEAVE_OUT, is_computed=True
        )
        fields = contract.attributes_of(environment_pb2.ResolvedObject.DESCRIPTOR, is_computed=True)
        told = "The objects by their names within the environment, such as `connections/legacy`."
        name = description_of("ResolveEnvironmentRequest.name")
        part = "Only this object and what is below it, such as `connections/legacy`. Default: every object."
        return Schema(
            [
                Attribute("name", required=True, check=CHECK, description=name),
                Attribute("object", optional=True, description=part),
                *answer,
                Attribute("objects", nested=fields, nesting=Nesting.MAP, computed=True, description=told),
            ],
            description="What holds in an environment after inheritance, overrides and parameters, and which layer says so.",
        )

    def read(self, context: Context, config: State) -> State:
        """Asks the engine, page by page."""
        name, summary = config["name"], f"What holds in {config['name']} can't be read"
        attributes = self.get_schema().by_name
        objects: State = {}
        token = ""
        for _ in range(PAGES_MAX):
            request = environment_pb2.ResolveEnvironmentRequest(
                name=name, object=config["object"] or "", page_size=PAGE_SIZE, page_token=token
            )
            page = ask(self, context, ("EnvironmentService", "ResolveEnvironment"), request, summary)
            for found in page.objects:
                objects[found.name.split("/", 2)[2]] = contract.to_figures(found, attributes["objects"].nested)
            token = page.next_page_token
            if not token:
                whole = {each: attributes[each] for each in ("layers", "parameters", "policy")}
                known = {"name": name, "object": config["object"]}
                return known | contract.to_figures(page, whole) | {"objects": objects}
        raise Refused(summary, f"There are more than {PAGES_MAX * PAGE_SIZE:,} objects.", ["name"])

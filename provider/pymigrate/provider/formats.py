"""How the contract writes what several resources hold: names, times of the day, days, references to secrets. Checked when planning."""

from pymigrate.provider.sdk.checks import hidden, matches, one_of

ID = matches(
    r"[a-z]([a-z0-9_-]{0,61}[a-z0-9])?",
    "1 to 63 lower-case letters, digits, `-` or `_`, beginning with a letter and ending with a letter or digit",
)
# What the attribute that names what an object lies under must be, and what is said of it.
PARENTS = {
    "environment": (
        matches(r"environments/[^/]+", "an environment's resource name such as environments/prod: refer to its `name`"),
        "Resource name of its environment, such as `environments/prod`.",
    ),
    "plan": (
        matches(
            r"environments/[^/]+/plans/[^/]+",
            "a plan's resource name such as environments/prod/plans/warehouse: refer to its `name`",
        ),
        "Resource name of its plan, such as `environments/prod/plans/warehouse`.",
    ),
}
CONNECTION = matches(
    r"environments/[^/]+/connections/[^/]+",
    "a connection's resource name such as environments/prod/connections/crm: refer to its `name`",
)
LINE = matches(r"[^\r\n]*", "one line")
TIME_OF_DAY = matches(r"([01]\d|2[0-3]):[0-5]\d", "a time of the day such as 22:00")
DAY = one_of("mon", "tue", "wed", "thu", "fri", "sat", "sun")
REFERENCE = hidden(
    r"(?![^#]*://[^#]*:[^#]*@)(env://[A-Za-z_]\w*(#\S+)?|file:///[^#\s]+(#[^#\s]+)?|(?!(env|file|https?)://)[a-z][a-z0-9-]{0,62}://[^#\s]+(#\S+)?)",
    "a reference such as vault://kv/legacy#password, aws-sm://name#key, k8s://namespace/name#key, env://NAME or file:///path#key: a secret "
    "itself would be in the state",
)
OWN_REFERENCE = hidden(
    r"(env://[A-Za-z_][A-Za-z0-9_]*|file:///[^#\s]+)(#[^#\s]+)?",
    "a reference such as env://NAME or file:///path#key, since a backend is logged in to by nothing that lies in another: a secret itself "
    "would be in the state",
)
WITHOUT_PASSWORD = hidden(
    r"(?![^/?#]*://[^/?#]*:[^/?#]*@).*",
    "without a password: name a reference to it instead, since what is written here is in the state",
)

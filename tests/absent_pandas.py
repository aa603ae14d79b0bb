"""A process that knows at once that there is no pandas. DuckDB looks for it four times at each statement with parameters, through every
finder and folder of modules, and that takes longer than most of the statements do."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

NAME = "pandas"


class AbsentPandas:
    """Asked before every other finder. None in `sys.modules` would do for Python, but not for what is compiled with Cython."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raises for pandas, and leaves every other module to the finders behind."""
        if fullname == NAME:
            raise ModuleNotFoundError(f"No module named {NAME!r}", name=NAME)
        return None


def remember_absence() -> None:
    """From now on, where there is none."""
    if find_spec(NAME) is None:
        sys.meta_path.insert(0, AbsentPandas())

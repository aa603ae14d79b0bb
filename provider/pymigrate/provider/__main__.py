"""`python -I -m pymigrate.provider`: what the installed launcher runs."""

import gc
import os
import sys

GARBAGE_MIN = 50_000  # objects: some megabytes


def run() -> int:
    """Serves Terraform; refuses when the launcher that started it was installed for another version."""
    gc.disable()  # a sixth of the start: what is imported stays, and the collector would look at all of it again and again
    from pymigrate.provider import __version__
    from pymigrate.provider.install import VERSION_VARIABLE

    wanted = os.environ.get(VERSION_VARIABLE, __version__)
    if wanted != __version__:
        sys.stderr.write(
            f"The provider {wanted} was asked for, and the package installed there is {__version__}: "
            "run `pymigrate provider install` with the package that you want to use.\n"
        )
        return 1
    from pymigrate.provider.provider import PymigrateProvider
    from pymigrate.provider.sdk.serving import main

    gc.freeze()
    gc.set_threshold(
        GARBAGE_MIN
    )  # a plan of thousands of resources leaves little, and each look takes as long as many calls
    gc.enable()
    return main(PymigrateProvider(), sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run())

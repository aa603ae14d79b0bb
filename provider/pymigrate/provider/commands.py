"""`pymigrate provider …`."""

import typer

from pymigrate.provider import __version__
from pymigrate.provider.install import install as install_launcher

app = typer.Typer(help="The Terraform provider.", no_args_is_help=True)


@app.command()
def install() -> None:
    """Install the provider for this user, so that `terraform init` finds it with no CLI configuration."""
    launcher = install_launcher(__version__)
    typer.echo(f"Installed {launcher}")
    typer.echo('Use it with: required_providers { pymigrate = { source = "pymigrate/pymigrate" } }')


@app.command()
def version() -> None:
    """Print the provider's version."""
    typer.echo(__version__)

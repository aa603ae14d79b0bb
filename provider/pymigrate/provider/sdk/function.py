"""What the author of a function writes: a signature and a plain method. Functions ask no engine: they run when a configuration is read."""

from typing import Any

from tf.function import FunctionSignature
from tf.types import TfType

from pymigrate.provider.sdk.values import Unknown


class Function:
    """A function. `call` raises ArgumentRefused for what it can't take, and may return Unknown for what is not known yet."""

    def __init__(self, provider: Any) -> None:
        del provider

    @classmethod
    def get_name(cls) -> str:
        """How it is called after `provider::pymigrate::`."""
        raise TypeError(f"{cls.__name__} has no name")

    @classmethod
    def get_signature(cls) -> FunctionSignature:
        """Parameters, what comes back, and what it is for."""
        raise TypeError(f"{cls.__name__} has no signature")

    def call(self, *arguments: Any) -> Any:
        """What comes back."""
        raise TypeError(f"{self.get_name()} can't be called")


class ArgumentRefused(Exception):
    """An argument that a function can't take, by its place from 0 on."""

    def __init__(self, argument: int, text: str) -> None:
        super().__init__(text)
        self.argument = argument


class Dynamic(TfType):
    """A value of any type. On the wire its type stands before it."""

    def encode(self, value: Any) -> Any:
        """Only parameters are of it."""
        raise TypeError("a function returns a value of a type")

    def decode(self, value: Any) -> Any:
        """The value without its type."""
        return value[1] if isinstance(value, list) else value if value is Unknown else None

    def tf_type(self) -> bytes:
        """Terraform's word."""
        return b'"dynamic"'

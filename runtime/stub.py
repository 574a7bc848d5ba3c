"""What `import poolform` finds in an image without Poolform: `flow`, without its checks; they were made at deployment.

Only the bootstrap uses this, under the name `poolform`.
"""

from __future__ import annotations

from types import MethodType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Flow:
    """A function and the options of its flow."""

    def __init__(self, function: Any, **options: Any) -> None:
        self.__wrapped__ = function
        self.__name__ = getattr(function, "__name__", "flow")
        self.__doc__ = function.__doc__
        self.name = self.__name__.replace("_", "-")
        self.__dict__.update(options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.__wrapped__(*args, **kwargs)

    def __get__(self, instance: Any, owner: type) -> Any:
        """Bind like a function."""
        return self if instance is None else MethodType(self, instance)


def flow(function: Any = None, **options: Any) -> Any:
    """Make a function a flow, with or without options."""
    return Flow(function, **options) if function else lambda function: Flow(function, **options)


def __getattr__(name: str) -> Any:
    raise ImportError("this image has no Poolform, only poolform.flow: install poolform in it to use poolform." + name)

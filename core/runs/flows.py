"""Flows: Python functions with a name and with wishes for how their runs are treated.

Flow files import this inside every job, and the bootstrap carries it into images without Poolform: standard library
only, imports nothing that costs time.
"""

from __future__ import annotations

from types import MethodType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any, Generic, ParamSpec, Self, TypeVar, Unpack, overload

    from poolform.core.runs.authoring import DeploymentOptions, FlowDeployment
    from poolform.core.runs.remote import RemoteFlow
    from poolform.core.runs.sources import Source

    P = ParamSpec("P")
    R = TypeVar("R")
    R_co = TypeVar("R_co", covariant=True)
else:  # importing typing would cost more than everything else here
    P = R_co = None

    class Generic:
        """Takes type arguments, and forgets them."""

        def __class_getitem__(cls, arguments: object) -> type:
            return cls


class Flow(Generic[P, R_co]):
    """A function that can be deployed. Calling it calls the function, here and now, as if it were not decorated.

    Everything else is for its runs: `retries` after a failure, each `retry_delay_seconds` later, in a job of their own;
    `timeout_seconds` for one attempt; `validate_parameters`, to check parameters at submission and turn them into the
    annotated types. What a flow prints is always in its log; `log_prints` is for flows that were written for Prefect.
    """

    def __init__(
        self,
        function: Callable[P, R_co],
        *,
        name: str | None = None,
        description: str | None = None,
        retries: int = 0,
        retry_delay_seconds: float = 0,
        timeout_seconds: float | None = None,
        log_prints: bool = True,
        validate_parameters: bool = True,
    ) -> None:
        if not callable(function):
            raise TypeError(f"@flow takes a function, not {function!r}; options need their names: @flow(name=...).")
        own_name = getattr(function, "__name__", type(function).__name__)
        self.name = own_name.replace("_", "-") if name is None else name
        if not self.name or "/" in self.name or not self.name.isprintable():
            raise ValueError(f"{self.name!r} cannot name a flow: 1 or more printable characters, no slash.")
        if retries < 0 or retry_delay_seconds < 0:
            raise ValueError(f"flow {self.name}: retries and retry_delay_seconds cannot be negative.")
        if timeout_seconds is not None and timeout_seconds <= 0:
            raise ValueError(f"flow {self.name}: timeout_seconds must be more than 0, or None for no timeout.")
        self.description = description
        self.retries = retries
        self.retry_delay_seconds = retry_delay_seconds
        self.timeout_seconds = timeout_seconds
        self.log_prints = log_prints
        self.validate_parameters = validate_parameters
        self.__name__ = own_name
        self.__qualname__ = getattr(function, "__qualname__", own_name)
        self.__module__ = getattr(function, "__module__", __name__)
        self.__doc__ = function.__doc__
        self.__wrapped__ = function  # inspect.signature, doctest and the runtime follow it

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function."""
        return self.__wrapped__(*args, **kwargs)

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: type) -> Callable[..., R_co]: ...

    def __get__(self, instance: Any, owner: type) -> Any:
        """Bind like a function, so that methods can be flows."""
        return self if instance is None else MethodType(self, instance)

    def to_deployment(
        self,
        name: str | None = None,
        *,
        work_pool_name: str | None = None,
        work_queue_name: str | None = None,
        **options: Unpack[DeploymentOptions],
    ) -> FlowDeployment:
        """Return a deployment of this flow, for `serve(…)` or `deploy(…)` with others; nothing is stored yet.

        The options are those of `deploy`. Raises UsageError, InvalidValues.
        """
        from poolform.core.runs.authoring import to_deployment

        return to_deployment(self, name, work_pool_name=work_pool_name, work_queue_name=work_queue_name, **options)

    def deploy(
        self,
        name: str | None = None,
        work_pool_name: str | None = None,
        image: Any = None,
        *,
        build: bool = True,
        push: bool = True,
        work_queue_name: str | None = None,
        print_next_steps: bool = True,
        **options: Unpack[DeploymentOptions],
    ) -> str:
        """Deploy this flow to a work pool, or change its deployment of that name, and return FLOW/NAME.

        Options: cron, interval, rrule and schedules; parameters, job_variables, description, tags, version, paused,
        concurrency_limit, entrypoint. Raises UsageError, NotFound for the pool or queue, InvalidValues.
        """
        from poolform.core.runs.authoring import deploy, to_deployment

        deployment = to_deployment(self, name, work_queue_name=work_queue_name, **options)
        (made,) = deploy(
            deployment,
            work_pool_name=work_pool_name,
            image=image,
            build=build,
            push=push,
            print_next_steps=print_next_steps,
        )
        return made

    def serve(
        self,
        name: str | None = None,
        *,
        limit: int | None = None,
        pause_on_shutdown: bool = True,
        print_starting_message: bool = True,
        **options: Unpack[DeploymentOptions],
    ) -> None:
        """Run this flow from here, on its schedules and whenever asked to, until Ctrl-C; needs no work pool.

        `limit` is how many runs there are at a time; the other options are those of `deploy`. Stopping pauses the
        deployment unless `pause_on_shutdown` is false. Raises UsageError, InvalidValues.
        """
        from poolform.core.dispatch.serving import serve
        from poolform.core.runs.authoring import to_deployment

        serve(
            to_deployment(self, name, **options),
            limit=limit,
            pause_on_shutdown=pause_on_shutdown,
            print_starting_message=print_starting_message,
        )

    @staticmethod
    def from_source(source: str | Path | Source, entrypoint: str) -> RemoteFlow:
        """Return a flow whose code is elsewhere, as `flow.from_source` does."""
        return flow.from_source(source, entrypoint)

    def __repr__(self) -> str:
        return f"<flow {self.name}: {self.__module__}.{self.__qualname__}>"


class _Decorator:
    """`flow`: makes functions flows, and finds flows whose code is elsewhere."""

    if TYPE_CHECKING:

        @overload
        def __call__(self, function: Callable[P, R], /) -> Flow[P, R]: ...
        @overload
        def __call__(
            self,
            /,
            *,
            name: str | None = None,
            description: str | None = None,
            retries: int = 0,
            retry_delay_seconds: float = 0,
            timeout_seconds: float | None = None,
            log_prints: bool = True,
            validate_parameters: bool = True,
        ) -> Callable[[Callable[P, R]], Flow[P, R]]: ...

    def __call__(self, function: Any = None, /, **options: Any) -> Any:
        """Make a function a flow: `@flow`, or `@flow(name="etl", retries=2)` with the options of `Flow`."""
        if function is None:
            return lambda function: Flow(function, **options)
        return Flow(function, **options)

    @staticmethod
    def from_source(source: str | Path | Source, entrypoint: str) -> RemoteFlow:
        """Return the flow at `entrypoint`, FILE.py:FUNCTION, of a repository, a bucket or a folder, to be deployed.

        `source` is its URL or path, or a GitRepository, RemoteStorage or LocalStorage. Raises UsageError where either
        is not there.
        """
        from poolform.core.runs.remote import from_source

        return from_source(source, entrypoint)


flow = _Decorator()

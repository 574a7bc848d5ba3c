"""Images, pulled beside the launching: minutes of it must not keep a worker from everything else."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from poolform.core.runs.launchers import LaunchRefused, NoCapacity
from poolform.provisioners.docker.engine import asking, explanation

if TYPE_CHECKING:
    from poolform.provisioners.docker.engine import Engine

PATIENCE = 20.0
"""Seconds that a launch waits for a pull; afterwards its run is put back, to be launched once the image is there."""


class Images:
    """Pulls images of one engine, each once at a time."""

    def __init__(self, engine: Engine, *, patience: float = PATIENCE) -> None:
        self._engine, self._patience = engine, patience
        self._pulls: dict[tuple[str, str | None], _Pull] = {}

    def provide(self, image: str, policy: str, platform: str | None) -> None:
        """See to it that the image is there, as its pull policy says. Raises as `pull` does."""
        if policy in ("IfNotPresent", "Never") and self._has(image):
            return
        if policy == "Never":
            raise LaunchRefused(f"The image {image} is not on the engine, and image_pull_policy is Never.")
        try:
            self.pull(image, platform)
        except LaunchRefused:
            if policy != "IfPossible" or not self._has(image):
                raise

    def pull(self, image: str, platform: str | None) -> None:
        """Pull an image. Raises LaunchRefused where it cannot be pulled, NoCapacity where that takes its time."""
        pull = self._pulls.get((image, platform))
        if pull is None:
            pull = self._pulls[image, platform] = _Pull(self._engine, image, platform)
        pull.thread.join(self._patience)
        if pull.thread.is_alive():
            raise NoCapacity(f"the image {image} is still being pulled")
        del self._pulls[image, platform]
        if pull.trouble is not None:
            raise LaunchRefused(f"The image {image} cannot be pulled: {pull.trouble}.")

    def _has(self, image: str) -> bool:
        from docker.errors import ImageNotFound

        with asking(f"looking for the image {image}"):
            try:
                self._engine.client.api.inspect_image(image)
            except ImageNotFound:
                return False
        return True


class _Pull:
    """A pull in a thread of its own, on a connection of its own; `trouble` is why it failed."""

    def __init__(self, engine: Engine, image: str, platform: str | None) -> None:
        self.trouble: str | None = None
        self.thread = threading.Thread(target=self._run, args=(engine, image, platform), daemon=True)
        self.thread.start()

    def _run(self, engine: Engine, image: str, platform: str | None) -> None:
        from docker.errors import APIError

        try:
            client = engine.connect()
            try:
                self.trouble = _pulled(client, image, platform)
            finally:
                client.close()
        except APIError as exc:
            self.trouble = explanation(exc)
        except Exception as exc:  # noqa: BLE001 - told by whoever waits for the thread
            self.trouble = str(exc) or type(exc).__name__


def _pulled(client: Any, image: str, platform: str | None) -> str | None:
    """Pull an image to the end and return what went wrong, which the engine says in the midst of its progress."""
    from docker.utils import parse_repository_tag

    repository, tag = parse_repository_tag(image)
    for line in client.api.pull(repository, tag or "latest", stream=True, decode=True, platform=platform):
        if "error" in line:
            return str(line["error"]).rstrip(".")
    return None

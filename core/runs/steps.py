"""Steps of a prefect.yaml that build and push. None is run here: each is named, with what to write in its place.

Which there are: https://docs.prefect.io/v3/how-to-guides/deployments/prefect-yaml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from poolform.core.runs.positions import line_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from poolform.core.runs.positions import Where

PARTS = ("build", "push")


def taken_out(data: Mapping[str, Any], lines: Mapping[Where, int]) -> tuple[Any, list[tuple[int, str]], set[str]]:
    """Return a document without its steps, what is to be said of each, by its line, and the ids that they have."""
    found: list[tuple[int, str]] = []
    ids: set[str] = set()
    entries = data.get("deployments")
    rest = {key: value for key, value in data.items() if key not in PARTS}
    owners: list[tuple[Where, Mapping[str, Any]]] = [((), data)]
    if isinstance(entries, list):
        owners += [(("deployments", index), entry) for index, entry in enumerate(entries) if isinstance(entry, dict)]
        rest["deployments"] = [
            {key: value for key, value in entry.items() if key not in PARTS} if isinstance(entry, dict) else entry
            for entry in entries
        ]
    for path, owner in owners:
        for part in PARTS:
            for where, name, given in _steps(owner.get(part), (*path, part)):
                ids.add(str(given.get("id", "")))
                line = line_of(lines, where)
                whose = f"the deployment {owner.get('name')}" if path else "every deployment"
                text = f"the {part} step {name}, for {whose}, is not run here: {_instead(name, part, owner, given)}"
                found.append((line, f"line {line}: {text}."))
    return rest, found, ids - {""}


def _steps(given: Any, path: Where) -> Iterator[tuple[Where, str, Mapping[str, Any]]]:
    """Yield where each step is, its name, and what it is given."""
    steps = given if isinstance(given, list) else [given] if given else []
    for index, step in enumerate(steps):
        if not isinstance(step, dict):
            yield path, str(step), {}
            continue
        for name, values in step.items():
            where = (*path, index, name) if isinstance(given, list) else (*path, name)
            yield where, str(name), values if isinstance(values, dict) else {}


def _instead(name: str, part: str, owner: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Say what to do in place of a step."""
    deploy = "poolform deploy FILE.py:FLOW --name NAME --pool POOL"
    if "entrypoint" in owner:  # it is a deployment, and not the file
        of = owner.get("work_pool")
        pool = of.get("name") if isinstance(of, dict) else of
        deploy = f"poolform deploy {owner['entrypoint']} --name {owner.get('name', 'NAME')} --pool {pool or 'POOL'}"
    if "docker_image" in name:
        if part == "push":
            return "take it out; whatever builds an image with Poolform pushes it too"
        image = _image(given)
        return (
            f"take it out, build and push with `{deploy} --image {image}` or DockerImage in deploy(), and name the "
            f"image here: work_pool.job_variables.image: {image}"
        )
    if ".push_to_" in f".{name}":
        return (
            f"take it out, put the code there with `{deploy} --upload URL`, and say here where it is, as source: URL, "
            "such as s3://BUCKET/FOLDER"
        )
    return "take it out, and run what it does before `poolform apply`"


def _image(given: Mapping[str, Any]) -> str:
    """Return what the step calls the image, as far as that is in the file."""
    name, tag = str(given.get("image_name") or "REGISTRY/NAME"), str(given.get("tag") or "TAG")
    return "REGISTRY/NAME:TAG" if "{{" in name + tag else f"{name}:{tag}"

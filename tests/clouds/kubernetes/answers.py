"""What the API answers, once it is clear who asks and that they may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clouds.kubernetes import schema
from clouds.kubernetes.objects import KINDS, matches, merge, now
from clouds.kubernetes.terraform import TYPES
from clouds.kubernetes.wire import ApiError, invalid, not_found

if TYPE_CHECKING:
    from clouds.kubernetes.controller import Controller
    from clouds.kubernetes.objects import Object, Objects
    from clouds.kubernetes.people import People, User
    from clouds.kubernetes.terraform import Made
    from clouds.kubernetes.wire import Request

_MODELS = {"jobs": "V1Job", "secrets": "V1Secret"}
_FIXED = ("completions", "selector", "template")
"""Of a Job's spec, what no update may change."""


class Answers:
    """Answers requests. `page` is how many objects a list has at most in one answer."""

    def __init__(self, objects: Objects, made: Made, people: People, controller: Controller) -> None:
        self._objects, self._made, self._people, self._controller = objects, made, people, controller
        self.page = 500

    def __call__(self, request: Request, user: User) -> Any:
        if request.resource == "selfsubjectreviews":
            return {"status": {"userInfo": {"username": user.name}}}
        if request.resource == "selfsubjectaccessreviews":
            return self._review(request, user)
        if request.resource in TYPES:
            return self._made_by_terraform(request)
        if request.resource.partition("/")[0] not in KINDS:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        self.sweep()
        if request.verb == "create" and request.namespace not in self._made.namespaces():
            raise not_found("namespaces", request.namespace or "")
        if request.resource == "pods/log":
            return self._log(request)
        return getattr(self, f"_{request.verb}")(request)

    def sweep(self) -> None:
        """Remove what is in a namespace that Terraform has destroyed."""
        for namespace in self._objects.homes() - self._made.namespaces():
            for resource in KINDS:
                for item in self._objects.find(resource, namespace):
                    self._objects.drop(resource, namespace, item["metadata"]["name"])

    def _review(self, request: Request, user: User) -> Object:
        asked = request.body["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        where = asked.get("namespace"), asked.get("name")
        allowed = self._people.allows(user, asked["verb"], asked.get("group", ""), resource, *where)
        return {"status": {"allowed": allowed}}

    def _made_by_terraform(self, request: Request) -> Object:
        home = None if request.resource == "namespaces" else request.namespace
        found = self._made.objects(request.resource, home)
        if request.verb == "get":
            for item in found:
                if item["metadata"]["name"] == request.object:
                    return item
            raise not_found(request.resource, request.object or "")
        return self._paged(request, found)

    def _paged(self, request: Request, found: list[Object]) -> Object:
        selector = request.query.get("labelSelector", "")
        found = [item for item in found if matches(selector, item["metadata"].get("labels"))]
        start, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or 500)
        end = start + min(limit, self.page)
        more = {"continue": str(end)} if end < len(found) else {}
        return {"kind": "List", "metadata": {"resourceVersion": "1", **more}, "items": found[start:end]}

    def _list(self, request: Request) -> Object:
        return self._paged(request, self._objects.find(request.resource, request.namespace))

    def _get(self, request: Request) -> Object:
        return self._objects.get(request.resource, request.namespace or "", request.object or "")

    def _create(self, request: Request) -> Object:
        body, namespace = request.body, request.namespace or ""
        model = _MODELS[request.resource]
        schema.check_fields(model, body, strict=request.query.get("fieldValidation") == "Strict")
        schema.check_metadata(model[2:], body, namespace)
        if request.resource == "secrets":
            schema.check_secret(body)
            return self._objects.add("secrets", namespace, body)
        schema.check_job(body)
        with self._objects.lock:
            # Admission comes before storage: a full quota is said even of a Job that is there already.
            if problem := self._controller.over_quota("count/jobs.batch", namespace):
                raise ApiError(403, "Forbidden", f'jobs.batch "{body["metadata"]["name"]}" is forbidden: {problem}')
            body["spec"] = {"backoffLimit": 6, "completions": 1, "parallelism": 1, "suspend": False, **body["spec"]}
            made = self._objects.add("jobs", namespace, {**body, "status": {}})
        self._controller.look_after(made)
        return made

    def _patch(self, request: Request) -> Object:
        if request.headers.get("content-type") != "application/merge-patch+json":
            raise ApiError(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
        before = self._get(request)
        after = self._get(request)
        merge(after, request.body)
        schema.check_fields(_MODELS[request.resource], {**after, "status": None}, strict=False)
        schema.check_metadata(before["kind"], after, request.namespace or "")
        if request.resource == "secrets":
            schema.check_secret(after)
        else:
            for field in _FIXED:
                if before["spec"].get(field) != after["spec"].get(field):
                    raise invalid("Job.batch", request.object or "", f"spec.{field}: field is immutable")
        made = self._objects.change(
            request.resource, request.namespace or "", request.object or "", lambda item: merge(item, request.body)
        )
        owners = after["metadata"].get("ownerReferences") or ()
        if owners and not {owner["uid"] for owner in owners} & self._objects.uids():
            self._objects.drop(request.resource, request.namespace or "", request.object or "")
        return made or after

    def _delete(self, request: Request) -> Object:
        self._end(request.resource, self._get(request))
        return {"kind": "Status", "status": "Success"}

    def _deletecollection(self, request: Request) -> Object:
        found = self._objects.find(request.resource, request.namespace, request.query.get("labelSelector", ""))
        for item in found:
            self._end(request.resource, item)
        return {"kind": "List", "items": found}

    def _end(self, resource: str, item: Object) -> None:
        """Remove an object; a Job whose pod still lives is marked, and goes when that has stopped."""
        namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
        if resource != "jobs" or (item.get("status") or {}).get("conditions"):
            self._objects.drop(resource, namespace, name)
            return

        def mark(job: Object) -> None:
            job["metadata"].setdefault("deletionTimestamp", now())

        self._objects.change(resource, namespace, name, mark)

    def _log(self, request: Request) -> bytes:
        shown = self._objects.get("pods", request.namespace or "", request.object or "")
        names = [container["name"] for container in shown["spec"]["containers"]]
        wanted = request.query.get("container") or names[0]
        if wanted not in names:
            raise ApiError(400, "BadRequest", f"container {wanted} is not valid for pod {request.object}")
        pod = self._controller.pods[request.namespace or "", request.object or ""]
        if not pod.started:
            raise ApiError(400, "BadRequest", f'container "{wanted}" in pod "{request.object}" is waiting to start: '
                           "ContainerCreating")  # fmt: skip
        return pod.log(request.query)

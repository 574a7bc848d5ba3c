"""What is read of a cluster without one: logs from cursors, and statuses in words."""

from __future__ import annotations

import json

import pytest

from poolform.provisioners.kubernetes.logs import Cursor
from poolform.provisioners.kubernetes.status import status_of

NOW = 1_800_000_000.0
STAMP = "2027-01-15T08:00:00Z"  # NOW


def log(*lines, end="\n"):
    """Lines as a pod's log has them; each is (seconds, text)."""
    whole = [f"2027-01-15T08:00:{seconds:012.9f}Z {text}" for seconds, text in lines]
    return ("\n".join(whole) + end).encode()


def read(text, cursor=None, *, whole=False):
    """One page; the cursor goes through the store, and the API gives only what is not older than it says."""
    at = Cursor.of(json.loads(json.dumps(cursor)))
    since = at.query.get("sinceTime", "")
    kept = b"\n".join(line for line in text.split(b"\n") if not line or line[:19].decode() >= since[:19])
    lines, after = at.advance(kept, whole=whole)
    return [line.text for line in lines], after.to_json()


def test_lines_of_one_second_come_once():
    first = ((1.1, "a"), (1.2, "b"), (1.2, "b"))
    lines, cursor = read(log(*first))
    assert lines == ["a", "b", "b"]
    assert read(log(*first), cursor)[0] == []
    assert read(log(*first, (1.2, "b"), (1.3, "c")), cursor)[0] == ["b", "c"]


def test_a_line_that_comes_late_is_not_lost():
    """stdout and stderr are two pipes: what was printed first may be written down second."""
    first = ((5.5, "a"), (6.2, "c"))
    _, cursor = read(log(*first))
    lines, cursor = read(log(*first, (6.1, "b"), (7.0, "d")), cursor)
    assert lines == ["b", "d"]
    assert read(log(*first, (6.1, "b"), (7.0, "d")), cursor)[0] == []


def test_a_log_that_the_node_began_anew_is_read_on():
    _, cursor = read(log((5.1, "a"), (5.2, "b"), (5.3, "c")))
    assert read(log((5.3, "c"), (5.4, "d")), cursor)[0] == ["d"]
    assert read(log((9.0, "e")), cursor)[0] == ["e"]


def test_a_piece_of_a_line_waits_for_its_end():
    lines, cursor = read(log((1.0, "whole"), (1.1, "pie"), end=""))
    assert lines == ["whole"]
    assert read(log((1.0, "whole"), (1.1, "piece")), cursor)[0] == ["piece"]
    assert read(log((1.0, "whole"), (1.1, "pie"), end=""), cursor, whole=True)[0] == ["pie"]


def test_a_cursor_says_a_whole_second_that_lies_back():
    _, cursor = read(log((7.9, "a")))
    assert Cursor.of(cursor).query == {"sinceTime": "2027-01-15T08:00:06Z"}
    assert Cursor.of(None).query == {}


def test_what_the_kubelet_says_of_the_log_is_none_of_its_lines():
    text = log((1.0, "a")) + b"unable to retrieve container logs for containerd://0123\n"
    assert read(text)[0] == ["a"]


def test_times_of_a_node_elsewhere_are_understood():
    (line,) = Cursor().advance(b"2027-01-15T10:00:01.5+02:00 a\n", whole=False)[0]
    assert line.at == NOW + 1.5


def job(*conditions, created=STAMP, spec=None, **annotations):
    status = {"conditions": [{"status": "True", **condition} for condition in conditions]}
    metadata = {"name": "run-1", "creationTimestamp": created, "annotations": annotations}
    return {"metadata": metadata, "spec": spec or {}, "status": status}


def pod(state=None, *, phase="Running", limits=None, **status):
    own = {"name": "flow", "image": "flows:1", **({"resources": {"limits": limits}} if limits else {})}
    statuses = [{"name": "proxy", "state": {"running": {}}}, {"name": "flow", "state": state or {}}]
    return {
        "metadata": {"creationTimestamp": STAMP},
        "spec": {"containers": [own, {"name": "proxy"}]},
        "status": {"phase": phase, "containerStatuses": statuses, **status},
    }


def ended(code, reason, message=""):
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def waits(reason, message=""):
    return {"waiting": {"reason": reason, "message": message}}


DISRUPTED = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "for urgent"}
FAILED = {"type": "Failed", "reason": "BackoffLimitExceeded", "message": "Job has reached the specified backoff limit"}


@pytest.mark.parametrize(
    ("of_pod", "code", "said"),
    [
        (pod(ended(0, "Completed")), 0, None),
        (pod(ended(3, "Error")), 3, None),
        (pod(ended(137, "OOMKilled"), limits={"memory": "1Gi"}), 137, "ran out of memory: its limit was 1Gi"),
        (pod(ended(137, "OOMKilled")), 137, "its node had no more; say what it needs with the job variable memory_req"),
        (pod(ended(128, "StartError", 'exec: "x": not found')), 128, 'its command cannot be started: exec: "x"'),
        (pod(ended(137, "ContainerStatusUnknown", "lost")), 137, "its node lost it: lost"),
        (pod(ended(143, "Error"), conditions=[DISRUPTED]), 143, "a job of higher priority: for urgent"),
        (pod(ended(137, "Error"), reason="Evicted", message="low on memory"), 137, "evicted it: low on memory"),
        (pod(phase="Failed", reason="Evicted", message="disk"), None, "its node evicted it: disk"),
        (pod(phase="Failed", reason="DeadlineExceeded", message="too long"), None, "longer than it may: too long"),
        (pod(phase="Failed", reason="NodeAffinity", message="moved"), None, "NodeAffinity: moved"),
        (pod(phase="Failed"), None, "Kubernetes ended it and gave no reason"),
    ],
)  # fmt: skip
def test_an_end_is_told_in_words(of_pod, code, said):
    status = status_of(job(), of_pod, NOW, lambda: None)
    assert (status.state, status.exit_code) == ("exited", code)
    assert status.reason is None if said is None else said in status.reason


@pytest.mark.parametrize(
    ("of_pod", "said"),
    [
        (pod(waits("ErrImagePull", "no such host"), phase="Pending"), "flows:1 cannot be pulled: no such host"),
        (pod(waits("InvalidImageName"), phase="Pending"), "the image flows:1 cannot be pulled: InvalidImageName"),
        (pod(waits("CreateContainerConfigError", 'secret "s" not found'), phase="Pending"), 'secret "s" not found'),
    ],
)  # fmt: skip
def test_what_keeps_a_job_is_told_and_waited_for(of_pod, said):
    young = status_of(job(), of_pod, NOW + 299, lambda: None)
    assert young.state == "starting"
    assert said in young.reason
    old = status_of(job(), of_pod, NOW + 301, lambda: None)
    assert (old.state, old.exit_code) == ("exited", None)
    assert said in old.reason


def test_a_job_that_only_takes_its_time_is_not_given_up():
    slow = pod(waits("ContainerCreating"), phase="Pending")
    assert status_of(job(), slow, NOW + 5000, lambda: None).state == "starting"
    assert status_of(job(), None, NOW + 5000, lambda: None).state == "starting"


@pytest.mark.parametrize(
    ("of_job", "code", "said"),
    [
        (job({"type": "Complete"}), 0, None),
        (job(FAILED), None, "its pod is gone: Preempted by urgent"),
        (job({**FAILED, "reason": "DeadlineExceeded"}, spec={"activeDeadlineSeconds": 60}), None, "than its 60 s"),
        (job({**FAILED, "reason": "DeadlineExceeded"}, **{"poolform-cancelled": "true"}), None, "stopped on request"),
    ],
)  # fmt: skip
def test_a_job_whose_pod_is_gone_tells_what_it_can(of_job, code, said):
    status = status_of(of_job, None, NOW, lambda: "Preempted by urgent")
    assert (status.state, status.exit_code) == ("exited", code)
    assert status.reason is None if said is None else said in status.reason


def test_a_job_counts_as_running_for_as_long_as_its_container_does():
    """Older clusters call a Job failed while its pod is still stopping."""
    assert status_of(job(FAILED), pod({"running": {}}), NOW, lambda: None).state == "running"


def test_a_job_that_is_being_deleted_is_gone():
    gone = job()
    gone["metadata"]["deletionTimestamp"] = STAMP
    assert status_of(gone, None, NOW, lambda: None) is None

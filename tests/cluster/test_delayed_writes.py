"""Row W15 of docs/behavior.md: what the API server cannot accept now is shown within 30 s, and ends nothing."""

import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.fake_kuberay.background import playing
from support.kube_api import Api, Manifest, Refused, wait_for
from support.operator_harness import JOBS, OperatorHarness, open_harness

ADMISSION = "admissionregistration.k8s.io/v1"
SHOWN_SECONDS = 30
SCALE = 0.02
"""Our seconds for one of the player's, by which KubeRay's own preRunningDeadlineSeconds is played."""


@pytest.fixture(scope="module")
def harness(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorHarness]:
    name = f"test-{secrets.token_hex(4)}"
    with (
        open_harness(api, operator_kubeconfig, tmp_path_factory.mktemp("operator"), name) as harness,
        playing(kubeconfig, namespace=name, scale=SCALE),
    ):
        yield harness


@contextmanager
def open_port(*, accepts: bool) -> Iterator[int]:
    """Yield a port whose server accepts connections and answers none, or a port without a server."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
        if accepts:
            yield port
            return
    yield port


@dataclass(frozen=True, slots=True)
class Trouble:
    """A webhook of someone else's that does not work."""

    resource: str
    """What it is asked about, as `group/plural`."""
    probe: Manifest
    """An object of that kind."""
    accepts: bool
    """Whether its server accepts connections; it answers none."""


RAYJOB = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "probe"}, "spec": {"entrypoint": "true"}}
POD = {"containers": [{"name": "main", "image": "none"}], "restartPolicy": "Never"}
JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "probe"}, "spec": {"template": {"spec": POD}}}
AWAY = Trouble("ray.io/rayjobs", RAYJOB, accepts=False)
SILENT = Trouble("batch/jobs", JOB, accepts=True)


def webhook(name: str, namespace: str, *, resource: str, port: int) -> Manifest:
    """Return the configuration of a webhook that is asked about one kind in one namespace."""
    group, _, plural = resource.partition("/")
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [plural]}
    hook = {
        "name": f"{name}.example.com",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": f"https://127.0.0.1:{port}/"},
        "failurePolicy": "Fail",
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [rule],
        "sideEffects": "None",
        "timeoutSeconds": 1,
    }
    kind = "ValidatingWebhookConfiguration"
    return {"apiVersion": ADMISSION, "kind": kind, "metadata": {"name": name}, "webhooks": [hook]}


@contextmanager
def in_force(trouble: Trouble, harness: OperatorHarness) -> Iterator[tuple[str, Callable[[], None]]]:
    """Have a webhook in force; gives its name, and a function that removes it."""
    where, name = harness.namespaces[0], f"hook-{secrets.token_hex(4)}"

    def fails() -> bool:
        try:
            harness.api.create(trouble.probe, namespace=where, dry_run=True)
        except Refused as error:
            return error.code == 500 and name in error.message
        return False

    def remove() -> None:
        harness.api.delete(f"{ADMISSION}/ValidatingWebhookConfiguration", name)
        wait_for(lambda: not fails(), what="the webhook is no longer asked", seconds=60)

    with open_port(accepts=trouble.accepts) as port:
        harness.api.create(webhook(name, where, resource=trouble.resource, port=port))
        wait_for(fails, what="the webhook is in force", seconds=60)
        yield name, remove
        harness.api.delete(f"{ADMISSION}/ValidatingWebhookConfiguration", name)


def shown_at(harness: OperatorHarness, name: str) -> datetime:
    """Return when Progressing became what it is."""
    conditions = harness.status(name)["conditions"]
    return datetime.fromisoformat(next(one["lastTransitionTime"] for one in conditions if one["type"] == "Progressing"))


def test_w15_a_webhook_that_is_away_is_shown_and_the_job_continues_when_it_is_back(harness: OperatorHarness) -> None:
    with in_force(AWAY, harness) as (hook, remove):
        harness.submit("ok-1", schedulingTimeoutSeconds=round(30 / SCALE))
        message = harness.shows("ok-1", "Progressing", reason="WriteDelayed")
        began = datetime.fromisoformat(harness.stage("ok-1", "Generate")["startedAt"])
        assert (shown_at(harness, "ok-1") - began).total_seconds() < SHOWN_SECONDS
        assert hook in message
        assert harness.status("ok-1")["message"].startswith("WriteDelayed: ")
        assert harness.tells("ok-1", "Waiting").count("Waiting") == 1
        remove()
        harness.becomes("ok-1", "Succeeded")
    generate = harness.stage("ok-1", "Generate")
    assert (generate["attempt"], sum(generate["restarts"].values())) == (1, 0), "nothing was charged"


def test_w15_a_webhook_that_never_answers_ends_nothing_at_the_limit_of_other_waits(harness: OperatorHarness) -> None:
    limit = 5
    with in_force(SILENT, harness) as (hook, remove):
        harness.submit("ok-2", schedulingTimeoutSeconds=limit)
        assert hook in harness.shows("ok-2", "Progressing", reason="WriteDelayed")
        since = shown_at(harness, "ok-2")
        wait_for(
            lambda: (datetime.now(UTC) - since).total_seconds() > 3 * limit,
            what="the delay has lasted for longer than schedulingTimeoutSeconds",
            seconds=60,
        )
        harness.settle()
        assert harness.condition("ok-2", "Progressing")[:2] == ("False", "WriteDelayed")
        assert harness.phase("ok-2") == "Preparing"
        remove()
        wait_for(lambda: harness.stage("ok-2", "Prepare").get("childUID"), what="its child is made", seconds=120)
    prepare = harness.stage("ok-2", "Prepare")
    assert (prepare["attempt"], sum(prepare["restarts"].values())) == (1, 0), "nothing was charged"
    harness.api.delete(JOBS, "ok-2", namespace=harness.namespaces[0])

"""The channel against a real API server, with the account, the role and the ConfigMap that the operator makes."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kubedistill.contract import MESSAGE_BYTES, JobRef, RunRef, StageJob, StageProgress, StageResult
from kubedistill.errors import EXIT_CLAIM_LOST, ChannelUnavailable, ClaimLost
from kubedistill.manifest.loading import load_manifest
from kubedistill.manifest.settings import Images, Settings
from kubedistill.v1alpha1 import spec_values
from kubedistill_operator.children.access import role, role_binding, service_account
from kubedistill_operator.children.configmaps import channel_config_map
from kubedistill_operator.children.request import ChildRequest
from kubedistill_operator.cluster.channel_reading import read_channel
from kubedistill_operator.observed import Channel
from kubedistill_runtime.channel.api_server import ApiServer, Reply, TransientError
from kubedistill_runtime.channel.claiming import claim_channel
from kubedistill_runtime.channel.config_map_channel import ConfigMapChannel
from kubedistill_runtime.storage.store import Store
from support.kube_api import Api, Manifest, wait_for
from support.messages import check_facts
from support.small_job import QUICKSTART
from support.small_manifests import config_map
from support.tenants import may, open_tenants

TIME = "2026-01-01T00:00:00Z"
MAP = "v1/ConfigMap"


@dataclass(frozen=True)
class Interrupted(ApiServer):
    """The API server, to which something happens right before each patch."""

    before: Callable[[], object] = lambda: None

    def call(self, method: str, path: str, *, patch: list[dict[str, str]] | None = None) -> Reply:
        if method == "PATCH":
            self.before()
        return super().call(method, path, patch=patch)


@dataclass(frozen=True, slots=True)
class Pod:
    """A driver's pod, as far as the channel sees it."""

    api: Api
    server: ApiServer
    request: ChildRequest
    store: Store

    def claim(
        self,
        driver: str,
        *,
        server: ApiServer | None = None,
        name: str = "",
        sleep: Callable[[float], None] = lambda _: None,
    ) -> ConfigMapChannel:
        return claim_channel(
            self.request.stage_job,
            api=server or self.server,
            name=name or self.request.channel,
            driver=driver,
            store=self.store,
            sleep=sleep,
        )

    def interrupted(self, before: Callable[[], object]) -> ApiServer:
        return Interrupted(self.server.host, self.server.port, self.server.account, before=before)

    def config_map(self) -> Manifest:
        found = self.api.get(MAP, self.request.channel, namespace=self.request.namespace)
        assert found is not None
        return found

    def read(self) -> Channel:
        """Return the channel as the operator reads it."""
        return read_channel(self.config_map())

    def set(self, **data: str) -> None:
        self.api.patch(MAP, self.request.channel, {"data": data}, namespace=self.request.namespace)


@pytest.fixture
def pod(api: Api, namespace: str, tmp_path: Path) -> Pod:
    request = make_request(namespace)
    account = service_account(request)
    assert account is not None
    for manifest in (account, role(request), role_binding(request), channel_config_map(request)):
        del manifest["metadata"]["ownerReferences"]  # the owners are not in this cluster
        api.create(manifest)
    token = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account['metadata']['name']}/token"
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "token").write_text(api.request("post", path, body=token)["status"]["token"])
    (folder / "ca.crt").write_bytes(api.ca)
    (folder / "namespace").write_text(namespace)
    server = urlsplit(api.server)
    assert server.hostname is not None
    found = Pod(api, ApiServer(server.hostname, server.port or 443, folder), request, Store(tmp_path / "store"))
    wait_for(lambda: may_read(found), what="the role is in force")
    return found


def make_request(namespace: str) -> ChildRequest:
    job = StageJob(
        job=JobRef(namespace=namespace, name="quickstart", uid="uid"),
        run=RunRef(id="one", digest="digest"),
        stage="Train",
        attempt=1,
        token="quickstart-train-abcde.uid",
        frozen_spec=spec_values(load_manifest(QUICKSTART / "job.yaml").spec),
        store="file:///kubedistill/storage",
        data_root="file:///kubedistill/storage",
    )
    return ChildRequest(
        stage_job=job,
        pools={},
        images=Images(runtime="r", runtime_cpu="c"),
        queue=None,
        volume_claim=None,
        account="quickstart-driver",
        settings=Settings(),
    )


def may_read(pod: Pod) -> bool:
    path = f"/api/v1/namespaces/{pod.request.namespace}/configmaps/{pod.request.channel}"
    return pod.server.call("GET", path).status == 200


def progress(done: int) -> StageProgress:
    return StageProgress(at=TIME, state="Working", done=done, total=100, unit="steps")


def result(driver: str, **more: Any) -> StageResult:
    return StageResult(driver=driver, outcome="Succeeded", started_at=TIME, ended_at=TIME, **more)


def test_an_attempt_is_claimed_reported_and_ended(pod: Pod) -> None:
    channel = pod.claim("first")
    assert (pod.read().owner, pod.read().starts) == (f"{pod.request.stage_job.token}:first", 1)
    channel.publish_progress(progress(3))
    assert pod.read().progress == progress(3)
    assert not channel.asked_to_stop()
    channel.publish_progress(progress(4))
    channel.publish_result(result("first", summary={"steps": 3}))
    found = pod.read()
    assert (found.progress, found.result, found.problem) == (progress(4), result("first", summary={"steps": 3}), "")


def test_a_wish_to_stop_is_heard(pod: Pod) -> None:
    channel = pod.claim("first")
    pod.set(stop="true")
    channel.publish_progress(progress(1))
    assert channel.asked_to_stop()


def test_a_loser_changes_nothing(pod: Pod) -> None:
    losers = [pod.claim("first"), pod.claim("second"), pod.claim("third")]
    winner = pod.claim("fourth")
    winner.publish_progress(progress(7))
    before = pod.config_map()
    for loser, say in zip(
        losers,
        (
            lambda one: one.publish_progress(progress(99)),
            lambda one: one.publish_result(result("second")),
            lambda one: one.asked_to_stop(),
        ),
        strict=True,
    ):
        with pytest.raises(ClaimLost):
            say(loser)
    assert pod.config_map() == before
    assert pod.read().starts == 4


def test_an_attempt_of_another_token_or_with_a_result_is_not_claimed(pod: Pod) -> None:
    pod.claim("first").publish_result(result("first"))
    before = pod.config_map()
    with pytest.raises(ClaimLost) as lost:
        pod.claim("second")
    check_facts(lost.value, pod.request.channel)
    assert pod.config_map() == before
    pod.set(owner="another.uid")
    with pytest.raises(ClaimLost) as lost:
        pod.claim("third")
    check_facts(lost.value, pod.request.channel)
    assert pod.read().owner == "another.uid"


def test_a_result_that_comes_between_reading_and_claiming_stays_valid(pod: Pod) -> None:
    first = pod.claim("first")
    with pytest.raises(ClaimLost):
        pod.claim("second", server=pod.interrupted(lambda: first.publish_result(result("first"))))
    assert (pod.read().owner, pod.read().result) == (first.claim, result("first"))


def test_a_claim_that_is_overtaken_is_made_again(pod: Pod) -> None:
    others = iter(["other-1", "other-2"])

    def race() -> None:
        if driver := next(others, None):
            pod.claim(driver)

    assert pod.claim("first", server=pod.interrupted(race)).starts == 3
    assert pod.read().owner.endswith(":first")


def test_of_drivers_that_claim_at_once_one_is_left(pod: Pod) -> None:
    claimed: list[ConfigMapChannel] = []
    threads = [
        threading.Thread(target=lambda number=number: claimed.append(pod.claim(f"driver-{number}")))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(channel.starts for channel in claimed) == [1, 2, 3, 4]
    heard = []
    for channel in claimed:
        try:
            channel.publish_progress(progress(channel.starts))
        except ClaimLost:
            continue
        heard.append(channel.starts)
    assert heard == [4]
    assert pod.read().progress == progress(4)


def test_the_largest_result_of_any_text_is_taken(pod: Pod) -> None:
    text = "".join(chr(code) for code in (0, 9, 10, 34, 92, 0x7F, 0x2028, 0xFFFD, 0x1F600))
    told = result("first", message=text, summary={text: text, "long": "x" * (MESSAGE_BYTES - 500)})
    pod.claim("first").publish_result(told)
    assert StageResult.model_validate_json(pod.config_map()["data"]["result.json"]) == told


def test_an_account_may_read_and_write_its_own_channel_and_nothing_else(pod: Pod) -> None:
    pod.api.create(config_map("other", owner=pod.request.stage_job.token, starts="0"), namespace=pod.request.namespace)
    with pytest.raises(ChannelUnavailable) as refused:
        pod.claim("first", name="other")
    check_facts(refused.value, 403, '"other"', "get", "patch")
    path = f"/api/v1/namespaces/{pod.request.namespace}"
    for method, place in (
        ("GET", f"{path}/configmaps"),
        ("GET", f"{path}/secrets"),
        ("GET", f"{path}/pods"),
        ("DELETE", f"{path}/configmaps/{pod.request.channel}"),
        ("GET", f"{path}/serviceaccounts"),
    ):
        assert pod.server.call(method, place).status == 403, place


def test_a_channel_that_is_deleted_ends_its_driver(pod: Pod) -> None:
    channel = pod.claim("first")
    pod.api.delete(MAP, pod.request.channel, namespace=pod.request.namespace)
    with pytest.raises(ClaimLost) as lost:
        channel.publish_progress(progress(1))
    check_facts(lost.value, pod.request.channel)


def test_a_channel_that_nobody_can_write_says_so(pod: Pod) -> None:
    pod.api.patch(MAP, pod.request.channel, {"immutable": True}, namespace=pod.request.namespace)
    with pytest.raises(ChannelUnavailable) as refused:
        pod.claim("first")
    check_facts(refused.value, pod.request.channel, 5)


def test_a_token_that_is_not_known_yet_may_become_valid(pod: Pod) -> None:
    token = pod.server.account / "token"
    good = token.read_text()
    token.write_text("not-a-token")
    with pytest.raises(TransientError, match="401 Unauthorized"):
        may_read(pod)
    assert pod.claim("first", sleep=lambda _: token.write_text(good) and None).starts == 1


def test_d2_a_tenant_that_may_write_config_maps_can_stop_and_replace_a_driver(
    pod: Pod, api: Api, namespace: str, account_kubeconfig: Callable[..., Path]
) -> None:
    channel = pod.claim("first")
    token = pod.config_map()["data"]["owner"].partition(":")[0]
    with open_tenants(api, namespace, account_kubeconfig) as tenants:
        eve = tenants({"configmaps": "get update patch"})
        assert not may(eve, ("patch", "configmaps"), "default")
        eve.patch(MAP, pod.request.channel, {"data": {"stop": "true"}}, namespace=namespace)
        assert channel.asked_to_stop()
        eve.patch(MAP, pod.request.channel, {"data": {"owner": f"{token}:eve"}}, namespace=namespace)
    with pytest.raises(ClaimLost) as lost:
        channel.publish_progress(progress(1))
    assert lost.value.exit_code == EXIT_CLAIM_LOST
    assert pod.read().progress is None

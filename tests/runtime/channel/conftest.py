"""What the tests of the channel in a cluster share: a server with one ConfigMap, and time that passes when told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubedistill.contract import JobRef, StageJob
from kubedistill_runtime.channel.api_server import ApiServer
from kubedistill_runtime.channel.claiming import claim_channel
from kubedistill_runtime.channel.config_map_channel import ConfigMapChannel
from kubedistill_runtime.storage.store import Store
from support.channel_fixtures import JOB_UID, TOKEN, Claim, Time
from support.config_map_server import NAME, ConfigMapServer, make_server_credentials, serve_config_map
from support.job_folder import make_job_folder


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_server_credentials(tmp_path_factory.mktemp("credentials") / "server")


@pytest.fixture
def server(credentials: Path, tmp_path: Path) -> Iterator[ConfigMapServer]:
    with serve_config_map(credentials, tmp_path / "account", {"owner": TOKEN, "starts": "0"}, owner=JOB_UID) as kept:
        yield kept


@pytest.fixture
def api(server: ConfigMapServer) -> ApiServer:
    return ApiServer("127.0.0.1", server.port, server.account, seconds=2)


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> StageJob:
    job_folder = make_job_folder(tmp_path_factory.mktemp("job"))
    ref = JobRef(namespace="default", name="job", uid=JOB_UID)
    return job_folder.stage_job("Train", keys={"student": "key"}).model_copy(update={"token": TOKEN, "job": ref})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "shared-store")


@pytest.fixture
def claim(api: ApiServer, job: StageJob, store: Store, time: Time) -> Claim:
    """Claim the attempt for a driver."""

    def claim(driver: str = "first", *, store: Store = store, token: str = TOKEN) -> ConfigMapChannel:
        told = job.model_copy(update={"token": token})
        return claim_channel(told, api=api, name=NAME, driver=driver, store=store, clock=time.clock, sleep=time.sleep)

    return claim

"""The asynchronous client: the methods of the synchronous client as coroutines."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from kubedistill.client import evaluation, operations, storage
from kubedistill.client.access import find_access
from kubedistill.client.evaluation import METRICS, Comparison, Evaluation
from kubedistill.client.follow import follow
from kubedistill.client.interpreters import AsyncInterpreter
from kubedistill.client.job import Job
from kubedistill.client.logs import Log, logs
from kubedistill.client.operations import Submitted
from kubedistill.client.request import DEFAULT_NAMESPACE, AsyncTransport, Values
from kubedistill.contract import Prices
from kubedistill.report.models import Report
from kubedistill.v1alpha1 import DistillationJob, Status

AnyPath = Path | str


class AsyncClient:
    """A client for the jobs of one cluster, which it finds as kubectl does, or of this machine (`AsyncClient.local()`).

    `store` is the folder where the store of the jobs is mounted on this machine. Without it, the client reads reports
    and logs only if the URI of the store is a folder of this machine. A `transport` replaces the connection to a
    cluster. Close the client, or use it as a context manager.
    """

    def __init__(
        self,
        *,
        kubeconfig: AnyPath | None = None,
        context: str | None = None,
        namespace: str | None = None,
        store: AnyPath | None = None,
        transport: AsyncTransport | None = None,
    ) -> None:
        if transport is None:
            from kubedistill.client.api_server import AsyncApiServer

            access = find_access(kubeconfig=kubeconfig, context=context, namespace=namespace)
            transport, namespace = AsyncApiServer(access), access.namespace
        self.namespace = namespace or DEFAULT_NAMESPACE
        self._interpreter = AsyncInterpreter(transport)
        folder = Path(store) if store is not None else None
        self.jobs = AsyncJobs(self._interpreter, namespace=self.namespace, store=folder)
        self.models = AsyncModels(self._interpreter, namespace=self.namespace, store=folder)

    @classmethod
    def local(
        cls,
        *,
        data_root: AnyPath = Path(),
        store: AnyPath | None = None,
        config_maps: Mapping[str, Path] | None = None,
        teacher_price: float | None = None,
        student_price: float | None = None,
    ) -> Self:
        """Return a client that runs jobs on this machine while it is open; prices are US dollars per hour.

        Paths in a job are relative to `data_root`. The default store is `.kubedistill` in that folder.
        """
        from kubedistill.client.local import LocalMachine, ThreadedMachine

        root = Path(data_root)
        folder = Path(store) if store is not None else root / ".kubedistill"
        prices = Prices(teacher=teacher_price, student=student_price)
        machine = LocalMachine(data_root=root, store=folder, config_maps=config_maps or {}, prices=prices)
        return cls(transport=ThreadedMachine(machine), store=folder.absolute())

    async def close(self) -> None:
        """Close the connections; a local client stops its running jobs."""
        await self._interpreter.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncJobs:
    """The jobs of one namespace."""

    def __init__(self, interpreter: AsyncInterpreter, *, namespace: str, store: Path | None) -> None:
        self._interpreter, self._namespace, self._store = interpreter, namespace, store

    async def create_or_update(self, job: DistillationJob | Values, *, force: bool = False) -> Job:
        """Create a job, or update it if it has changed. A change of a job that has run takes effect with `rerun`."""
        return (await self.submit(job, force=force)).job

    async def submit(self, job: DistillationJob | Values, *, force: bool = False) -> Submitted:
        """Create or update a job, and return with it whether it was created, configured or unchanged."""
        operation = operations.submit(job, namespace=None, default=self._namespace, force=force)
        return await self._interpreter.run(operation)

    async def get(self, name: str) -> Job:
        """Return the current state of a job; raises NoSuchJob."""
        return await self._interpreter.run(operations.get(name, namespace=self._namespace))

    async def list(self) -> Sequence[Job]:
        """Return all jobs of the namespace."""
        return await self._interpreter.run(operations.select(namespace=self._namespace))

    async def status(self, name: str) -> Status:
        """Return the status of a job."""
        return (await self.get(name)).status

    def stream(self, name: str, *, timeout: float | None = None) -> AsyncIterator[Job]:
        """Yield a job each time it changes, until its run ends; raises WaitTimeout after `timeout` seconds."""
        return self._interpreter.stream(follow(name, namespace=self._namespace, seconds=timeout))

    async def wait(self, name: str, *, timeout: float | None = None) -> Job:
        """Wait until a job succeeds; raises JobFailed, GateMissed, or WaitTimeout after `timeout` seconds."""
        job = await self._interpreter.run(follow(name, namespace=self._namespace, seconds=timeout))
        job.check_success()
        return job

    async def suspend(self, name: str) -> Job:
        """Make a job save its state and stop."""
        return await self._interpreter.run(operations.suspend(name, namespace=self._namespace, value=True))

    async def resume(self, name: str) -> Job:
        """Make a suspended job continue."""
        return await self._interpreter.run(operations.suspend(name, namespace=self._namespace, value=False))

    async def rerun(self, name: str) -> Job:
        """Start another run of the current spec; the run reuses what is in the store."""
        return await self._interpreter.run(operations.rerun(name, namespace=self._namespace))

    async def cancel(self, name: str) -> Job:
        """Stop a run permanently."""
        return await self._interpreter.run(operations.cancel(name, namespace=self._namespace))

    async def delete(self, name: str) -> None:
        """Delete a job and its pods; its files in the store stay."""
        await self._interpreter.run(operations.delete(name, namespace=self._namespace))

    async def logs(self, name: str, *, stage: str | None = None) -> Sequence[Log]:
        """Return the logs of a stage, by default of the running one; raises NotAvailable if there are none."""
        return await self._interpreter.run(logs(name, namespace=self._namespace, stage=stage, store=self._store))

    async def events(self, name: str) -> Sequence[Values]:
        """Return the Kubernetes Events of a job, oldest first."""
        return await self._interpreter.run(operations.events(name, namespace=self._namespace))

    async def report(self, name: str) -> Report:
        """Return the report of a job; raises NotAvailable if there is none, or it can't be read from this machine."""
        return await self._interpreter.run(storage.report(name, namespace=self._namespace, store=self._store))


class AsyncModels:
    """The evaluated models: JOB is the distilled student; JOB/baseline and JOB/teacher are the other two of a job."""

    def __init__(self, interpreter: AsyncInterpreter, *, namespace: str, store: Path | None) -> None:
        self._interpreter, self._namespace, self._store = interpreter, namespace, store

    async def evaluate(
        self, model_name: str, test_data: str | Path | None = None, metrics: Sequence[str] = METRICS
    ) -> Evaluation:
        """Return metrics of a model that its job has measured on its test records."""
        operation = evaluation.evaluate(
            model_name, metrics=metrics, test_data=test_data, namespace=self._namespace, store=self._store
        )
        return await self._interpreter.run(operation)

    async def compare(self, name: str) -> Comparison:
        """Compare the distilled student of a job with its teacher and with the student before training."""
        return await self._interpreter.run(evaluation.compare(name, namespace=self._namespace, store=self._store))

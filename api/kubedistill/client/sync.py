"""The synchronous client."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from kubedistill.client import evaluation, operations, storage
from kubedistill.client.access import find_access
from kubedistill.client.evaluation import METRICS, Comparison, Evaluation
from kubedistill.client.follow import follow
from kubedistill.client.interpreters import Interpreter
from kubedistill.client.job import Job
from kubedistill.client.logs import Log, logs
from kubedistill.client.operations import Submitted
from kubedistill.client.request import Transport, Values
from kubedistill.contract import Prices
from kubedistill.report.models import Report
from kubedistill.v1alpha1 import DistillationJob, Status

Place = Path | str


class Client:
    """Jobs of one cluster, found as kubectl finds it, or of this machine (`Client.local()`).

    `store` is the folder where the jobs' store is mounted here: without it, reports and logs are read where the
    store's own URI is a folder of this machine. Close it, or use it as a context.
    """

    def __init__(
        self,
        *,
        kubeconfig: Place | None = None,
        context: str | None = None,
        namespace: str | None = None,
        store: Place | None = None,
    ) -> None:
        from kubedistill.client.api_server import ApiServer

        access = find_access(kubeconfig=kubeconfig, context=context, namespace=namespace)
        self._set_up(ApiServer(access), namespace=access.namespace, store=Path(store) if store is not None else None)

    @classmethod
    def local(
        cls,
        *,
        data_root: Place = Path(),
        store: Place | None = None,
        config_maps: Mapping[str, Path] | None = None,
        teacher_price: float | None = None,
        student_price: float | None = None,
    ) -> Self:
        """A client that runs jobs on this machine, as long as it is open; prices are US dollars per hour.

        Paths of a job are relative to `data_root`; the store is `.kubedistill` in it unless it is named.
        """
        from kubedistill.client.local import NAMESPACE, LocalMachine

        root = Path(data_root)
        place = Path(store) if store is not None else root / ".kubedistill"
        prices = Prices(teacher=teacher_price, student=student_price)
        machine = LocalMachine(data_root=root, store=place, config_maps=config_maps or {}, prices=prices)
        client = cls.__new__(cls)
        client._set_up(machine, namespace=NAMESPACE, store=place.absolute())
        return client

    def _set_up(self, transport: Transport, *, namespace: str, store: Path | None) -> None:
        self._interpreter = Interpreter(transport)
        self.namespace = namespace
        self.jobs = Jobs(self._interpreter, namespace=namespace, store=store)
        self.models = Models(self._interpreter, namespace=namespace, store=store)

    def close(self) -> None:
        """Let go of connections; on one machine, stop the jobs that run."""
        self._interpreter.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Jobs:
    """The jobs of one namespace."""

    def __init__(self, interpreter: Interpreter, *, namespace: str, store: Path | None) -> None:
        self._interpreter, self._namespace, self._store = interpreter, namespace, store

    def create_or_update(self, job: DistillationJob | Values, *, force: bool = False) -> Job:
        """Submit a job; an unchanged one is left alone. An edit of a job that has run waits for `rerun`."""
        return self.submit(job, force=force).job

    def submit(self, job: DistillationJob | Values, *, force: bool = False) -> Submitted:
        """The same, and it says whether the job was created, configured or unchanged."""
        operation = operations.submit(job, namespace=None, default=self._namespace, force=force)
        return self._interpreter.run(operation)

    def get(self, name: str) -> Job:
        """One job as it is now; raises NoSuchJob."""
        return self._interpreter.run(operations.get(name, namespace=self._namespace))

    def list(self) -> Sequence[Job]:
        """All jobs of the namespace."""
        return self._interpreter.run(operations.select(namespace=self._namespace))

    def status(self, name: str) -> Status:
        """The status of one job."""
        return self.get(name).status

    def stream(self, name: str, *, timeout: float | None = None) -> Iterator[Job]:
        """A job whenever it changes, until its run is over; raises WaitTimeout after `timeout` seconds."""
        return self._interpreter.stream(follow(name, namespace=self._namespace, seconds=timeout))

    def wait(self, name: str, *, timeout: float | None = None) -> Job:
        """Wait until a job has succeeded; raises JobFailed or GateMissed, or WaitTimeout after `timeout` seconds."""
        job = self._interpreter.run(follow(name, namespace=self._namespace, seconds=timeout))
        job.check_success()
        return job

    def suspend(self, name: str) -> Job:
        """Have a job save and stop."""
        return self._interpreter.run(operations.suspend(name, namespace=self._namespace, value=True))

    def resume(self, name: str) -> Job:
        """Have it go on."""
        return self._interpreter.run(operations.suspend(name, namespace=self._namespace, value=False))

    def rerun(self, name: str) -> Job:
        """Start one more run of the spec as it is now; what is in the store is not made again."""
        return self._interpreter.run(operations.rerun(name, namespace=self._namespace))

    def cancel(self, name: str) -> Job:
        """Stop a run for good."""
        return self._interpreter.run(operations.cancel(name, namespace=self._namespace))

    def delete(self, name: str) -> None:
        """Delete a job and its pods; what is in the store stays."""
        self._interpreter.run(operations.delete(name, namespace=self._namespace))

    def logs(self, name: str, *, stage: str | None = None) -> Sequence[Log]:
        """The logs of a stage, or of the one at work; raises NotKept where none is to be had from here."""
        return self._interpreter.run(logs(name, namespace=self._namespace, stage=stage, store=self._store))

    def events(self, name: str) -> Sequence[Values]:
        """The Kubernetes Events of a job, the oldest first."""
        return self._interpreter.run(operations.events(name, namespace=self._namespace))

    def report(self, name: str) -> Report:
        """A job's report; raises NotKept where there is none, or it is out of reach from here."""
        return self._interpreter.run(storage.report(name, namespace=self._namespace, store=self._store))


class Models:
    """The models that jobs have judged: JOB is the distilled student, JOB/baseline and JOB/teacher the other two."""

    def __init__(self, interpreter: Interpreter, *, namespace: str, store: Path | None) -> None:
        self._interpreter, self._namespace, self._store = interpreter, namespace, store

    def evaluate(
        self, model_name: str, test_data: str | Path | None = None, metrics: Sequence[str] = METRICS
    ) -> Evaluation:
        """Figures of a model on its job's test records, as the job has measured them."""
        operation = evaluation.evaluate(
            model_name, metrics=metrics, test_data=test_data, namespace=self._namespace, store=self._store
        )
        return self._interpreter.run(operation)

    def compare(self, name: str) -> Comparison:
        """A job's distilled student beside its teacher and the student before training."""
        return self._interpreter.run(evaluation.compare(name, namespace=self._namespace, store=self._store))

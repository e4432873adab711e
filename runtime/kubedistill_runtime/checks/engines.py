"""The engines that a job will start on GPUs, for vLLM's own checks."""

from kubedistill.chain import STAGES
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.serving.engine import Serving
from kubedistill_runtime.storage.artifacts import are_complete
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.student_format import student_serving
from kubedistill_runtime.teachers.served import ServedTeacher


def engines_on_gpus(choices: Choices, *, store: Store) -> list[Serving]:
    """Return the settings of the teachers' and the student's engines on GPUs that artifacts are still missing from."""
    answered = are_complete(store, STAGES["Generate"].makes, keys=choices.keys)
    teachers = [] if answered else [one for one in choices.teachers if isinstance(one, ServedTeacher)]
    constraint = choices.judge_sampling.constraint
    engines = [teacher.serving(k=choices.k, constraint=constraint) for teacher in teachers]
    if choices.student_hardware.has_gpus and not are_complete(store, STAGES["Evaluate"].makes, keys=choices.keys):
        engines.append(student_serving(choices.student, choices=choices))
    return [engine for engine in engines if engine.hardware.has_gpus]

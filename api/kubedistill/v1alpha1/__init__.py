"""kubedistill.io/v1alpha1: the one place where the resource's fields are declared."""

from kubedistill.v1alpha1.data import ConfigMapKeyRef, Curation, Data, DataSource, Generation, TrainData
from kubedistill.v1alpha1.evaluation import Evaluation, Export, Gate
from kubedistill.v1alpha1.job import (
    API_VERSION,
    GROUP,
    KIND,
    PLURAL,
    VERSION,
    DistillationJob,
    Metadata,
    Spec,
    Storage,
    spec_values,
)
from kubedistill.v1alpha1.models import Student, StudentModel, StudentResources, Teacher, TeacherModel, TeacherResources
from kubedistill.v1alpha1.status import Condition, Result, StageStatus, Status
from kubedistill.v1alpha1.task import LABEL_TASKS, NLI_LABELS, Task
from kubedistill.v1alpha1.training import Checkpoint, Objective, Optimizer, Training, Validation

__all__ = [
    "API_VERSION", "GROUP", "KIND", "LABEL_TASKS", "NLI_LABELS", "PLURAL", "VERSION", "Checkpoint", "Condition",
    "ConfigMapKeyRef", "Curation", "Data", "DataSource", "DistillationJob", "Evaluation", "Export", "Gate",
    "Generation", "Metadata", "Objective", "Optimizer", "Result", "Spec", "StageStatus", "Status", "Storage",
    "Student", "StudentModel", "StudentResources", "Task", "Teacher", "TeacherModel", "TeacherResources",
    "TrainData", "Training", "Validation", "spec_values",
]  # fmt: skip

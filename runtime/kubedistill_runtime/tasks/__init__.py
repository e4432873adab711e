"""Tasks: the form of records, the form of answers, and the metrics of each kind of task."""

from kubedistill_runtime.tasks.classification import CLASSIFICATION
from kubedistill_runtime.tasks.conversation import CONVERSATION
from kubedistill_runtime.tasks.math import MATH
from kubedistill_runtime.tasks.qa import QA
from kubedistill_runtime.tasks.summarization import SUMMARIZATION
from kubedistill_runtime.tasks.task import Task
from kubedistill_runtime.tasks.text import TEXT

TASKS: dict[str, Task] = {
    "Classification": CLASSIFICATION,
    "NLI": CLASSIFICATION,  # with three fixed labels, which the resource model defines
    "Conversation": CONVERSATION,
    "QA": QA,
    "Math": MATH,
    "Summarization": SUMMARIZATION,
    "Text": TEXT,
}

__all__ = ["TASKS", "Task"]

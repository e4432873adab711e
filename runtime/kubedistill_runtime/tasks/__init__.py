"""Tasks: how the records of each kind must look, how its answers are read, and what they are judged by."""

from kubedistill_runtime.tasks.classification import CLASSIFICATION
from kubedistill_runtime.tasks.conversation import CONVERSATION
from kubedistill_runtime.tasks.math import MATH
from kubedistill_runtime.tasks.qa import QA
from kubedistill_runtime.tasks.summarization import SUMMARIZATION
from kubedistill_runtime.tasks.task import Task

TASKS: dict[str, Task] = {
    "Classification": CLASSIFICATION,
    "NLI": CLASSIFICATION,  # three labels of its own; the resource model names them
    "Conversation": CONVERSATION,
    "QA": QA,
    "Math": MATH,
    "Summarization": SUMMARIZATION,
}

__all__ = ["TASKS", "Task"]

"""A job whose models are the quickstart's student, and the runner of its stages."""

import pytest

from kubedistill_runtime.chat import ChatFormat
from support.job_folder import QUICKSTART, JobFolder
from support.stage_runner import StageRunner


@pytest.fixture
def runner(job_folder: JobFolder, chat: ChatFormat) -> StageRunner:
    for model in ("teachers.0.model.source", "student.model.source"):
        job_folder.set(model, str(QUICKSTART / "student"))
    job_folder.set("generation.maxTokens", 24)
    return StageRunner(job_folder, chat)

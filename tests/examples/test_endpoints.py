"""The examples with a teacher behind an API, from their prompts to samples, with a local server in its place."""

import json
import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from kubedistill.contract import key_variable
from kubedistill_runtime.chat import ChatFormat, load_chat_format
from kubedistill_runtime.models import Model
from support.endpoint_server import Reaction, Received, chat, endpoint_server, message
from support.job_folder import QUICKSTART, JobFolder
from support.stage_runner import StageRunner

EXAMPLES = Path(__file__).parents[2] / "examples"
REMOTE = sorted(path.parent.name for path in EXAMPLES.glob("*/job.yaml") if "endpoint:" in path.read_text())


@pytest.fixture(scope="module")
def student() -> ChatFormat:
    """Return the chat format of the quickstart's student."""
    return load_chat_format(Model("student", QUICKSTART / "student", "digest", 0, {}), at="student")


def read_references(folder: Path) -> dict[str, str]:
    """Return the reference of each prompt."""
    lines = [line for path in sorted((folder / "data").glob("*.jsonl")) for line in path.read_text().splitlines()]
    records = [json.loads(line) for line in lines]
    return {record["messages"][-1]["content"]: record["reference"] for record in records}


def test_an_example_of_each_api_is_there() -> None:
    assert REMOTE == ["expense-review", "moderation", "translation"]


@pytest.mark.parametrize("name", REMOTE)
def test_an_example_comes_to_its_samples(
    name: str, tmp_path: Path, student: ChatFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(EXAMPLES / name, tmp_path / name)
    spec = YAML(typ="safe").load((folder / "job.yaml").read_text())["spec"]
    references = read_references(folder)

    def react(received: Received) -> Reaction:
        answer = message if received.path.endswith("/messages") else chat
        return Reaction(body=answer(references[received.prompt]))

    with endpoint_server(react) as server:
        spec["teachers"][0]["endpoint"]["url"] = server.url
        spec["student"] = {"model": {"source": str(QUICKSTART / "student")}}
        monkeypatch.setenv(key_variable(spec["teachers"][0]["name"]), "a-key")
        runner = StageRunner(JobFolder(folder, spec), student)
        outcome = runner.run("Prepare", "Generate", "Curate")
    assert len(server.received) == 88
    assert (outcome.summary.kept, outcome.summary.samples, outcome.summary.rejected) == (48, 48, {})

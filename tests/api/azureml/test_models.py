"""The table of model ids: the service's own names, and a user's."""

from pathlib import Path

import pytest

from kubedistill.errors import InvalidManifest
from kubedistill.importers.azureml.models import find_model, load_models, plain_name

# The teachers and students that Azure ML offers, and where they are.
OFFERED = {
    "Meta-Llama-3.1-405B-Instruct": "hf://meta-llama/Llama-3.1-405B-Instruct",
    "Meta-Llama-3-1-405B-Instruct-vkn": "hf://meta-llama/Llama-3.1-405B-Instruct",
    "Meta-Llama-3.1-8B-Instruct": "hf://meta-llama/Llama-3.1-8B-Instruct",
    "Phi-3-mini-4k-instruct": "hf://microsoft/Phi-3-mini-4k-instruct",
    "Phi-3-mini-128k-instruct": "hf://microsoft/Phi-3-mini-128k-instruct",
    "Phi-3-medium-4k-instruct": "hf://microsoft/Phi-3-medium-4k-instruct",
    "Phi-3-medium-128k-instruct": "hf://microsoft/Phi-3-medium-128k-instruct",
    "Phi-3.5-mini-instruct": "hf://microsoft/Phi-3.5-mini-instruct",
    "Phi-3.5-MoE-instruct": "hf://microsoft/Phi-3.5-MoE-instruct",
}


@pytest.mark.parametrize("name", OFFERED)
def test_model_of_the_service_is_known(name: str) -> None:
    found = find_model(name, load_models())
    assert found is not None
    assert found.source == OFFERED[name]


@pytest.mark.parametrize("name", ["", "Phi", "Phi-3", "My-Phi-3-mini-4k-instruct", "Phi-3-mini-4k-instructor"])
def test_other_name_is_not(name: str) -> None:
    assert find_model(name, load_models()) is None


def test_the_longest_name_wins() -> None:
    known = load_models()
    models = {"llama": known[plain_name("DeepSeek-V3")], "llama-8b": known[plain_name("Phi-4-mini-instruct")]}
    found = find_model("Llama.8B.prod", models)
    assert found is models["llama-8b"]


def test_a_table_of_ones_own_adds_lines_and_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(
        "models:\n  oracle: {source: hf://us/oracle, revision: main, tensorParallelSize: 4}\n"
        "  phi_3.5_mini_instruct: {source: phi}\n"
    )
    models = load_models(path)
    assert models["oracle"].tensor_parallel_size == 4
    assert models["phi-3-5-mini-instruct"].source == "phi"
    assert set(load_models()) < set(models)


BAD = {
    "an unknown field": (
        "models:\n  a: {sauce: b}\n",
        "models.yaml:2: models.a.sauce: unknown field `sauce`. Did you mean `source`?",
    ),
    "no source": ("models:\n  a: {}\n", "models.yaml:2: models.a.source: the required field is missing"),
    "a string for a model": ("models:\n  a: b\n", "models.yaml:2: models.a: input should be a valid"),
    "no models": ("a: {source: b}\n", "models.yaml:1: a: unknown field `a`"),
    "none": ("models: {}\n", "models.yaml:1: models: "),
    "nothing": ("", "models.yaml: the file is empty. Write one mapping `models`; docs/migration.md shows one"),
}


@pytest.mark.parametrize("case", BAD)
def test_table_that_is_none_is_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, message = BAD[case]
    monkeypatch.chdir(tmp_path)
    Path("models.yaml").write_text(text)
    with pytest.raises(InvalidManifest) as caught:
        load_models(Path("models.yaml"))
    assert str(caught.value).startswith(message)

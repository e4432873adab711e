"""Put the scripts into the two forms that Argo CD takes: run `python deploy/argocd/build.py` after an edit of one."""

from pathlib import Path

import yaml

HERE = Path(__file__).parent
GROUP, KIND = "kubedistill.io", "DistillationJob"
ACTIONS = ("suspend", "resume", "rerun", "cancel")
HEAD = "# Made by build.py from the scripts in this folder.\n"


class _Writer(yaml.SafeDumper):
    """Writes texts of several lines as blocks, so that they can be read."""


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Writer.add_representer(str, _text)


def files() -> dict[str, str]:
    """The content of each file, by its name."""
    return {"argocd-cm.yaml": HEAD + _dump(config_map()), "argocd-operator.yaml": HEAD + _dump(operator_resource())}


def config_map() -> dict[str, object]:
    """The patch of the ConfigMap that Argo CD reads."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm", "namespace": "argocd"},
        "data": {
            f"resource.customizations.health.{GROUP}_{KIND}": _read("health.lua"),
            f"resource.customizations.actions.{GROUP}_{KIND}": _actions(),
        },
    }


def operator_resource() -> dict[str, object]:
    """The same for the Argo CD operator, which owns that ConfigMap."""
    ours = {"group": GROUP, "kind": KIND}
    return {
        "apiVersion": "argoproj.io/v1beta1",
        "kind": "ArgoCD",
        "metadata": {"name": "argocd", "namespace": "argocd"},
        "spec": {
            "resourceHealthChecks": [{**ours, "check": _read("health.lua")}],
            "resourceActions": [{**ours, "action": _actions()}],
        },
    }


def _actions() -> str:
    definitions = [{"name": name, "action.lua": _read(f"actions/{name}.lua")} for name in ACTIONS]
    return _dump({"discovery.lua": _read("actions/discovery.lua"), "definitions": definitions})


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _dump(values: object) -> str:
    return yaml.dump(values, Dumper=_Writer, sort_keys=False, width=200)


if __name__ == "__main__":
    for name, content in files().items():
        (HERE / name).write_text(content, encoding="utf-8")

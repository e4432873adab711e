"""The chart generator: `make chart` writes the generated files of charts/kubedistill.

values.yaml and values.schema.json come from chart_values, the CRD template from kubedistill.schema.crd, the rules of
the roles from deploy/rbac. README.md gets its table of values between two markers, and Chart.yaml its list of images.
"""

import io
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from chart_values import Values
from kubedistill import __version__
from kubedistill.manifest.settings import Settings
from kubedistill.schema.crd import write_crd

CHART = Path(__file__).parent / "kubedistill"
ROLES = Path(__file__).parents[1] / "deploy" / "rbac"
BEGIN, END = "<!-- values: made by `make chart` -->", "<!-- end of values -->"
_MADE = "# Made by `make chart` from charts/chart_values.py and api/kubedistill/manifest/settings.py.\n"
_READ_BY_TEMPLATES = {
    "Settings": ["port", "rbac", "watchNamespaces"],
    "Rbac": ["createServiceAccounts", "nodes"],
    "Image": ["repository"],
    "DisruptionBudget": ["maxUnavailable"],
    "Rules": ["runbooks"],
    "": ["logLevel"],
}
"""Values that templates require, in addition to whole sections."""
_SINCE_0_1 = {"service"}
"""Sections that the stored values of a release of 0.1 lack, which matters for `helm upgrade --reuse-values`."""
_OPTIONAL_RULES = {
    '- apiGroups: [""]\n  resources: [serviceaccounts]\n  verbs: [get, create]\n': (
        ".Values.settings.rbac.createServiceAccounts"
    ),
    # The stored values of a release of 0.1 lack it, and absent means true.
    '- apiGroups: [""]\n  resources: [events]\n  verbs: [list]\n': (
        'ne (toString .Values.settings.rbac.events) "false"'
    ),
}
"""Rules of the operator's role that depend on a setting, with the condition under which they stay."""

Schema = dict[str, Any]


def files() -> dict[str, str]:
    """Return all generated files, by their path in the chart."""
    return {
        "values.yaml": _MADE + "\n".join(_values_lines(Values(), indent="")) + "\n",
        "values.schema.json": json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
        "templates/crd.yaml": crd_template(),
        "templates/_rules.tpl": rules_template(),
        "Chart.yaml": with_images((CHART / "Chart.yaml").read_text(encoding="utf-8")),
        "README.md": with_table((CHART / "README.md").read_text(encoding="utf-8")),
    }


def images() -> dict[str, str]:
    """Return all images that an installation with default values pulls, by purpose."""
    operator, jobs = Values().image, Settings().images
    return {
        "operator": f"{operator.repository}:{__version__}",
        "runtime": jobs.runtime,
        "runtime-cpu": jobs.runtime_cpu,
    }


def schema() -> Schema:
    """Return the schema of all values; it refuses unknown values.

    In Helm, a value that the user sets to null is absent, so all values that templates read are required.
    """
    found = _plain(Values.model_json_schema())
    settings = Settings.model_json_schema()["$defs"].keys() | {"Settings"}
    for name, definition in {"": found, **found["$defs"]}.items():
        sections = {field for field, node in definition["properties"].items() if "$ref" in node} - _SINCE_0_1
        required = {*_READ_BY_TEMPLATES.get(name, ()), *(() if name in settings else sections)}
        definition["required"] = sorted({*definition.get("required", ()), *required})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def crd_template() -> str:
    """Return the CRD of crds/ as a template, with metadata from the values."""
    stream = io.StringIO()
    write_crd(stream)
    text = stream.getvalue().partition("\n")[2]
    text = re.sub(r"{{|}}", lambda found: f'{{{{ "{found[0]}" }}}}', text)
    metadata = "metadata:\n  name: "
    assert text.count(f"\n{metadata}") == 1, "only the CRD itself has metadata at the margin"
    added = 'metadata:\n  {{- include "kubedistill.crdMetadata" . | nindent 2 }}\n  name: '
    return f"{_MADE}{{{{- if .Values.crds.install }}}}\n{text.replace(metadata, added, 1)}{{{{- end }}}}\n"


def rules_template() -> str:
    """Return the rules of deploy/rbac as templates that depend on the Lease and the settings of a release."""
    rules = {
        name: (ROLES / f"{name}.yaml").read_text(encoding="utf-8").partition("\nrules:\n")[2].strip() + "\n"
        for name in ("operator", "nodes", "namespaces", "lease")
    }
    for rule, condition in _OPTIONAL_RULES.items():
        assert rules["operator"].count(rule) == 1, f"deploy/rbac/operator.yaml has one rule like this: {rule}"
        rules["operator"] = rules["operator"].replace(rule, f"{{{{- if {condition} }}}}\n{rule}{{{{- end }}}}\n")
    namespaces = rules.pop("namespaces")
    rules["operator"] += f"{{{{- if .Values.settings.propagateLabels }}}}\n{namespaces}{{{{- end }}}}\n"
    rules["lease"] = rules["lease"].replace("[kubedistill-operator]", '[{{ include "kubedistill.operator" . }}]')
    blocks = [f'{{{{- define "kubedistill.rules.{name}" -}}}}\n{text}{{{{- end }}}}\n' for name, text in rules.items()]
    return "\n".join(["{{/* Made by `make chart` from deploy/rbac. */}}", *blocks])


def with_images(chart: str) -> str:
    """Return a Chart.yaml with an updated list of images for Artifact Hub."""
    lines = [f"    - name: {name}\n      image: {image}\n" for name, image in images().items()]
    made = "".join(["  artifacthub.io/images: |\n", *lines])
    replaced, count = re.subn(r"^  artifacthub\.io/images: \|\n(    .*\n)+", made, chart, flags=re.MULTILINE)
    assert count == 1, "Chart.yaml has one annotation artifacthub.io/images"
    return replaced


def with_table(readme: str) -> str:
    """Return a README with an updated table of values."""
    before, _, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"README.md contains {BEGIN!r} and {END!r}"
    rows = [f"| `{name}` | {default} | {meaning} |" for name, default, meaning in table(Values())]
    return "\n".join([f"{before}{BEGIN}", "| value | default | meaning |", "|---|---|---|", *rows, f"{END}{after}"])


def table(model: BaseModel, *, at: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (path, default, meaning) of every value; in a path, `<name>` is any key and `[]` any item."""
    for name, field, default in _fields(model):
        inner, step = _items_of(field.annotation)
        if isinstance(default, BaseModel):
            yield from table(default, at=f"{at}{name}.")
            continue
        yield f"{at}{name}", _cell(default), _cell_text(field.description)
        if inner is not None:
            yield from table(inner.model_construct(), at=f"{at}{name}{step}.")


def main() -> None:
    """Write all files."""
    for name, text in files().items():
        (CHART / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{CHART / name}\n")


def _values_lines(model: BaseModel, *, indent: str) -> Iterator[str]:
    """Yield the lines of values.yaml: each field's meaning as a comment, and its default."""
    for name, field, default in _fields(model):
        if field.description:
            yield from (f"{indent}# {line}" for line in field.description.splitlines())
        if default is None:
            yield f"{indent}# {name}:"
        elif isinstance(default, BaseModel):
            yield f"{indent}{name}:"
            yield from _values_lines(default, indent=f"{indent}  ")
        elif isinstance(default, dict | list | tuple) and default:
            yield f"{indent}{name}:"
            yield from (f"{indent}  {line}" for line in _yaml(default).splitlines())
        else:
            yield f"{indent}{name}: {_json(default)}"


def _fields(model: BaseModel) -> Iterator[tuple[str, FieldInfo, Any]]:
    """Yield (name in YAML, field, value) of all fields."""
    for name, field in type(model).model_fields.items():
        yield field.alias or name, field, getattr(model, name, None)  # a required field of an item has no value


def _items_of(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """Return the model of the items of a map or a list, and the placeholder in their name."""
    step = ".<name>" if get_origin(annotation) is dict else "[]"
    models = [one for one in get_args(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
    return (models[0], step) if models else (None, "")


def _cell_text(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _cell(value: Any) -> str:
    return "" if value is None else f"`{_json(value)}`".replace("|", "\\|")


def _json(value: Any) -> str:
    """Return a value on one line that every YAML loader reads the same way."""
    return json.dumps(value, default=list, ensure_ascii=False)


def _yaml(value: Any) -> str:
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(json.loads(_json(value)), stream)
    return stream.getvalue()


def _plain(node: Any) -> Any:
    """Return a schema without titles, which only repeat names, with descriptions on one line and closed maps."""
    if isinstance(node, Mapping):
        closed = {"additionalProperties": False} if "patternProperties" in node else {}
        return closed | {
            key: " ".join(value.split()) if key == "description" and isinstance(value, str) else _plain(value)
            for key, value in node.items()
            if not (key == "title" and isinstance(value, str))
        }
    return [_plain(one) for one in node] if isinstance(node, list) else node


if __name__ == "__main__":
    main()

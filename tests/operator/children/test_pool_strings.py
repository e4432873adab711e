"""Strings of pools: the settings, the chart's schema and what makes pods refuse the same ones, with field and fix."""

import json
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from kubedistill.errors import InvalidPool
from kubedistill.manifest.problems import find_problem
from kubedistill.manifest.settings import Images, Pool, Settings
from kubedistill.stored import read_stored
from kubedistill_operator.children.attempt import build_children, check_children
from support.child_scenarios import ROOT, request_of
from support.pool_strings import AT_BOUNDARY, NAME, ROWS, SCENARIO, values

TEXT = (ROOT / "charts" / "kubedistill" / "values.schema.json").read_text(encoding="utf-8")
SCHEMA = json.loads(TEXT.replace('$"', '\\\\Z"'))
"""To Helm $ is the end of the text; to Python it may stand before a last newline too."""
SETTINGS = jsonschema.Draft202012Validator({"$ref": "#/$defs/Settings", "$defs": SCHEMA["$defs"]})
STORED = [name for name, row in ROWS.items() if row.refused not in AT_BOUNDARY]
READ_BY_TEMPLATES = {"port": 8080, "rbac": {"nodes": True, "createServiceAccounts": True}, "watchNamespaces": []}
LONG = ("a key whose domain has 254 characters", "a resource whose domain has 245 characters")
"""JSON schema has no words for the length of a part."""


def refused_field(settings: dict[str, Any]) -> str:
    try:
        Settings.model_validate_json(json.dumps(settings), by_alias=True, by_name=False)
    except ValidationError as error:
        return find_problem(error, model=Settings).at.removesuffix(".[key]")
    return ""


def is_installed(settings: dict[str, Any]) -> bool:
    return not list(SETTINGS.iter_errors(READ_BY_TEMPLATES | settings))


@pytest.mark.parametrize("name", ROWS)
def test_the_operator_starts_with_no_string_that_kubernetes_refuses(name: str) -> None:
    field = f"pools.{NAME}.{ROWS[name].refused}" if ROWS[name].refused else ""
    assert refused_field({"pools": {NAME: values(ROWS[name])}}) == field


@pytest.mark.parametrize("name", [name for name in ROWS if name not in LONG])
def test_the_chart_installs_no_string_that_kubernetes_refuses(name: str) -> None:
    assert is_installed({"pools": {NAME: values(ROWS[name])}}) is not bool(ROWS[name].refused)


@pytest.mark.parametrize("name", STORED)
def test_f5_a_pool_that_0_1_froze_is_read_and_no_pods_are_made_of_it(name: str) -> None:
    request, row = request_of(SCENARIO), ROWS[name]
    pool = read_stored(Pool, values(row))
    good = {"good": Pool(node_selector={"a": "b"})}
    check = {"namespace": "team-a", "create_service_accounts": True}
    if not row.refused:
        check_children(request.spec, pools={NAME: pool, **good}, **check)
        return
    with pytest.raises(InvalidPool) as caught:
        check_children(request.spec, pools={NAME: pool, **good}, **check)
    assert caught.value.at == f"settings.pools.{NAME}.{row.refused}"
    assert caught.value.fix
    others = request_of("prepare-quickstart")
    assert build_children(others), "a job that does not name the pool"
    check_children(others.spec, pools={NAME: pool, **good}, **check)


@pytest.mark.parametrize(
    ("image", "fine"),
    [
        ("kubedistill/runtime:0.1.0", True), ("registry.example.com:5000/a/b_c/d--e:V1.0_x", True), ("runtime", True),
        (f"a/b@sha256:{'0' * 64}", True), (f"Host.local/b:1@sha256:{'0' * 64}", True), ("localhost/a", True),
        ("a b", False), (" a", False), ("a:", False), ("a:-1", False), ("Registry/Image:1", False), ("a//b", False),
        ("https://a/b", False), ("a@sha256:12", False), ("a:b:c", False), ("a\n", False), ("a/", False),
    ],
)  # fmt: skip
def test_an_image_is_one_that_a_kubelet_can_pull(image: str, fine: bool) -> None:
    values = {"images": {"runtime": image}}
    assert (refused_field(values) == "") is fine
    assert is_installed(values) is fine
    assert read_stored(Images, values["images"]).runtime == image, "a run keeps the one that it was frozen with"


@pytest.mark.parametrize("pool", [{"nodeSelector": {"": "a"}}, {"nodeSelector": {"a" * 400: "b" * 400}}])
def test_f5_what_0_1_took_is_read_however_long_it_is(pool: dict[str, Any]) -> None:
    assert read_stored(Pool, pool).node_selector == pool["nodeSelector"]
    assert refused_field({"pools": {NAME: pool}})

"""docs/permissions.md shows the rights of the roles; tests/cluster/chart/test_rights.py asks a real API server."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from support.chart_sets import Render, of_kind
from support.printed_rights import PAGE, printed_blocks, read_rights

MADE: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "deploy" / "rbac" / "page.py"))
OPERATOR = "The operator in job namespaces"
WITHOUT = {
    "createServiceAccounts": {"get serviceaccounts", "create serviceaccounts"}, "nodes": {"get nodes"},
    "events": {"list events"},
}  # fmt: skip
"""Settings of rbac, and the rights that go where one is false: no others, as the page and docs/platform.md say."""


def rendered(render: Render, *, propagate: tuple[str, ...] = (), **rbac: bool) -> set[str]:
    """Return what the chart's roles let the operator do where jobs are."""
    found = of_kind(render(settings__rbac=rbac, settings__propagateLabels=[*propagate]), "ClusterRole")
    roles = {one["metadata"]["name"]: one["rules"] for one in found}
    rules = [rule for name, rules in roles.items() if name.endswith(("-operator", "-nodes")) for rule in rules]
    return read_rights(MADE["print_rules"](rules))


def test_the_page_is_made_from_the_roles() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert MADE["page"](text) == text, "run `make docs`"
    assert printed_blocks().keys() == MADE["blocks"]().keys()


def test_a_right_that_is_not_in_the_roles_does_not_stay_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert MADE["page"](text.replace("[get create]", "[get create delete]")) == text


def test_the_charts_roles_are_those_of_the_page(render: Render) -> None:
    everybodys = {right for right in read_rights(printed_blocks()[OPERATOR]) if "selfsubject" in right}
    assert rendered(render) == read_rights(printed_blocks()[OPERATOR]) - everybodys


def test_labels_of_namespaces_are_read_only_where_some_are_propagated(render: Render) -> None:
    assert rendered(render, propagate=("team",)) - rendered(render) == {"get namespaces"}
    assert "`settings.propagateLabels` adds `namespaces` (get)" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("setting", WITHOUT)
def test_a_setting_removes_the_permissions_that_the_page_says(setting: str, render: Render) -> None:
    assert rendered(render) - rendered(render, **{setting: False}) == WITHOUT[setting]

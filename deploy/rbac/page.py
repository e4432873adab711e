"""Write the rights of docs/permissions.md anew: run `python deploy/rbac/page.py` after an edit of a role.

What kubectl would print is made from the roles in this folder, and for a driver from the Role that the operator makes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from kubedistill.contract import JobRef, RunRef, StageJob
from kubedistill.manifest.loading import load_manifest
from kubedistill.manifest.settings import Images, Settings
from kubedistill.v1alpha1 import spec_values
from kubedistill_operator.children.access import role
from kubedistill_operator.children.request import ChildRequest

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
PAGE = ROOT / "docs" / "permissions.md"
Rules = Sequence[Mapping[str, Any]]

_HEADS = ("Resources", "Non-Resource URLs", "Resource Names", "Verbs")
_URLS = 36
"""Width of the longest list of URLs that kubectl prints; the page leaves those lines out."""
_EVERYBODY: Rules = (
    {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]},
    {
        "apiGroups": ["authorization.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        "verbs": ["create"],
    },
)
"""What every account may do: ask who it is and what it may."""


def blocks() -> dict[str, Rules]:
    """The rules of each account, by the title above its block."""
    return {
        "The operator in job namespaces": (*_EVERYBODY, *_role("operator"), *_role("nodes")),
        "The operator in its own namespace": (*_EVERYBODY, *_role("lease"), *_role("nodes")),
        "The driver of an attempt": (*_EVERYBODY, *_driver_rules()),
    }


def page(text: str) -> str:
    """The page with its blocks made anew; raises KeyError for a block of an unknown title."""
    found = blocks()

    def block(old: re.Match[str]) -> str:
        return f"{old['before']}{print_rules(found[old['title']])}```\n"

    pattern = r"^(?P<before>## (?P<title>[^\n]+)\n(?:(?!^## ).*\n)*?```\n)Resources .*\n(?:(?!```).*\n)*```\n"
    made, count = re.subn(pattern, block, text, flags=re.MULTILINE)
    assert count == len(found), f"{PAGE.name} has one block for each of {', '.join(found)}"
    return made


def print_rules(rules: Rules) -> str:
    """Rules as `kubectl auth can-i --list` prints them: a line for each resource, whichever rules name it."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for resource, names, verb in (row for rule in rules for row in _rows(rule)):
        verbs.setdefault((resource, names), []).append(verb)
    found = [(resource, "[]", f"[{names}]", f"[{' '.join(all_)}]") for (resource, names), all_ in verbs.items()]
    rows = [_HEADS, *found]
    widths = [max(len(row[0]) for row in rows), _URLS, max(len(row[2]) for row in rows)]
    return "".join(
        "   ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) + "\n"
        for row in rows
    )


def _rows(rule: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(resource with group, names, verb) of all that a rule allows."""
    names = " ".join(rule.get("resourceNames", ()))
    for group, resource, verb in product(rule["apiGroups"], rule["resources"], rule["verbs"]):
        name, slash, subresource = resource.partition("/")
        yield (f"{name}.{group}{slash}{subresource}" if group else resource), names, verb


def _role(name: str) -> Rules:
    rules: Rules = yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))["rules"]
    return rules


def _driver_rules() -> Rules:
    """The rules of the first attempt of a job `support`; what differs from uid to uid is abcde."""
    spec = load_manifest(ROOT / "examples" / "quickstart" / "job.yaml").spec
    stage_job = StageJob(
        job=JobRef(namespace="team-a", name="support", uid="u"),
        run=RunRef(id="1", digest="d"),
        stage="Prepare",
        attempt=1,
        token="",
        frozen_spec=spec_values(spec),
        store="file:///",
        data_root="file:///",
    )
    request = ChildRequest(
        stage_job, pools={}, images=Images(), queue=None, volume_claim=None, settings=Settings(), account="job-driver"
    )
    made: Rules = role(request)["rules"]
    short = request.name.rpartition("-")[2]
    return [
        {**rule, "resourceNames": [name.replace(short, "abcde") for name in rule["resourceNames"]]} for rule in made
    ]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

"""Policy: what the platform forbids, whatever a manifest says."""

import re
from collections.abc import Iterator
from urllib.parse import unquote

from kubedistill.errors import PolicyViolated
from kubedistill.manifest.settings import Policy
from kubedistill.paths import DATASET, HUB_SCHEME, REVISION
from kubedistill.v1alpha1 import DataSource, Spec, StudentModel, TeacherModel

_REVISION = re.compile(rf"^({DATASET}){REVISION}")


def check_policy(spec: Spec, policy: Policy) -> None:
    """Raise PolicyViolated, with the field, for what the policy does not allow."""
    if spec.data.redact is not None and not policy.allow_data_code:
        fix = "Remove it, and redact the data before; or ask the platform team to allow it"
        raise PolicyViolated("policy.allowDataCode is false here", at="spec.data.redact", fix=fix)
    for at, model in _models(spec):
        if model.trust_remote_code and not policy.allow_trust_remote_code:
            fix = "Remove it, and use a model that needs no code of its own"
            raise PolicyViolated("policy.allowTrustRemoteCode is false here", at=f"{at}.trustRemoteCode", fix=fix)
    for at, source in _sources(spec):
        if policy.allowed_sources and not any(_matches(source, one) for one in policy.allowed_sources):
            fix = f"Use one of {', '.join(policy.allowed_sources)}"
            raise PolicyViolated(f"{source!r} is not allowed here", at=at, fix=fix)


def _sources(spec: Spec) -> Iterator[tuple[str, str]]:
    """Yield every source that the policy limits, with its field; data files of the store are not limited."""
    for at, model in _models(spec):
        yield f"{at}.source", model.source
    for index, teacher in enumerate(spec.teachers):
        if teacher.endpoint is not None:
            yield f"spec.teachers[{index}].endpoint.url", teacher.endpoint.address
            if teacher.endpoint.tokenizer is not None:
                yield f"spec.teachers[{index}].endpoint.tokenizer", teacher.endpoint.tokenizer
    for split in ("train", "validation", "test"):
        data: DataSource | None = getattr(spec.data, split)
        if data is not None and data.uri is not None and data.uri.startswith(HUB_SCHEME):
            yield f"spec.data.{split}.uri", data.uri


def _models(spec: Spec) -> Iterator[tuple[str, TeacherModel | StudentModel]]:
    for index, teacher in enumerate(spec.teachers):
        if teacher.model is not None:
            yield f"spec.teachers[{index}].model", teacher.model
    yield "spec.student.model", spec.student.model


def _matches(source: str, allowed: str) -> bool:
    """Return whether a source is the allowed one, or is below it if that one ends as a folder or a scheme does.

    What allows a dataset allows each of its revisions.
    """
    uri = source if ":" in source.partition("/")[0] else f"file:{source}"
    scheme, _, rest = uri.partition(":")
    if allowed in (f"{scheme}:", f"{scheme}://"):
        return True
    if ".." in unquote(rest).split("/"):  # leaves any folder
        return False
    forms = (uri, _REVISION.sub(r"\1", uri))
    return any(one == allowed or (allowed.endswith("/") and one.startswith(allowed)) for one in forms)

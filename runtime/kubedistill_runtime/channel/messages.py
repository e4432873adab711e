"""Messages of a driver: whole in the store, for the record, and shortened to what a ConfigMap may hold.

Each message has at most MESSAGE_BYTES in the ConfigMap, so figures that are too large are left out there.
"""

import json
import logging

from kubedistill.contract import MESSAGE_BYTES, StageProgress, StageResult
from kubedistill.errors import ChannelUnavailable, StorageUnavailable
from kubedistill_runtime.storage.store import Store

log = logging.getLogger(__name__)


def write_record(store: Store, name: str, text: str) -> None:
    """Write a record to the store; if that fails, log it, since the message itself must still be sent."""
    try:
        store.put(name, text.encode())
    except StorageUnavailable as full:
        log.warning("a record was not written", extra={"file": name, "problem": str(full)})


def fit_progress(progress: StageProgress) -> str:
    """Encode progress in at most 16 KiB; figures are left out if there are too many."""
    text = progress.to_json()
    return text if _size(text) <= MESSAGE_BYTES else progress.model_copy(update={"figures": {}}).to_json()


def fit_result(result: StageResult, *, whole: str) -> str:
    """Encode a result in at most 16 KiB; the largest parts of the summary are left out, and then the message.

    `whole` is the path of the whole result. Raises ChannelUnavailable if the artifacts alone are too large.
    """
    parts = sorted((len(json.dumps(value, default=str)), name) for name, value in result.summary.items())
    while (excess := _size(result.to_json()) - MESSAGE_BYTES) > 0 and parts:
        while excess > 0 and parts:
            excess -= parts.pop()[0]
        log.warning("figures do not fit into the result", extra={"whole": whole, "kept": len(parts)})
        result = result.model_copy(update={"summary": {name: result.summary[name] for _, name in parts}})
    if _size(result.to_json()) > MESSAGE_BYTES:
        result = result.model_copy(update={"message": f"too long for the channel; it is in {whole}"[:1024]})
    text = result.to_json()
    if _size(text) > MESSAGE_BYTES:
        raise ChannelUnavailable(f"the result has {_size(text)} bytes, but at most {MESSAGE_BYTES} fit", at=whole)
    return text


def _size(text: str) -> int:
    """Return the size of a string in UTF-8, in bytes."""
    return len(text.encode())

"""One engine for models of one architecture: each loads its weights into the engine of the one before."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from kubedistill.errors import InvalidModel
from kubedistill_runtime.hub import Report, no_report
from kubedistill_runtime.serving.engine import Engine, Engines, Serving, Worked, no_account

log = logging.getLogger(__name__)


class SharedEngine:
    """An engine that stays open for the next model; close() stops it."""

    def __init__(self, engines: Engines) -> None:
        self._engines, self._opened = engines, ExitStack()
        self._engine: Engine | None = None
        self._serving: Serving | None = None

    @contextmanager
    def open(self, serving: Serving, *, report: Report = no_report, worked: Worked = no_account) -> Iterator[Engine]:
        """Yield the engine with a model's weights, as in Engines.open, but it stays open when the context ends."""
        if self._engine is None or not self._load(self._engine, serving):
            self.close()
            self._engine = self._opened.enter_context(self._engines.open(serving, report=report, worked=worked))
        self._serving = serving
        yield self._engine

    def close(self) -> None:
        """Stop the engine, if it is open."""
        self._opened.close()
        self._engine = self._serving = None

    def _load(self, engine: Engine, serving: Serving) -> bool:
        """Return whether the engine has the model's weights now; it can't have them if other settings differ."""
        if self._serving is None or replace(self._serving, model=serving.model) != serving:
            return False
        try:
            engine.load_weights(serving.model)
        except InvalidModel as refused:  # the build can't do that, so the model gets an engine of its own
            log.warning("an engine is started for the other weights", exc_info=refused)
            return False
        return True

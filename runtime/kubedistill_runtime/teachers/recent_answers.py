"""Recent answers: those of an endpoint that are durable, but too few yet for a shard.

`rows/<model key>/recent/<sha of row keys>.parquet` has a few answers each. They are merged into shards of full size. A
shard is published before the files that it replaces are deleted, so a kill leaves every answer in one or in both; what
is in both is deleted at the next start. Readers of shards do not see this folder, so no manifest names its files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kubedistill.canonical import digest
from kubedistill_runtime.answers import Answer, decode_answers, encode_answers
from kubedistill_runtime.teachers.cache import SHARD_ROWS, AnswerCache, shard_errors


@dataclass(slots=True)
class RecentAnswers:
    """The recent answers of one model key, fewer than a shard has."""

    cache: AnswerCache
    _answers: list[Answer] = field(default_factory=list, init=False)
    _names: list[str] = field(default_factory=list, init=False)

    def recover(self) -> None:
        """Publish what a killed driver left as shards, except answers that are in shards already.

        An answer replaces a failure of the endpoint, but not the other way round. Raises StorageUnavailable if a file
        is damaged.
        """
        final, stored = self.cache.find_final(), self.cache.find_answers()
        found: dict[str, Answer] = {}
        names = self.cache.store.names(self._folder)
        for name in names:
            with shard_errors(self.cache.store, name):
                answers = decode_answers(self.cache.store.read(name))
            for answer in answers:
                if answer.row_key not in (stored | found if answer.failed else final):
                    found[answer.row_key] = answer
        self._publish(list(found.values()))
        for name in names:
            self.cache.store.delete(name)

    def add(self, answers: Sequence[Answer]) -> None:
        """Make answers durable: in shards, if there are enough of them, and the rest in a file.

        If it raises, it can be repeated with the same answers.
        """
        together = [*self._answers, *answers]
        full = len(together) // SHARD_ROWS * SHARD_ROWS
        self._publish(together[:full])
        added = []
        if rest := together[full:] if full else answers:
            name = f"{self._folder}/{digest([answer.row_key for answer in rest])}.parquet"
            self.cache.store.put_if_absent(name, encode_answers(rest))
            added.append(name)
        if full:  # the first shard has all answers that were in files
            self._delete_files()
        self._answers = together[full:]
        self._names += added

    def merge(self) -> None:
        """Publish all recent answers as a shard."""
        self._publish(self._answers)
        self._answers = []
        self._delete_files()

    def _publish(self, answers: Sequence[Answer]) -> None:
        for start in range(0, len(answers), SHARD_ROWS):
            self.cache.add(answers[start : start + SHARD_ROWS])

    def _delete_files(self) -> None:
        for name in self._names:
            self.cache.store.delete(name)
        self._names.clear()

    @property
    def _folder(self) -> str:
        return f"rows/{self.cache.key}/recent"

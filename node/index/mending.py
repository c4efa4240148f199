"""What is done about an index whose sums are not the contracts': it is read again until they are, by itself.

Logs that an endpoint kept back or made up once may lie anywhere in years of history. So remedies become dearer one by
one: what came after the last proof is read again, everybody is counted anew, and in the end all logs are read again
beside the rounds and compared with the index, which is taken back to before the first range that differs.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence

from adapters.discovery import fold_logs
from node.index.backfill import FIRST_SPAN, Progress, Watch, next_span
from riskschema.holders import Fold, Known, Log, LogQuery
from riskschema.ports import PinnedReader, ProtocolAdapter
from storage.holder_index import HolderIndex

OFTEN = 4
"""So often what came after the last proof is read again before a dearer remedy is tried: endpoints recover, too."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 600.0, 86_400.0
"""Between two readings of all logs that did not help: the first, then twice as long each time."""


class Mending:
    """The remedies for one index, since it was proved last.

    Args:
        adapter: Of the venue.
        index: Its index.
        start_block: Of the venue.
        clock: Seconds of any origin.
    """

    def __init__(
        self,
        adapter: ProtocolAdapter,
        index: HolderIndex,
        *,
        start_block: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._adapter = adapter
        self._index = index
        self._start_block = start_block
        self._clock = clock
        self.healed()

    def healed(self) -> None:
        """Note that the index was proved."""
        self.reading = False
        """Reading again is what comes next."""
        self._failures = 0
        self._counted = False
        self._right = self._start_block - 1  # up to here all logs are as the chain has them
        self._readings = 0
        self._paused_until = 0.0

    @property
    def pause(self) -> float:
        """Return for how many more seconds nothing is tried, all having been in vain."""
        return max(0.0, self._paused_until - self._clock())

    def begin(self, last_proof: int | None) -> str:
        """Take the next remedy, as far as a round has time for it; return what it is, or why there is none.

        Args:
            last_proof: Block up to which the index was right once, where what came after it can be read again.
        """
        self._failures += 1
        if last_proof is not None and (self._failures <= OFTEN or self.pause):
            self._index.roll_back(last_proof)
            return "what came after the last proof is read again"
        if not self._counted:
            self._counted = True
            self._index.forget_units()
            return "everybody is counted anew"
        if not self.pause:
            self.reading = True
            return "all logs are read again and compared, beside the rounds"
        return (
            f"all logs were read again and are what the endpoints say; they are read another time in "
            f"{self.pause / 60:.0f} minutes: name other endpoints, or see whether start_block is too late"
        )

    async def read_again(self, reader: PinnedReader, watch: Watch) -> None:
        """Compare the index with the logs of the chain; take it back to before the first range that differs.

        What was compared before a failure is not compared again; what follows a difference is read again as in any
        index that is behind.

        Raises:
            TransientError: the endpoint or the disk failed.
        """
        ends = sorted(checkpoint.number for checkpoint in self._index.checkpoints())
        span, seen, known = FIRST_SPAN, 0, self._index.known(at=self._right)
        while ends and self._right < ends[-1]:
            first = self._right + 1
            last = max(ends[bisect_right(ends, self._right)], _before(ends, self._right + span))
            fold, count = await self._fold(reader, known, first, last)
            if self._differs(fold, first, last):
                self._index.roll_back(self._right if self._right >= self._start_block else -1)
                break
            seen += count
            watch(Progress(block=last, target=ends[-1], logs=seen, again=True))
            self._right, known = last, fold.known
            span = next_span(span, last - first + 1, count)
        else:
            self._index.forget_units()
            self._right = self._start_block - 1
        self._rest()

    def _rest(self) -> None:
        """Begin the pause before all is read another time."""
        self.reading = False
        self._paused_until = self._clock() + min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**self._readings)
        self._readings = min(self._readings + 1, 30)

    async def _fold(self, reader: PinnedReader, known: Known, first: int, last: int) -> tuple[Fold, int]:
        count = 0

        async def read(query: LogQuery) -> Sequence[Log]:
            nonlocal count
            found = await reader.logs(addresses=query.addresses, topics=query.topics, from_block=first, to_block=last)
            count += len(found)
            return found

        return await fold_logs(self._adapter, known, read), count

    def _differs(self, fold: Fold, first: int, last: int) -> bool:
        index = self._index
        return fold.known != index.known(at=last) or index.digests_of(fold.touches) != index.digests(first, last)


def _before(ends: Sequence[int], block: int) -> int:
    """Return the last of the ends up to a block; -1: none."""
    place = bisect_right(ends, block)
    return ends[place - 1] if place else -1

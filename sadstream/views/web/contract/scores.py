"""The journal's scores between two moments, a bounded number at a time."""

import json
from contextlib import closing
from pathlib import Path

from sadstream.events import to_json
from sadstream.events.journal import read, unix_s

SCORES, MOST_SCORES = 1000, 10_000  # of one answer


def scores_page(journal: Path, since_s: float, until_s: float, stream: str | None, limit: int) -> str:
    """A JSON object: `scores`, oldest first, and `next`: where to go on `from`, null where there is no more.

    Scores of the same moment are never parted, so that going on there repeats nothing. Raises what `read` raises.
    """
    found: list[str] = []
    last_s, following = 0.0, None
    with closing(read(journal, since_s, until_s, stream)) as scores:
        for score in scores:
            time_s = unix_s(score.time)
            if len(found) >= limit and time_s != last_s:
                following = score.time
                break
            found.append(to_json(score))
            last_s = time_s
    return f'{{"v":1,"scores":[{",".join(found)}],"next":{json.dumps(following)}}}'

"""Tables of loss penalties for tests, with numbers as a test wants them."""

import json
from itertools import product

TINY = "tiny-llama-0.5m"
CUTS = range(4)


def losing(penalty, cuts=CUTS, widths=(16, 8, 4), llm=TINY, topology="vanilla", **more):
    """What a file says in which each row is `penalty(cut, up, down)`, a mean or three numbers."""
    rows = []
    for cut, up, down in product(cuts, widths, widths):
        found = penalty(cut, up, down)
        mean, low, high = found if isinstance(found, tuple) else (found, found, found)
        place = {"cut": cut, "uplink_bits": up, "downlink_bits": down}
        rows.append({**place, "mean": mean, "low": low, "high": high})
    origin = {"kind": "assumed", "source": "Made up for a test."}
    start = {"format": "card-loss-penalty/1", "llm": llm, "topology": topology, "origin": origin}
    return {**start, "penalties": rows, **more}


def penalty_file(path, *arguments, **more):
    """Write such a file, and tell its name."""
    path.write_text(json.dumps(losing(*arguments, **more)), "utf-8")
    return str(path)

"""Tables of leakage for tests, with rates as a test wants them."""

import json
from itertools import product
from typing import get_args

from card.scenario.leakage import Attack

ATTACKS = get_args(Attack)
TINY = "tiny-llama-0.5m"
CUTS = range(4)


def leaking(rate, attacks=ATTACKS, widths=(32, 16, 8, 4), llm=TINY, **more):
    """What a file says in which each rate is `rate(attack, cut, bits)`."""
    rows = [
        {"attack": attack, "cut": cut, "uplink_bits": bits, "rate": value, "low": value, "high": 1}
        for attack, cut, bits in product(attacks, CUTS, widths)
        for value in [rate(attack, cut, bits)]
    ]
    origin = {"kind": "assumed", "source": "Made up for a test."}
    return {"format": "card-leakage/1", "llm": llm, "origin": origin, "rates": rows, **more}


def leakage_file(path, *arguments, **more):
    """Write such a file, and tell its name."""
    path.write_text(json.dumps(leaking(*arguments, **more)), "utf-8")
    return str(path)

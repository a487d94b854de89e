"""`card.llm.closed_forms`: the closed forms of every shipped LLM against the recorded counters."""

import pytest

from card.base.data_files import llm_names
from card.costs import load_scenario
from card.llm.closed_forms import closed_forms, recorded

RECORD = recorded()


def test_every_shipped_llm_is_recorded():
    assert sorted(RECORD["llms"]) == sorted(llm_names())


@pytest.mark.parametrize("name", llm_names())
@pytest.mark.parametrize("count", ["forward_flop", "training_flop", "smashed_bit", "adapter_bit"])
def test_work_and_traffic_are_the_counted_ones(name, count):
    found = RECORD["llms"][name]
    forms = closed_forms(load_scenario(RECORD["scenario"]), name, found["targets"])
    assert forms[count] == found[count]

"""LLMs on paper: dimensions, cost of a block, what every cut asks, and which cuts fit."""

from card.base.llm_configs import public_config
from card.llm.architectures import architecture, architecture_of, llm_costs
from card.llm.blocks import LlmCosts, block_costs, head_cost
from card.llm.cuts import LABEL_BITS, CutProfile, cut_profile
from card.llm.dimensions import Architecture, Block, Experts, Projection
from card.llm.leakage import option_leakage
from card.llm.memory import feasible_cuts
from card.llm.penalties import option_penalty

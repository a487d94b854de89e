"""The Explorer as live controls in Jupyter, where every move runs the solver."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from card.base.errors import extra
from card.book.explorer_page import View, element
from card.book.explorer_panel import telling
from card.costs import Costs
from card.figures.one_decision import explorer as picture
from card.figures.one_decision import round_until
from card.scenario import Scenario
from card.studies.explorer import DELAY_WEIGHTS, FARTHEST_M, explore, ladder
from card.studies.timeline import Step, busy, costs_of

if TYPE_CHECKING:
    from IPython.display import HTML
    from ipywidgets import Output, VBox  # type: ignore[import-untyped]
    from matplotlib.figure import Figure

MOMENTS = 40
"""Steps in which a round is played."""
_LOOK: dict[str, Any] = {"layout": {"width": "32em"}, "style": {"description_width": "9em"}}


def panel(content: Mapping[str, Any], scenario: Scenario, view: View = "whole") -> HTML | VBox:
    """The Explorer of a book's page, or live controls in Jupyter, whose cells load no scripts.

    Parameters
    ----------
    content
        What the page computes with, as `card.book.explorer_page.element` takes it.
    scenario
        What the controls vary.
    view
        What of it stands in the page.
    """
    from IPython.display import HTML

    if "CARD_RESULTS" not in os.environ:
        return controls(scenario)
    return HTML(element(content, view))  # type: ignore[no-untyped-call]


def controls(scenario: Scenario) -> VBox:
    """Live controls for Jupyter: each move draws its decision, and the decision's round plays.

    Parameters
    ----------
    scenario
        What the controls vary.
    """
    with extra("book", "the Explorer"):
        import ipywidgets as widgets

    device, state, weight, band, distance = knobs = _knobs(scenario)
    shown, player = widgets.Output(), _Player()

    def decide(_: object = None) -> None:
        at = [device.value], [state.value], [1e6 * band.value], [distance.value]
        found = explore(scenario, *at, ladder(DELAY_WEIGHTS, [weight.value])).isel(link=0)
        _draw(shown, picture(found, weight.value))
        one = scenario, found, weight.value
        player.load(costs_of(*one), busy(*one))

    for knob in knobs:
        knob.observe(decide, "value")
    decide()
    return widgets.VBox([*knobs, shown, player.box])


def _knobs(scenario: Scenario) -> tuple[Any, ...]:
    """Device, channel state, delay weight, bandwidth [MHz] and distance [m]."""
    import ipywidgets as widgets

    slow: dict[str, Any] = _LOOK | {"continuous_update": False}
    states = list(scenario.channel_states)
    own = {device.name: device.distance_m for device in scenario.devices}
    first = list(own)[telling(scenario)]
    device = widgets.Dropdown(options=list(own), value=first, description="Device", **_LOOK)
    state = widgets.Dropdown(
        options=states, value=states[len(states) // 2], description="Channel state", **_LOOK
    )
    weight = widgets.FloatSlider(
        scenario.objective.delay_weight, min=0, max=1, step=0.01, description="Delay weight", **slow
    )
    band_mhz = scenario.link.bandwidth_hz / 1e6
    band = widgets.FloatLogSlider(
        band_mhz,
        min=min(0.0, float(np.log10(band_mhz))),
        max=max(2.0, float(np.log10(band_mhz))),
        step=0.01,
        description="Bandwidth [MHz]",
        **slow,
    )
    distance = widgets.FloatSlider(
        own[first],
        min=1,
        max=max(FARTHEST_M, *own.values()),
        step=1,
        description="Distance [m]",
        **slow,
    )
    device.observe(lambda change: setattr(distance, "value", own[change.new]), "value")
    return device, state, weight, band, distance


class _Player:
    """Plays the round of a decision, moment by moment."""

    def __init__(self) -> None:
        import ipywidgets as widgets

        play = widgets.Play(max=MOMENTS, interval=400)
        self.moment = widgets.IntSlider(0, max=MOMENTS, readout=False, description="Play the round")
        self.moment.style.description_width = "9em"
        widgets.link((play, "value"), (self.moment, "value"))
        self.moment.observe(self.show, "value")
        self.shown = widgets.Output()
        self.box = widgets.VBox([widgets.HBox([play, self.moment]), self.shown])

    def load(self, costs: Costs, steps: Sequence[Step]) -> None:
        """Take another decision; one that leaves the server idle has no turns to play."""
        self.costs, self.steps = costs, steps
        self.box.layout.display = None if steps else "none"
        self.show()

    def show(self, _: object = None) -> None:
        """Draw the moment that the slider is at."""
        if self.steps:
            end_s = self.steps[-1].start_s + self.steps[-1].duration_s
            now_s = end_s * self.moment.value / MOMENTS
            _draw(self.shown, round_until(self.costs, self.steps, now_s))


def _draw(place: Output, figure: Figure) -> None:
    from IPython.display import clear_output, display

    with place:
        clear_output(wait=True)  # type: ignore[no-untyped-call]
        display(figure)  # type: ignore[no-untyped-call]

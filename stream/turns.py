"""How many sources go through the networks together where the machine is too slow for all of them at once.

Pure arithmetic: whoever runs the steps tells what came of each. Together a batch is a little faster, but every frame
waits for the whole of it; where that makes frames too old, fewer sources share a step, and they take turns.
"""

from __future__ import annotations

CALM_STEPS = 100
"""Full steps without a late frame after which one source more is tried: a trial that fails costs 1 step of 100."""


class Turns:
    """Says how many sources may share a step: all, until frames grow too old on the way.

    The number halves with each step of which a frame came too late, and grows by one after `CALM_STEPS` good ones.
    """

    def __init__(self, sources: int) -> None:
        self.sources_a_step = sources
        self._all = sources
        self._calm = 0

    def saw(self, sources: int, late: int) -> None:
        """Count a step that so many sources shared, and of whose frames so many were too old when it was done."""
        if late:
            self.sources_a_step = max(1, min(sources, self.sources_a_step) // 2)
            self._calm = 0
        elif self.sources_a_step < self._all and sources >= self.sources_a_step:
            self._calm += 1
            if self._calm == CALM_STEPS:
                self.sources_a_step += 1
                self._calm = 0

"""The lanes of a pack that a step computes: those that diverged leave, so that dead lanes cost nothing.

A step is traced for a number of lanes. Fewer take a trace of their own, which takes as long as many steps, so lanes
leave some at a time, and only where the steps that are left repay it. The choice is a function of the shapes and of
which lanes have diverged: a run that is resumed makes it where the first one did.
Shapes: L lanes of a pack, C lanes that are computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.lazy import torch
from bench.training.compile import CPU_CORE, Cost
from bench.training.lane import Lane, LaneProgram
from bench.training.lanes import StackedProgram, knob_tensors
from bench.training.pack import Pack
from bench.training.tree import copy_tensors, map_tensors

if TYPE_CHECKING:
    from torch import Tensor

LEAST_SHARE = 0.25  # of the computed lanes: fewer that diverged stay until others have, too
# Of a step on one core; with it those of observations and evaluations are traced.
TRACE_SECONDS_PER_OPERATION = 4e-3


class Living:
    """lanes, knobs (C, ...) and stacked: what is computed, and by what. places_C: where its lanes are in the pack."""

    def __init__(self, program: LaneProgram, pack: Pack, *, device: torch.device, dtype: torch.dtype) -> None:
        """All lanes of the pack, before their first step."""
        self._all_stacked = self.stacked = StackedProgram.of(program, pack, device)
        self._all_knobs = self.knobs = knob_tensors(pack, dtype, device)
        self._all_lanes = self.lanes = self.stacked.start(pack, self.knobs["init_scale"])  # stale where lanes are fewer
        self.places_C = self._all_places_L = torch.arange(len(pack.trials), device=device)
        self._costs: dict[int, Cost] = {}  # of a step, by its number of lanes

    @property
    def is_whole(self) -> bool:
        """Whether all lanes of the pack are computed."""
        return len(self.places_C) == len(self._all_places_L)

    @property
    def num_living(self) -> int:
        """Number of lanes that have not diverged."""
        return int(self.lanes["alive"].sum())

    def whole(self) -> Lane:
        """All lanes of the pack, (L, ...): what left is as it was when it diverged."""
        return self.lanes if self.is_whole else _scattered(self._all_lanes, self.lanes, self.places_C)

    def placed(self, values_C: Tensor) -> Tensor:
        """(L, ...) from (C, ...), in memory of its own; of lanes that left NaN, or 0 of whole numbers."""
        missing = torch.nan if values_C.is_floating_point() else 0
        values_L = values_C.new_full((len(self._all_places_L), *values_C.shape[1:]), missing)
        return values_L.index_copy_(0, self.places_C, values_C)

    def is_computed(self) -> Tensor:
        """(L,), whether a step computes a lane."""
        return torch.isin(self._all_places_L, self.places_C)

    def leave_where_it_pays(self, step_cost: Callable[[], Cost], *, calls_left: int) -> bool:
        """Go on without the lanes that diverged where what they would still take exceeds the time of tracing anew.

        step_cost: of a step of all computed lanes, which is called `calls_left` times more; asked where many diverged.
        Whether they left: then all that is computed is in tensors of its own, to be traced anew.
        """
        num_computed, num_living = len(self.places_C), self.num_living
        if not 0 < num_living <= (1 - LEAST_SHARE) * num_computed:
            return False
        if num_computed not in self._costs:
            self._costs[num_computed] = step_cost()
        step = self._costs[num_computed]
        saved_s = calls_left * step.work_seconds(CPU_CORE) * (1 - num_living / num_computed)
        if saved_s <= step.num_operations * TRACE_SECONDS_PER_OPERATION:
            return False
        self._compute(self.whole(), self.places_C[self.lanes["alive"]])
        return True

    def freeze(self, where_L: Tensor) -> None:
        """These lanes, of those that are computed, train no more, in place."""
        self.lanes["alive"].logical_and_(~where_L.to(self.places_C.device)[self.places_C])

    def load(self, lanes: Lane, is_computed_L: Tensor) -> bool:
        """Go on with these lanes, (L, ...), of which some are computed; whether that took tensors of their own."""
        places_C = self._all_places_L[is_computed_L.to(self._all_places_L.device)]
        lanes = map_tensors(lanes, lambda t: t.to(places_C.device))
        if not torch.equal(places_C, self.places_C):
            self._compute(lanes, places_C)
            return True
        copy_tensors(self.lanes, _gathered(lanes, places_C))
        if not self.is_whole:
            self._all_lanes = lanes
        return False

    def _compute(self, all_lanes: Lane, places_C: Tensor) -> None:
        self._all_lanes, self.places_C = all_lanes, places_C
        self.lanes, self.knobs = (_gathered(tree, places_C) for tree in (all_lanes, self._all_knobs))
        self.stacked = self._all_stacked.only(places_C)


def _gathered(tree: Any, places_C: Tensor) -> Any:
    """Of tensors (L, ...) those of some lanes, (C, ...)."""
    return map_tensors(tree, lambda t: t.index_select(0, places_C))


def _scattered(tree: Any, computed: Any, places_C: Tensor) -> Any:
    """Tensors (L, ...) with those of some lanes, (C, ...), in their places."""
    if isinstance(tree, dict):
        return {name: _scattered(branch, computed[name], places_C) for name, branch in tree.items()}
    return tree.index_copy(0, places_C, computed)

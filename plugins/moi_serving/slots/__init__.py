"""Tables by request slot and what a step does with them. `slots_of` chooses the variant for a device."""

from __future__ import annotations

from moi import MoIConfig
from moi.kernels import IMPLEMENTATIONS
from moi_serving.embedding import Mixer
from moi_serving.slots.base import Slots
from moi_serving.slots.tables import Tables


def slots_of(tables: Tables, moi: MoIConfig, mixer: Mixer) -> Slots:
    """The variant for the tables' device."""
    device = tables.mixtures.device
    if device.type == "cuda":
        from moi_serving.slots.cuda import GPUSlots

        return GPUSlots(tables, moi, mixer)
    if IMPLEMENTATIONS["numba"].unavailable(device) is None:
        from moi_serving.slots.cpu import CPUSlots

        return CPUSlots(tables, moi, mixer)
    return Slots(tables, moi, mixer)

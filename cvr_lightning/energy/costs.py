"""Energy per operation: tables from the literature, or custom ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

CostTableName = Literal["45nm-fp32", "45nm-fp16", "45nm-int8"]


@dataclass(frozen=True)
class CostTable:
    """Energy of one operation in picojoules, and the source of the numbers.

    Attributes:
        mac_pj: Energy of a multiply-accumulate.
        ac_pj: Energy of an accumulate.
        source: Source of the two.
        memory_pj_per_byte: Energy to read or write one byte of weights and states; the default is the 3.12 pJ
            per bit of STEP, which spikingjelly (2.0) uses too.
    """

    mac_pj: float
    ac_pj: float
    source: str
    memory_pj_per_byte: float = 24.96


_HOROWITZ = "M. Horowitz, Computing's energy problem, ISSCC 2014, 45 nm"
COST_TABLES: dict[CostTableName, CostTable] = {
    "45nm-fp32": CostTable(mac_pj=4.6, ac_pj=0.9, source=f"{_HOROWITZ}, 32-bit floating point"),
    "45nm-fp16": CostTable(mac_pj=1.5, ac_pj=0.4, source=f"{_HOROWITZ}, 16-bit floating point"),
    "45nm-int8": CostTable(mac_pj=0.23, ac_pj=0.03, source=f"{_HOROWITZ}, 8-bit integers"),
}
"""Built-in tables by name."""


def cost_table(costs: CostTableName | CostTable) -> CostTable:
    """Return the named table, or a custom table unchanged.

    Raises:
        ValueError: The name is unknown, or an energy is negative.
    """
    if isinstance(costs, CostTable):
        if min(costs.mac_pj, costs.ac_pj, costs.memory_pj_per_byte) < 0:
            raise ValueError(f"energies must not be negative: {costs}")
        return costs
    if costs not in COST_TABLES:
        raise ValueError(f"unknown cost table {costs!r}; choose one of {get_args(CostTableName)}")
    return COST_TABLES[costs]


def co2_grams(joules: float, grams_per_kwh: float) -> float:
    """Grams of CO2 equivalent of an energy, by the carbon intensity of its electricity."""
    return joules / 3.6e6 * grams_per_kwh

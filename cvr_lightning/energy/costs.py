"""Energy per operation: tables from the literature, or custom ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

CostTableName = Literal["45nm-fp32", "45nm-fp16", "45nm-int8"]


@dataclass(frozen=True)
class CostTable:
    """Energy of one operation in picojoules, and the source of the numbers."""

    mac_pj: float
    ac_pj: float
    source: str


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
        if min(costs.mac_pj, costs.ac_pj) < 0:
            raise ValueError(f"energies must not be negative: {costs}")
        return costs
    if costs not in COST_TABLES:
        raise ValueError(f"unknown cost table {costs!r}; choose one of {get_args(CostTableName)}")
    return COST_TABLES[costs]

"""Energy of one operation: tables from the literature, or a user's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

CostTableName = Literal["45nm-fp32", "45nm-fp16", "45nm-int8"]


@dataclass(frozen=True)
class CostTable:
    """Energy of one operation in picojoules, and where the figures come from."""

    mac_pj: float
    ac_pj: float
    source: str


_HOROWITZ = "M. Horowitz, Computing's energy problem, ISSCC 2014, 45 nm"
COST_TABLES: dict[CostTableName, CostTable] = {
    "45nm-fp32": CostTable(mac_pj=4.6, ac_pj=0.9, source=f"{_HOROWITZ}, 32-bit floating point"),
    "45nm-fp16": CostTable(mac_pj=1.5, ac_pj=0.4, source=f"{_HOROWITZ}, 16-bit floating point"),
    "45nm-int8": CostTable(mac_pj=0.23, ac_pj=0.03, source=f"{_HOROWITZ}, 8-bit integers"),
}
"""The tables that come with the package, by name."""


def cost_table(costs: CostTableName | CostTable) -> CostTable:
    """The table of this name, or the user's own as it is.

    Raises:
        ValueError: For an unknown name, listing those there are; for a negative energy.
    """
    if isinstance(costs, CostTable):
        if min(costs.mac_pj, costs.ac_pj) < 0:
            raise ValueError(f"an operation cannot give energy back: {costs}")
        return costs
    if costs not in COST_TABLES:
        raise ValueError(f"unknown cost table {costs!r}; choose one of {get_args(CostTableName)}")
    return COST_TABLES[costs]

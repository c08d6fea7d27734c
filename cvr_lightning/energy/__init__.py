"""Operations, spikes and joules: counting, cost tables, hardware counters.

Knows the models.
"""

"""Kernels that compare coded order and display order."""

from __future__ import annotations

from cvr_lightning.codec.bitstream.kernels import kernel


@kernel
def reorder_delayed(bidirectional, times, order):  # type: ignore[no-untyped-def]
    """Fill the display order where each I- or P-frame is shown when the next one is decoded.

    B-frames are shown at once; those that lack a reference are dropped. Returns the number of frames, -1 if a
    B-frame does not lie between its references.
    """
    count, past, last = 0, -1, -1
    for n in range(len(times)):
        if not bidirectional[n]:
            if last >= 0:
                order[count] = last
                count += 1
            past, last = last, n
        elif past >= 0:
            if not times[past] < times[n] < times[last]:
                return -1
            order[count] = n
            count += 1
    if last >= 0:
        order[count] = last
        count += 1
    return count


@kernel
def reorder_depth(times, ordered, most):  # type: ignore[no-untyped-def]
    """The maximum number of frames that precede a frame in coded order and follow it in display order.

    Counting stops above ``most``. ``ordered`` is of the size of ``times``, for sorting.
    """
    depth = 0
    for n in range(len(times)):
        k = n
        while k > 0 and ordered[k - 1] > times[n]:
            ordered[k] = ordered[k - 1]
            k -= 1
        ordered[k] = times[n]
        depth = max(depth, n - k)
        if depth > most:
            break
    return depth

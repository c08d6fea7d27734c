"""Named evaluation protocols of the field: which views of each video are scored and averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from cvr_lightning.datamodules.sampling import ClipSampling

ProtocolName = Literal["coviar", "1x1", "1x3", "2x3", "4x3", "5x1", "5x3", "10x3"]
Crops = Literal[1, 3, 5, 10]


class Protocol(NamedTuple):
    """Views of a video in a test.

    Attributes:
        views: Temporal views.
        crops: Spatial views per temporal view.
        segments: Windows per clip; None for those of training.
    """

    views: int = 1
    crops: Crops = 1
    segments: int | None = None


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "coviar": Protocol(views=1, crops=10, segments=25),  # UCF-101, HMDB-51
    "1x1": Protocol(views=1, crops=1),
    "1x3": Protocol(views=1, crops=3),  # Something-Something v2; Kinetics
    "2x3": Protocol(views=2, crops=3),  # Something-Something v2
    "4x3": Protocol(views=4, crops=3),  # Kinetics
    "5x1": Protocol(views=5, crops=1),  # Kinetics
    "5x3": Protocol(views=5, crops=3),  # UCF-101, HMDB-51; Kinetics
    "10x3": Protocol(views=10, crops=3),  # Kinetics
}
"""Temporal x spatial views, and the data sets they are reported on."""


def choose_protocol(name: ProtocolName | None, views: int, crops: Crops) -> Protocol:
    """Return the named protocol, or one with these numbers if no name is given.

    Raises:
        ValueError: The name is unknown, or contradicts a number.
    """
    if name is None:
        return Protocol(views, crops)
    if name not in PROTOCOLS:
        raise ValueError(f"protocol={name!r} is not known; choose one of {', '.join(get_args(ProtocolName))}")
    protocol = PROTOCOLS[name]
    for option, given, meant in (("views", views, protocol.views), ("crops", crops, protocol.crops)):
        if given not in (1, meant):
            raise ValueError(
                f"protocol={name!r} sets {option}={meant}, contradicting {option}={given}: "
                f"leave {option} out, or the protocol"
            )
    return protocol


def evaluation_of(sampling: ClipSampling) -> dict[str, Any]:
    """How a video is evaluated, for results.json; ``clips`` is the number of clips per video."""
    return {
        "segments": sampling.segments,
        "pframes": 0 if sampling.representation == "rgb" else sampling.pframes,
        "representation": sampling.representation,
        "modalities": list(sampling.modalities),
        "views": sampling.views,
        "crops": sampling.crops,
        "clips": sampling.views * sampling.crops,
        "size": list(sampling.size),
        "crop": sampling.crop,
    }

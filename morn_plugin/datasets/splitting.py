"""Sides of a split, drawn from nothing but the content.

The same data give the same split on every machine, in any order and under any names, and adding an
image does not move any other.
"""

import hashlib
from collections.abc import Sequence


def assign_sides(
    digests: Sequence[bytes],
    groups: Sequence[int],
    salt: str,
    share: float,
) -> list[bool]:
    """Draw a side for every group from its content alone.

    Args:
        digests: Content hash of each of N pictures. Copies count once.
        groups: Group of each.
        salt: Name of the draw; different names draw independently.
        share: Expected share of groups on the first side, 0-1.

    Returns:
        N times true for the first side; equal within a group.
    """
    draws = draw_groups(digests, groups, salt)
    return [draws[group] < share for group in groups]


def draw_groups(
    digests: Sequence[bytes],
    groups: Sequence[int],
    salt: str,
) -> dict[int, float]:
    """Draw a number in [0, 1), evenly, for every group; see :func:`assign_sides`."""
    members: dict[int, set[bytes]] = {}
    for digest, group in zip(digests, groups, strict=True):
        members.setdefault(group, set()).add(digest)
    return {
        group: fraction_of(salt.encode() + b''.join(sorted(content)))
        for group, content in members.items()
    }


def fraction_of(content: bytes) -> float:
    """Spread contents evenly over 0 (with it) to 1 (without it)."""
    return int.from_bytes(hashlib.sha256(content).digest()[:6], 'big') / 2**48

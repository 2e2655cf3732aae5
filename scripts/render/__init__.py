"""Renders product pictures whose truth is known: colors, masks, patterns, cut, skin, background.

Tests of masks and colors need pictures with exact answers; photographed sets carry only what a shop wrote.
The way of a picture: ``plan`` (what to show) -> ``picture`` (which pieces) -> ``relief`` and ``fabric``
(how a piece looks) -> ``scene`` (background, shadow, camera) -> ``files`` (picture, masks, truth, manifest).
"""

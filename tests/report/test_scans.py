"""The picture of what labelled scans are worth."""

from __future__ import annotations

import matplotlib.image

from mots_pretrained.report.scans import ScansPoint, draw_scans


def test_two_lines_and_the_interval_s_bars(tmp_path):
    nan = float("nan")
    points = [ScansPoint(1, 0.3, 0.1, nan, nan), ScansPoint(4, 0.6, 0.2, 0.3, 0.5)]
    bare = [point._replace(low=nan, high=nan) for point in points]
    sizes = []
    for name, drawn in (("a", points), ("b", bare)):
        draw_scans(drawn, tmp_path / f"{name}.png")
        picture = matplotlib.image.imread(tmp_path / f"{name}.png")[..., :3]
        found = [
            int((abs(picture * 255 - colour).max(axis=2) < 8).sum())
            for colour in ((0x4D, 0xA3, 0xFF), (0xFF, 0x9F, 0x45))
        ]
        assert min(found) > 100
        sizes.append(found[0])
    assert sizes[0] > sizes[1]  # a bar where the interval is known

"""Great vessels of chest and abdomen, and trees that branch inside liver and lungs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mots_pretrained.phantom.canvas import Canvas
from mots_pretrained.phantom.freedom import Freedom
from mots_pretrained.phantom.organs import Organs
from mots_pretrained.phantom.solids import Tubes, points_inside, spline_points, tube


def grow_tree(
    rng: np.random.Generator,
    trunk: ArrayLike,
    targets: NDArray[np.float64],
    leaf_radius: float,
    root_radius: float,
) -> Tubes:
    """A tree that feeds every target, its radii by Murray's law.

    Args:
        rng: Source of the branches' crookedness.
        trunk: ``(n, 3)`` points of the stem, root first.
        targets: ``(m, 3)`` points to reach.
        leaf_radius: Radius of the last branches, in millimetres.
        root_radius: No branch is wider.
    """
    nodes = [np.asarray(t, dtype=float) for t in np.asarray(trunk, dtype=float)]
    parent = [-1, *range(len(nodes) - 1)]
    root = nodes[0]
    order = np.argsort(np.linalg.norm(targets - root, axis=1))
    for i in order:
        target = targets[i]
        at = np.array(nodes)
        # Join the nearest branch, rather one that comes from the root's side.
        reach = np.linalg.norm(at - target, axis=1)
        ahead = np.linalg.norm(at - root, axis=1)
        choice = int(np.argmin(reach + 0.35 * ahead))
        base = nodes[choice]
        length = reach[choice]
        middle = (base + target) / 2 + rng.normal(0, 0.12 * length + 0.1, 3)
        nodes += [middle, target]
        parent += [choice, len(nodes) - 2]
    leaves = np.zeros(len(nodes))
    has_child = np.zeros(len(nodes), dtype=bool)
    has_child[[p for p in parent if p >= 0]] = True
    leaves[~has_child] = 1
    for i in range(len(nodes) - 1, 0, -1):
        leaves[parent[i]] += leaves[i]
    radius = np.minimum(leaf_radius * np.maximum(leaves, 1) ** (1 / 2.5), root_radius)
    child = np.arange(1, len(nodes))
    up = np.array(parent[1:], dtype=int)
    at = np.array(nodes)
    return Tubes(at[up], at[child], radius[child], radius[child])


class Vessels:
    """One person's great vessels; the shifts of paired vessels hang together."""

    def __init__(self, free: Freedom) -> None:
        rng = free.rng
        wide = float(np.exp(rng.normal(0, 0.14)))
        self.aorta = free.path(
            [
                [138, -84, -6, 16],
                [190, -86, -16, 16],
                [220, -72, -8, 15],
                [228, -46, 10, 13.5],
                [206, -24, 22, 13],
                [150, -18, 24, 12],
                [70, -28, 16, 11.5],
                [0, -46, 8, 10.5],
                [-50, -54, 6, 9.5],
                [-92, -54, 2, 9],
            ],
            2.0,
            0.0,
        )
        if rng.random() < 0.06:  # aneurysm
            self.aorta[8, 3] *= rng.uniform(1.5, 2.4)
        self.cava = free.path(
            [
                [-96, -42, -18, 10 * wide],
                [-40, -48, -24, 11 * wide],
                [10, -52, -27, 11.5 * wide],
                [60, -54, -29, 12.5 * wide],
                [92, -66, -32, 13 * wide],
                [118, -78, -38, 14],
            ],
            2.0,
            0.0,
        )
        self.cava_flat = float(rng.uniform(0.65, 1.0))
        end_a, end_v = self.aorta[-1, :3], self.cava[0, :3]
        self.iliacs = [
            [
                [*end, radius + 1],
                [-132, y, sign * 26 + end[2] * 0.4, radius],
                [-200, y - 4, sign * 46, radius],
                [-262, y - 28, sign * 72, radius - 0.5],
                [-340, y - 52, sign * 92, radius - 1],
                [-450, y - 55, sign * 100, radius - 1],
            ]
            for end, y, radius in ((end_a, -52, 5.5), (end_v, -40, 7))
            for sign in (-1.0, 1.0)
        ]
        self.lift = free.lift

    def paint(self, canvas: Canvas, organs: Organs, rng: np.random.Generator) -> None:
        """Arteries and veins of the abdomen."""
        for path in self.iliacs[2:]:
            canvas.draw(tube(path, 32.0), "vein")
        for path in self.iliacs[:2]:
            canvas.draw(tube(path, 32.0), "artery")
        canvas.draw(tube(self.cava, 14.0), "vein", "inferior_vena_cava")
        self._renal(canvas, organs)
        self._mesenteric(canvas, organs, rng)
        aorta = tube(self.aorta, 14.0)
        canvas.draw(aorta, "artery", "aorta")
        if rng.random() < 0.35:  # calcified wall
            for i in rng.integers(0, len(aorta.start), 8):
                way = rng.normal(size=3)
                way[0] *= 0.3
                spot = aorta.start[i] + way / np.linalg.norm(way) * aorta.start_radius[i]
                canvas.draw(
                    tube([[*spot, 1.6], [*(spot + rng.normal(0, 3, 3)), 1.2]], 6.0), "calcium"
                )

    def _renal(self, canvas: Canvas, organs: Organs) -> None:
        for side in organs.kidneys.here():
            sinus, sign = organs.kidneys.sinuses[side], (-1.0, 1.0)[side]
            centre: list[float] = ((sinus.low + sinus.high) / 2).tolist()
            artery = [[-14, -50, 7 + sign * 8, 3], [-20, -38, sign * 34, 2.8], [*centre, 2.2]]
            front = -62 if sign > 0 else -46
            vein = [[-10, -50, -18, 5], [-14, front, sign * 18, 4.6], [*centre, 3.8]]
            canvas.draw(tube(np.array(artery), 12.0), "artery")
            canvas.draw(tube(np.array(vein), 12.0), "vein")
            ureter = [
                [*centre, 2.0],
                [-60, -34, sign * 40, 1.6],
                [-150, -56, sign * 46, 1.6],
                [-240, -20, sign * 34, 1.6],
            ]
            canvas.draw(tube(np.array(ureter), 24.0), "urine")

    def _mesenteric(self, canvas: Canvas, organs: Organs, rng: np.random.Generator) -> None:
        lift = 0.6 * self.lift
        neck, tail = organs.pancreas_path[2, :3], organs.pancreas_path[-1, :3]
        confluence = neck + [-4, 12, 1]
        # The splenic vein runs behind the pancreas to the spleen.
        behind = organs.pancreas_path[3:, :3] + [2, 11, 0]
        gate = (organs.spleen.low + organs.spleen.high) / 2 + [0, -14, -20]
        splenic = np.array([confluence, *behind, gate])
        canvas.draw(
            tube(np.c_[splenic, [4.8, *[4.4] * len(behind), 3.2]], 10.0),
            "portal_vein",
            "portal_and_splenic_vein",
        )
        way = (confluence + organs.hilum) / 2 + [0, 4, 0]
        trunk = [[*confluence, 6.4], [*way, 6.8], [*organs.hilum, 6.2]]
        canvas.draw(tube(trunk, 8.0), "portal_vein", "portal_and_splenic_vein")
        stem = np.array([confluence, [-50 + lift, -80, -8], [-95, -88, -14]])
        canvas.draw(tube(np.c_[stem, [5.4, 5, 4]], 14.0), "portal_vein")
        supply = np.array(
            [[4 + lift, -58, 6], [-24 + lift, -74, 3], [-60, -84, 0], [-105, -92, -8]]
        )
        canvas.draw(tube(np.c_[supply, [4, 3.6, 3.2, 2.6]], 12.0), "artery")
        celiac = np.array([[16 + lift, -56, 7], [20 + lift, -72, 4]])
        gates = (organs.hilum, tail + [4, 6, 0])
        for gate in gates:
            bow = (celiac[-1] + gate) / 2 + rng.normal(0, 5, 3)
            path = np.array([*celiac, bow, gate])
            canvas.draw(tube(np.c_[path, [3.4, 3.2, 2.6, 2]], 9.0), "artery")
        # Mesentery: a fan of small vessels into the fat before the spine.
        fan = rng.uniform((-215, -125, -90), (-20, -58, 95), (70, 3))
        for painted in canvas.trace(grow_tree(rng, stem, fan, 1.2, 3.5)):
            canvas.confine(painted, ("",))
            canvas.fill(painted, "portal_vein")
        nodes = rng.uniform((-190, -110, -70), (-10, -60, 80), (9, 3))
        sizes = rng.uniform(1.5, 4.0, 9)
        canvas.draw(Tubes(nodes, nodes + rng.normal(0, 4, (9, 3)), sizes, sizes), "lymph")


def paint_liver_vessels(
    canvas: Canvas, organs: Organs, vessels: Vessels, rng: np.random.Generator
) -> None:
    """Portal and hepatic venous trees within the liver."""
    inlet = organs.hilum
    right, left = inlet + [8, 0, -34], inlet + [14, -22, 30]
    goals = points_inside(rng, organs.liver, 68, 6.0)
    if len(goals) < 8:
        return
    cava = spline_points(vessels.cava, 6.0)
    mouth = cava[np.argmin(np.abs(cava[:, 0] - min(organs.liver.high[0] - 14, 78))), :3]
    half = len(goals) // 2
    portal, veins = goals[:half], goals[half:]
    trees = []
    is_right = portal[:, 2] < inlet[2] - 4
    for stem, group in ((right, portal[is_right]), (left, portal[~is_right])):
        trunk = spline_points(
            np.array([inlet, (inlet + stem) / 2 + rng.normal(0, 2, 3), stem]), 12.0
        )
        trees.append(grow_tree(rng, trunk, group, 1.6, 6.0))
    angle = np.arctan2(-(veins[:, 1] - mouth[1]), -(veins[:, 2] - mouth[2]))
    for lower, upper in ((-4, 0.75), (0.75, 1.5), (1.5, 4)):
        group = veins[(angle >= lower) & (angle < upper)]
        if len(group):
            trees.append(
                grow_tree(
                    rng, np.array([mouth, mouth + (group.mean(0) - mouth) * 0.35]), group, 1.35, 5.0
                )
            )
    for tree in trees:
        for painted in canvas.trace(tree):
            canvas.confine(painted, ("liver", "hepatic_vessel"))
            canvas.fill(painted, "hepatic_vessel", "hepatic_vessel")

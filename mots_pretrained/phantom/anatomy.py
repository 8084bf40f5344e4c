"""One patient: everything inside the body, drawn before it is painted on any grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.phantom.body import Body, Person
from mots_pretrained.phantom.bowel import Bowel, paint_gullet, paint_pelvic_organs
from mots_pretrained.phantom.canvas import Canvas, random_fields
from mots_pretrained.phantom.deposits import paint_deposits
from mots_pretrained.phantom.freedom import Freedom
from mots_pretrained.phantom.kidneys import NAMES as KIDNEYS
from mots_pretrained.phantom.kidneys import paint_kidneys, paint_renal_fat
from mots_pretrained.phantom.lesions import draw_lesions, paint_lesions
from mots_pretrained.phantom.muscles import paint_buttocks, paint_muscles
from mots_pretrained.phantom.organs import (
    draw_organs,
    measure_stomach,
    paint_gallbladder,
    paint_spleen,
    paint_stomach,
)
from mots_pretrained.phantom.skeleton import Spine, paint_pelvis
from mots_pretrained.phantom.solids import rotation
from mots_pretrained.phantom.space import Lattice, Pose
from mots_pretrained.phantom.thorax import Thorax
from mots_pretrained.phantom.vessels import Vessels, paint_liver_vessels


class Anatomy:
    """A patient's anatomy and posture.

    Attributes:
        person: Build.
        pose: From the scanner's to the patient's millimetres.
        uneven: Smooth fields (coarse, medium, fine) for surfaces and textures.
    """

    def __init__(
        self, rng: np.random.Generator, lesions: tuple[str, ...], randomise: float
    ) -> None:
        strength = 1.0 + 0.8 * randomise
        self.person = Person.draw(rng, randomise)
        self.pose = _pose(rng, strength)
        self.uneven = random_fields(rng)
        self.body = Body(rng, self.person)
        self.free = Freedom(rng, 1.15 * strength, self.person.breath)
        self.spine = Spine(rng, randomise)
        self.organs = draw_organs(self.free, self.body)
        self.bowel = Bowel(self.free, self.organs, self.person)
        self.thorax = Thorax(self.free, self.body)
        self.vessels = Vessels(self.free)
        self.gullet = self.thorax.gullet(self.free, self.organs.stomach_path[1, :3] + [2, -6, -22])
        self.lesions = draw_lesions(rng, lesions, self.organs, self.bowel, self.thorax)
        self.strength = strength

    def heights(self, z: float) -> float:
        """The scanner's height of a height in the patient."""
        return float(self.pose.to_scanner(np.array([[z, -45.0, 0.0]]))[0, 0])

    def find(self, name: str, rng: np.random.Generator) -> NDArray | None:
        """A point of a named structure in the scanner's millimetres; None if it isn't there."""
        lesions = [lesion.centre for lesion in self.lesions if lesion.kind == name]
        organs = self.organs
        if lesions:
            point = lesions[int(rng.integers(len(lesions)))]
        elif name in ("liver", "hepatic_vessel", "spleen", "stomach", "pancreas"):
            solid = organs.liver if name == "hepatic_vessel" else getattr(organs, name)
            point = (solid.low + solid.high) / 2
        elif name in KIDNEYS:
            solid = organs.kidneys.parenchyma[KIDNEYS.index(name)]
            if not organs.kidneys.present[KIDNEYS.index(name)]:
                return None
            point = (solid.low + solid.high) / 2
        elif name in ("right_adrenal_gland", "left_adrenal_gland"):
            point = organs.adrenals[name == "left_adrenal_gland"].start[0]
        elif name == "gallbladder" and organs.gallbladder is not None:
            point = (organs.gallbladder.low + organs.gallbladder.high) / 2
        else:
            paths = {
                "colon": self.bowel.colon,
                "aorta": self.vessels.aorta[4:],
                "inferior_vena_cava": self.vessels.cava,
                "esophagus": self.gullet,
                "portal_and_splenic_vein": organs.pancreas_path,
                "duodenum": self.bowel.duodenum,
                "small_bowel": self.bowel.loops[0],
                "lung": np.array([[120.0, -30, -75], [150, -30, 75]]),
                "heart": self.thorax.heart_at[None],
                "bladder": np.array([[-245.0, -44, 0]]),
            }
            path = paths.get(name)
            if path is None:
                return None
            point = path[int(rng.integers(len(path))), :3]
        return self.pose.to_scanner(np.asarray(point, dtype=float)[None])[0]

    def paint(self, canvas: Canvas, rng: np.random.Generator, randomise: float) -> None:
        """Paint the patient, from the outside in and from the soft to the hard."""
        body, organs, person = self.body, self.organs, self.person
        body.place(canvas)
        body.paint_surroundings(canvas, rng, randomise)
        body.paint(canvas)
        self.thorax.paint_lungs(canvas)
        self.thorax.paint_vessels(canvas, rng, 100)
        self.thorax.paint_heart(canvas, self.vessels)
        self.bowel.paint_loops(canvas, rng)
        self.bowel.paint_coils(canvas, rng.spawn(1)[0])
        paint_pelvic_organs(canvas, Freedom(rng, self.strength, person.breath), person)
        paint_buttocks(canvas, rng, person.muscle)
        self.bowel.paint_colon(canvas)
        paint_gullet(canvas, self.gullet, rng)
        self.bowel.paint_duodenum(canvas, rng)
        self.paint_organs(canvas, rng)
        self.spine.paint(canvas)
        self.vessels.paint(canvas, organs, rng)
        paint_pelvis(canvas, rng)
        body.paint_ribs(canvas)
        paint_liver_vessels(canvas, organs, self.vessels, rng)
        paint_lesions(canvas, self.lesions, self.bowel)
        paint_deposits(canvas, organs, rng)

    def paint_organs(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Paint muscles of the back and the organs before them, each with a little fat around."""
        organs, person = self.organs, self.person
        halo = float(rng.uniform(0.3, 1.5)) * person.belly
        paint_muscles(canvas, self.spine, rng, person.muscle)
        paint_renal_fat(canvas, organs.kidneys, float(rng.uniform(2, 9) * person.belly**2))
        stomach = measure_stomach(canvas, organs)
        liver = canvas.measure(
            organs.liver, uneven=(1.5, 2.6, 2.4), core=4.0, inside=1.0, smooth_at=self.body.lining
        )
        canvas.yields(liver, stomach)
        canvas.unite(liver)
        canvas.fill(liver, "visceral_fat", None, shrink=-halo)
        canvas.fill(liver, "liver", "liver")
        paint_spleen(canvas, organs, self.body, halo)
        paint_stomach(canvas, organs, stomach, float(rng.uniform(3, 6)))
        pancreas = canvas.measure(organs.pancreas, uneven=(0.5, 2.2, 3.4), core=4.5)
        canvas.unite(pancreas)
        canvas.fill(pancreas, "visceral_fat", None, shrink=-halo)
        canvas.fill(pancreas, "pancreas", "pancreas")
        paint_kidneys(canvas, organs.kidneys, rng)
        paint_gallbladder(canvas, organs.gallbladder)
        for gland, name in zip(
            organs.adrenals, ("right_adrenal_gland", "left_adrenal_gland"), strict=True
        ):
            for limb in canvas.trace(gland):
                canvas.fill(limb, "visceral_fat", None, shrink=-2.0)
            canvas.draw(gland, "adrenal", name)

    def outline(self, bottom: float, top: float) -> NDArray:
        """``(2, 3)`` low and high ends of the trunk between two heights of the patient.

        The ends are in the scanner's millimetres.
        """
        low, high = self.body.outline(bottom, top)
        heights = np.linspace(bottom, top, 5)
        corners = np.array(
            [[z, y, x] for z in heights for y in (low[0], high[0]) for x in (low[1], high[1])]
        )
        ends = self.pose.to_scanner(corners)
        return np.stack([ends.min(axis=0), ends.max(axis=0)])


def _pose(rng: np.random.Generator, strength: float) -> Pose:
    """Size, tilt and bend of a patient on the table."""
    stature = np.exp(rng.normal(0, 0.06 * strength))
    size = stature * np.exp(rng.normal([0.0, 0.02, 0.02], [0.05, 0.05, 0.05]) * strength)
    matrix = rotation(rng.normal(0, [4, 2.5, 2.5]) * strength) @ np.diag(1 / size)
    bend = (Lattice(rng, 120.0), Lattice(rng, 120.0), Lattice(rng, 120.0))
    amount = tuple((np.array([5.0, 4.0, 5.0]) * strength * rng.uniform(0.4, 1.2)).tolist())
    return Pose(matrix, bend, amount)

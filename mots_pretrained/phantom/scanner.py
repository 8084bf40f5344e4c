"""The scanner: point spread, and noise that belongs to the scan's own grid, on the grid asked for.

A scanner's noise is known on its own grid (0.6 to 1 mm in plane, slices 1 to 5 mm apart). Brought
to another grid by a linear, anti-aliased interpolation it stays Gaussian, and its covariance is
known along each axis: with ``K`` the interpolation and ``S`` the noise's own covariance it is
``K S K^T``. White noise on the grid asked for, multiplied along each axis by the Cholesky factor of
that, is the same noise, without the full scan ever being made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mots_pretrained.phantom.space import Floats


@dataclass(frozen=True)
class Scan:
    """How one scan was taken.

    Attributes:
        pixel_mm: Spacing in plane of the scan's own grid, in millimetres.
        step_mm: Distance between its slices.
        slice_mm: Thickness of a slice, full width at half maximum.
        noise: Standard deviation of the noise on the own grid, in HU.
        kernel_mm: Width (sigma) of the reconstruction kernel that correlates the noise in plane.
        blotch: Share of the noise's variance that is coarse, as iterative reconstruction leaves it.
        blotch_mm: Width of that part.
        blur_mm: Point spread in plane, full width at half maximum.
        streak: Strength of the streaks along the wide axis of the body, relative to the noise.
        bias: Largest slow drift over the field of view, in HU.
        gamma: Exponent of the grey values between -325 and 325 HU; 1 leaves them alone.
        padding: What lies beyond the circle of reconstruction; None without a circle.
    """

    pixel_mm: float
    step_mm: float
    slice_mm: float
    noise: float
    kernel_mm: float
    blotch: float
    blotch_mm: float
    blur_mm: float
    streak: float
    bias: float
    gamma: float
    padding: float | None

    @staticmethod
    def draw(
        rng: np.random.Generator,
        slices: tuple[float, float],
        sharpness: tuple[float, float],
        randomise: float,
    ) -> Scan:
        """Draw a scan.

        Args:
            rng: Source.
            slices: Range of the distance between slices, in millimetres.
            sharpness: Range of the kernel's sharpness, 0 (soft) to 1.
            randomise: Widens the ranges, 0 to 1.
        """
        sharp = float(rng.uniform(*sharpness))
        step = float(rng.uniform(*slices) * np.exp(rng.normal(0, 0.3 * randomise)))
        wide = np.exp(rng.normal(0, [0.4, 0.3, 0.3]) * randomise)
        noise = 13 * np.exp(rng.normal(0, 0.5) + 1.1 * (sharp - 0.5)) * wide[0]
        circle = rng.random() < 0.5
        padding = float(rng.choice([-1024.0, -1024.0, -2000.0, -1000.0]))
        return Scan(
            pixel_mm=float(rng.uniform(0.6, 1.0)),
            step_mm=float(np.clip(step, 0.6, 8.0)),
            slice_mm=step * float(rng.choice([1.0, 1.0, rng.uniform(1.0, 1.8)])),
            noise=float(np.clip(noise, 6.0, 37.0 + 13.0 * randomise)),
            kernel_mm=float((0.15 + 0.45 * (1 - sharp)) * wide[1]),
            blotch=float(rng.uniform(0.0, 0.06)),
            blotch_mm=float(rng.uniform(1.5, 3.0) * wide[2]),
            blur_mm=float(0.9 + 0.9 * (1 - sharp)),
            streak=float(rng.exponential(0.2 + 0.3 * randomise)) if rng.random() < 0.3 else 0.0,
            bias=float(rng.uniform(0, 2 + 6 * randomise)),
            gamma=float(np.exp(rng.normal(0, 0.1) * randomise)),
            padding=padding if circle else None,
        )

    def take(
        self, rng: np.random.Generator, image: Floats, spacing: tuple[float, float, float]
    ) -> Floats:
        """Blur by point spread and slice profile, add noise, streaks and drift; in HU."""
        width = np.array([self.slice_mm, self.blur_mm, self.blur_mm]) / 2.355 / spacing
        image = blur(image, np.minimum(width, 1.6))
        if self.gamma != 1.0:
            unit = np.clip((image + 325) * np.float32(1 / 650), 0, 1)
            image += (unit ** np.float32(self.gamma) - unit) * np.float32(650)
        image += self.grain(rng, image.shape, spacing)
        if self.streak > 0:
            lines = rng.standard_normal((*image.shape[:2], 1), dtype=np.float32)
            # Photons starve along the wide axis of shoulders and hips.
            starved = np.clip((image + 200).mean(axis=2, keepdims=True) / 250, 0, 2)
            image += lines * starved * np.float32(self.streak * self.noise * 0.25)
        if self.bias > 0:
            ramp = np.linspace(-1, 1, image.shape[2], dtype=np.float32) * rng.normal()
            tilt = np.linspace(-1, 1, image.shape[1], dtype=np.float32) * rng.normal()
            image += np.float32(self.bias) * (ramp + tilt[:, None])
        np.clip(image, -1024, 3071, out=image)
        if self.padding is not None and min(np.multiply(spacing, image.shape)[1:]) > 250:
            radius = min(image.shape[1], image.shape[2]) / 2
            rows = np.arange(image.shape[1])[:, None] - (image.shape[1] - 1) / 2
            columns = np.arange(image.shape[2]) - (image.shape[2] - 1) / 2
            image[:, rows**2 + columns**2 > radius**2] = self.padding
        return image

    def own_shape(self, shape: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[int, int, int]:
        """Voxels of the scan's own grid over the field of view of another.

        A grid that is as fine as the scan's own is taken for the scan's own; slices that were asked
        for closer together than they are thick were reconstructed so.
        """
        own = (min(self.step_mm, 1.5 * spacing[0]), *(min(self.pixel_mm, s) for s in spacing[1:]))
        depth, height, width = (
            max(1, round(n * s / o)) for n, s, o in zip(shape, spacing, own, strict=True)
        )
        return depth, height, width

    def grain(
        self, rng: np.random.Generator, shape: tuple[int, ...], spacing: tuple[float, ...]
    ) -> Floats:
        """The noise of the scan, on a grid of this shape and spacing, in HU."""
        own = self.own_shape(shape, spacing)
        depth = self.slice_mm / 2.355
        total = np.zeros(shape, dtype=np.float32)
        for share, width in ((1 - self.blotch, self.kernel_mm), (self.blotch, self.blotch_mm)):
            noise = rng.standard_normal(shape, dtype=np.float32)
            noise *= np.float32(self.noise * np.sqrt(share))
            for axis, sigma in enumerate((depth, width, width)):
                step = spacing[axis] * shape[axis] / own[axis]
                factor = noise_factor(own[axis], shape[axis], sigma / step)
                noise = np.moveaxis(np.tensordot(factor, noise, axes=(1, axis)), 0, axis)
            total += noise
        return total


def noise_factor(own: int, wanted: int, sigma: float) -> NDArray[np.float32]:
    """Cholesky factor of the covariance along a line of noise that is brought to another grid.

    Args:
        own: Voxels of the line that the noise was made on.
        wanted: Voxels wanted.
        sigma: Width, in own voxels, of the Gaussian kernel that white noise was smoothed by; the
            noise has unit variance on its own grid.
    """
    apart = np.arange(own, dtype=np.float64)
    line = np.exp(-((apart / (2 * max(sigma, 1e-3))) ** 2))
    covariance = line[np.abs(apart[:, None] - apart).astype(int)]
    weights = interpolation(own, wanted)
    covariance = weights @ covariance @ weights.T
    covariance[np.diag_indices(wanted)] += 1e-6
    return np.linalg.cholesky(covariance).astype(np.float32)


def interpolation(size: int, wanted: int) -> NDArray[np.float64]:
    """``(wanted, size)`` weights of the linear interpolant, averaged downwards over a box.

    The outer faces stay where they are; the rule is that of ``mots_pretrained.images.resample``.
    """
    scale = size / wanted
    half = max(scale - 1, 0.0) / 2
    centre = ((np.arange(wanted) + 0.5) * scale - 0.5)[:, None]
    # The box's average is the mean of many points on it.
    offsets = (np.arange(64) + 0.5) / 64 * 2 * half - half if half else np.zeros(1)
    weights = np.zeros((wanted, size))
    rows = np.arange(wanted)[:, None]
    for offset in offsets:
        at = np.clip(centre + offset, 0, size - 1)
        low = np.minimum(at.astype(int), max(size - 2, 0))
        np.add.at(weights, (rows, low), 1 - (at - low))
        np.add.at(weights, (rows, np.minimum(low + 1, size - 1)), at - low)
    return weights / len(offsets)


def blur(image: Floats, sigma: NDArray[np.float64]) -> Floats:
    """Gaussian smoothing axis by axis; an axis with next to no width is left alone."""
    for axis, width in enumerate(sigma):
        if width > 0.2:
            image = ndimage.gaussian_filter1d(image, width, axis, truncate=2.5, mode="nearest")
    return image

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from mots_pretrained.images.resample import kernel, resample
from mots_pretrained.phantom.scanner import Scan, interpolation, noise_factor

# A soft and a sharp kernel; slices that lie apart, and slices that overlap.
SCANS = {
    "soft": {"pixel_mm": 0.75, "step_mm": 5.0, "slice_mm": 5.0, "kernel_mm": 0.7, "blotch": 0.05},
    "sharp": {"pixel_mm": 1.0, "step_mm": 2.0, "slice_mm": 3.0, "kernel_mm": 0.3, "blotch": 0.0},
}


def _scan(**values: float) -> Scan:
    plain = Scan(
        pixel_mm=0.8,
        step_mm=4.0,
        slice_mm=4.0,
        noise=16.0,
        kernel_mm=0.5,
        blotch=0.0,
        blotch_mm=2.0,
        blur_mm=1.2,
        streak=0.0,
        bias=0.0,
        gamma=1.0,
        padding=None,
    )
    return replace(plain, **values)


def _correlation(noise: np.ndarray, axis: int) -> float:
    line = np.moveaxis(noise, axis, 0)
    return float((line[1:] * line[:-1]).mean() / (noise**2).mean())


@pytest.mark.parametrize(("size", "wanted"), [(5, 5), (16, 5), (10, 8), (4, 9), (1, 3), (7, 1)])
def test_interpolation_is_that_of_prepared_images(size, wanted):
    np.testing.assert_allclose(interpolation(size, wanted), kernel(size, wanted), atol=2e-4)


@pytest.mark.parametrize("name", SCANS)
def test_noise_is_that_of_a_whole_scan_brought_to_the_grid(name):
    """A scan simulated on its own grid and resampled as images are, beside the short way."""
    scan, shape, spacing = _scan(**SCANS[name]), (24, 20, 20), (4.0, 3.0, 3.0)
    own = scan.own_shape(shape, spacing)
    step = [n * s / o for n, s, o in zip(shape, spacing, own, strict=True)]
    rng = np.random.default_rng(0)
    whole = np.zeros(own)
    for share, width in ((1 - scan.blotch, scan.kernel_mm), (scan.blotch, scan.blotch_mm)):
        part = rng.standard_normal([3 * n for n in own], dtype=np.float32)  # all but continuous
        for axis, sigma in enumerate((scan.slice_mm / 2.355, width, width)):
            line = np.exp(-((np.arange(-40, 41) * step[axis] / 3 / sigma) ** 2) / 2)
            part = ndimage.convolve1d(part, line / np.sqrt((line**2).sum()), axis, mode="wrap")
        whole += scan.noise * np.sqrt(share) * part[1::3, 1::3, 1::3]
    assert whole.std() == pytest.approx(scan.noise, rel=0.03)
    long = resample(whole, shape)
    short = np.stack([scan.grain(rng, shape, spacing) for _ in range(4)])
    assert short.std() == pytest.approx(long.std(), rel=0.05)
    for axis in (0, 2):
        ours = np.mean([_correlation(one, axis) for one in short])
        assert ours == pytest.approx(_correlation(long, axis), abs=0.04)


def test_noise_at_the_networks_spacing_is_a_real_scans():
    """Real livers at 4x3x3 mm: 3 to 13 HU, correlated along z by 0.18 to 0.70."""
    rng = np.random.default_rng(1)
    scans = [Scan.draw(rng, (1.0, 5.0), (0.1, 0.9), 0.0) for _ in range(80)]
    noises = [scan.grain(rng, (12, 20, 20), (4.0, 3.0, 3.0)) for scan in scans]
    first, middle, last = np.percentile([noise.std() for noise in noises], [5, 50, 95])
    assert 2 < first < 4.5
    assert 4 < middle < 8
    assert 8 < last < 15
    along = [_correlation(noise, 0) for noise in noises]
    assert 0.15 < np.median(along) < 0.6


def test_a_grid_as_fine_as_the_scans_own_shows_the_noise_in_full():
    """Real scans on their own grids: 7 to 37 HU, median 17, correlated by the kernel."""
    rng = np.random.default_rng(2)
    scans = [Scan.draw(rng, (2.0, 2.0), (0.1, 0.9), 0.0) for _ in range(200)]
    levels = np.array([scan.noise for scan in scans])
    assert 6 <= levels.min() < 9
    assert 12 < np.median(levels) < 20
    assert 30 < levels.max() <= 37
    scan = _scan(step_mm=2.0, slice_mm=2.0)
    noise = scan.grain(rng, (16, 64, 64), (2.0, 0.8, 0.8))
    assert noise.std() == pytest.approx(scan.noise, rel=0.03)
    # exp(-(0.8 / (2 * 0.5))^2): white noise smoothed by a Gaussian of 0.5 mm.
    assert _correlation(noise, 2) == pytest.approx(0.527, abs=0.03)


def test_a_line_of_noise_brought_to_its_own_grid_keeps_its_covariance():
    factor = noise_factor(6, 6, 0.5)
    expected = np.exp(-(np.subtract.outer(range(6), range(6)) ** 2.0))
    np.testing.assert_allclose(factor @ factor.T, expected, atol=1e-5)

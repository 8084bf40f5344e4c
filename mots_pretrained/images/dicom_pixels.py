"""Pixels of DICOM images as CT numbers: decompressed, rescaled, padding as air (PS3.3 C.7.6.3)."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mots_pretrained.errors import UserError
from mots_pretrained.images.dicom_files import Archive, Place, Slice, reason_of
from mots_pretrained.images.extra import extra

_AIR = -1024.0  # HU
_STEEPEST = 1e6  # of a rescaling
_RLE = "1.2.840.10008.1.2.5"
_INSTALL = {
    "1.2.840.10008.1.2.4.50": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.51": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.57": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.70": "pylibjpeg pylibjpeg-libjpeg",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.81": "pyjpegls",
}
_INSTALL_ELSE = "pylibjpeg pylibjpeg-openjpeg"  # JPEG 2000, with and without high throughput


def read_pixels(slices: Sequence[Slice]) -> Iterator[NDArray[Any]]:
    """Yield the ``(rows, columns)`` of each image, in order, as whole numbers or float32.

    CT values that an image's header calls padding, and that would lie above air, become air where
    they reach the image's edge; all else is what the file says.

    Raises:
        UserError: If an image is damaged, or compressed in a way that nothing here can read.
    """
    with Archive() as archive:
        place, dataset = None, None
        for one in slices:
            if one.place != place:
                place, dataset = one.place, _dataset(archive, one.place)
            yield _values(dataset, one)


def _values(dataset: Any, one: Slice) -> NDArray[Any]:
    try:
        return _rescaled(_decoded(dataset, one), dataset, one)
    except UserError:
        raise
    except Exception as error:  # pydicom decodes an element only when it is asked for
        raise UserError(f"{one.place} is damaged ({reason_of(error)}); fetch it again") from error


def _dataset(archive: Archive, place: Place) -> Any:
    pydicom = extra("pydicom", "reading DICOM")
    try:
        with archive.open(place) as file:
            dataset = pydicom.dcmread(file, force=True)
            if not hasattr(dataset.file_meta, "TransferSyntaxUID"):
                dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            return dataset
    except Exception as error:
        raise UserError(f"{place} cannot be read ({reason_of(error)}); fetch it again") from error


def _decoded(dataset: Any, one: Slice) -> NDArray[Any]:
    """Stored values of one frame, by pydicom's plug-ins or else by SimpleITK's."""
    pixels = extra("pydicom.pixels", "reading DICOM")
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise UserError(f"{one.place} holds no pixels; fetch it again")
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        # pydicom takes every value for right-justified and would drop the upper bits of others
        stored = pixels.pixel_array(dataset, index=one.frame, raw=True, correct_unused_bits=False)
    except (RuntimeError, NotImplementedError):
        if not syntax.is_compressed:
            raise
        stored = _by_simpleitk(dataset, one)
    if not syntax.is_compressed and "PixelData" in dataset:
        _check_length(dataset, stored, one)
    if stored.shape != one.size:
        raise UserError(f"{one.place} is damaged (it holds {stored.shape}, not {one.size} pixels)")
    return _sign_extended(_right_justified(stored, dataset, one), dataset)


def _right_justified(stored: NDArray[Any], dataset: Any, one: Slice) -> NDArray[Any]:
    """Shift values down to the lowest bit, where old scanners put them higher (PS3.5 8.1.1).

    What JPEG of all kinds decodes to begins at the lowest bit, whatever the header says, and so do
    values with bits set below their first one if none is set above what is stored.
    """
    bits = int(dataset.get("BitsStored", 8 * stored.itemsize))
    below = int(dataset.get("HighBit", bits - 1)) + 1 - bits
    syntax = dataset.file_meta.TransferSyntaxUID
    is_jpeg = syntax.is_compressed and syntax != _RLE
    if below == 0 or is_jpeg or stored.dtype.kind not in "iu":
        return stored
    can_be = 0 < below <= 8 * stored.itemsize - bits
    if can_be and not (stored & ((1 << below) - 1)).any():
        return stored >> below
    is_signed = int(dataset.get("PixelRepresentation", 0))
    if np.isin(stored >> (bits - is_signed), [0, -1] if is_signed else [0]).all():
        return stored
    raise UserError(
        f"{one.place} says that its {bits} bits a pixel end at bit {bits - 1 + below}, and "
        "its pixels do not lie so; export it with a HighBit one below BitsStored"
    )


def _check_length(dataset: Any, stored: NDArray[Any], one: Slice) -> None:
    """Refuse an image with a row or more beyond what its size says: the size is wrong then."""
    frames = int(dataset.get("NumberOfFrames") or 1)
    beyond = len(dataset.PixelData) - frames * stored.nbytes
    if beyond >= one.size[1] * stored.itemsize and int(dataset.get("BitsAllocated", 16)) % 8 == 0:
        raise UserError(
            f"{one.place} is damaged ({beyond} bytes of pixels more than {one.size} take); fetch "
            "it again"
        )


def _sign_extended(stored: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """Drop what lies above the bits stored: old scanners keep other things there."""
    bits = int(dataset.get("BitsStored", 8 * stored.itemsize))
    spare = 8 * stored.itemsize - bits
    if stored.dtype.kind not in "iu" or spare <= 0:
        return stored
    signed = stored.astype(f"{'i' if dataset.get('PixelRepresentation') else 'u'}{stored.itemsize}")
    return (signed << spare) >> spare


def _by_simpleitk(dataset: Any, one: Slice) -> NDArray[Any]:
    """Decompress one frame by SimpleITK, as a file of which it can rescale and invert nothing."""
    sitk = extra("SimpleITK", "reading compressed DICOM")
    pydicom, encaps = (extra(name, "reading DICOM") for name in ("pydicom", "pydicom.encaps"))
    syntax = dataset.file_meta.TransferSyntaxUID
    frames = int(dataset.get("NumberOfFrames") or 1)
    plain = pydicom.Dataset()
    plain.file_meta = pydicom.dataset.FileMetaDataset()
    plain.file_meta.TransferSyntaxUID = syntax
    plain.file_meta.MediaStorageSOPClassUID = plain.SOPClassUID = (
        pydicom.uid.SecondaryCaptureImageStorage
    )
    plain.file_meta.MediaStorageSOPInstanceUID = plain.SOPInstanceUID = pydicom.uid.generate_uid()
    plain.SamplesPerPixel, plain.PhotometricInterpretation = 1, "MONOCHROME2"
    for name in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation"):
        plain[name] = dataset[name]
    plain.HighBit = dataset.BitsStored - 1
    stream = encaps.get_frame(dataset.PixelData, one.frame, number_of_frames=frames)
    plain.PixelData = encaps.encapsulate([stream])
    plain["PixelData"].VR = "OB"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.dcm")
        plain.save_as(path, enforce_file_format=True)
        try:
            found = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
        except RuntimeError as error:
            needed = _INSTALL.get(str(syntax), _INSTALL_ELSE)
            raise UserError(
                f"{one.place} is damaged, or compressed ({syntax.name}) in a way that nothing "
                f"installed reads; try: pip install {needed}"
            ) from error
    return found.reshape(found.shape[-2:])


def _rescaled(stored: NDArray[Any], dataset: Any, one: Slice) -> NDArray[Any]:
    if dataset.get("ModalityLUTSequence"):
        raise UserError(
            f"{one.place} keeps its values by a table (Modality LUT), which is not read; export it "
            "with a rescale slope and intercept"
        )
    slope, intercept = one.slope, one.intercept
    if not (0 < abs(slope) <= _STEEPEST and abs(intercept) <= _STEEPEST):
        raise UserError(
            f"{one.place} is damaged (its values are scaled by {slope:g} and moved by "
            f"{intercept:g}); fetch it again"
        )
    if slope == 1 and float(intercept).is_integer() and stored.dtype.kind in "iu":
        values: NDArray[Any] = stored.astype(np.int32) + np.int32(intercept)
    else:
        values = (stored * np.float64(slope) + intercept).astype(np.float32)
    return _padding_as_air(values, stored, dataset, one)


def _padding_as_air(
    values: NDArray[Any], stored: NDArray[Any], dataset: Any, one: Slice
) -> NDArray[Any]:
    padding = dataset.get("PixelPaddingValue")
    if padding is None or dataset.get("Modality") != "CT":
        return values
    limit = dataset.get("PixelPaddingRangeLimit")
    held = np.array([int(padding), int(padding if limit is None else limit)])
    ends = np.sort(_sign_extended(held.astype(f"{stored.dtype.kind}{stored.itemsize}"), dataset))
    if int(ends[1]) * one.slope + one.intercept <= _AIR:
        return values
    from scipy import ndimage

    padded = (stored >= ends[0]) & (stored <= ends[1]) & (values > _AIR)
    pieces, _ = ndimage.label(padded)
    edges = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    values[np.isin(pieces, edges[edges > 0])] = _AIR
    return values

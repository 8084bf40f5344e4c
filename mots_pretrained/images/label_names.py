"""Names and colours of a label map's values, as viewers read them: in its header and beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from mots_pretrained.files import write_text
from mots_pretrained.images.terminology import rgb_of

ITK_SNAP = "labels_itksnap.txt"
"""Name of the label description file that ITK-SNAP imports."""

SLICER = "labels.ctbl"
"""Name of the colour table that 3D Slicer reads."""

_ITK_SNAP_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
"""


def nifti_extension(values: Mapping[str, int]) -> bytes:
    """Make the header extension in which TotalSegmentator and Connectome Workbench keep labels.

    Args:
        values: The value of each category.

    Returns:
        XML: a ``CaretExtension`` with a ``LabelTable`` of names and colours.
    """
    root = ElementTree.Element("CaretExtension")
    volume = ElementTree.SubElement(root, "VolumeInformation", Index="0")
    table = ElementTree.SubElement(volume, "LabelTable")
    for name, value in values.items():
        red, green, blue = (f"{part / 255:.6g}" for part in rgb_of(name, value))
        label = ElementTree.SubElement(
            table, "Label", Key=str(value), Red=red, Green=green, Blue=blue, Alpha="1"
        )
        label.text = _plain(name)
    ElementTree.SubElement(volume, "StudyMetaDataLinkSet")
    ElementTree.SubElement(volume, "VolumeType").text = "Label"
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def write_label_files(folder: str | os.PathLike[str], values: Mapping[str, int]) -> None:
    """Write ITK-SNAP's label description and 3D Slicer's colour table into a folder."""
    snap, slicer = [f'{0:>5} {0:>4} {0:>4} {0:>4} {0:>5} {0:>4} {0:>3}    "Clear Label"'], []
    for name, value in sorted(values.items(), key=lambda item: item[1]):
        red, green, blue = rgb_of(name, value)
        text = _plain(name).replace('"', "'")
        snap.append(f'{value:>5} {red:>4} {green:>4} {blue:>4} {1:>5} {1:>4} {1:>3}    "{text}"')
        slicer.append(f"{value} {'_'.join(text.split())} {red} {green} {blue} 255")
    write_text(Path(folder) / ITK_SNAP, _ITK_SNAP_HEAD + "\n".join(snap) + "\n")
    head = f"# Color table file {SLICER}\n# {len(slicer) + 1} values\n0 Background 0 0 0 0\n"
    write_text(Path(folder) / SLICER, head + "\n".join(slicer) + "\n")


def _plain(name: str) -> str:
    """A name on one line, without characters that neither XML nor a table can hold."""
    return "".join(c if c.isprintable() else " " for c in name)

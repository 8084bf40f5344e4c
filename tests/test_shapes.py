"""Named axes: what fits them, and that tests enforce them in signatures."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError, jaxtyped
from typechecking import checked

from mots_pretrained import shapes


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Image", (2, 1, 4, 5, 6)),
        ("Features", (2, 32, 4, 5, 6)),
        ("Tokens", (2, 120, 192)),
        ("Kernels", (2, 7, 162)),
        ("Logits", (2, 7, 2, 4, 5, 6)),
        ("TaskLogits", (2, 2, 4, 5, 6)),
    ],
)
def test_tensors_of_so_many_axes_fit(name, size):
    kind = getattr(shapes, name)
    assert isinstance(torch.zeros(size), kind)
    assert isinstance(torch.zeros(size, dtype=torch.bfloat16), kind)
    assert not isinstance(torch.zeros(size, dtype=torch.int64), kind)
    assert not isinstance(torch.zeros(size[1:]), kind)


def test_axes_of_one_name_are_equal_within_a_call_and_others_may_differ():
    @jaxtyped(typechecker=checked)
    def shown(image: shapes.Image, maps: shapes.Features) -> shapes.Logits:
        return torch.zeros(len(image), 1, 2, *image.shape[2:])

    assert shown(torch.zeros(2, 1, 4, 4, 4), torch.zeros(2, 3, 1, 2, 1)).shape[2] == 2
    with pytest.raises(TypeCheckError, match="maps"):
        shown(torch.zeros(2, 1, 4, 4, 4), torch.zeros(3, 3, 4, 4, 4))

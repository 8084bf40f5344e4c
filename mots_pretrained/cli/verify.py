"""``mots verify``: say whether this machine gives a model's stored numbers."""

from __future__ import annotations

from typing import Annotated

import typer

from mots_pretrained.cli import options


def verify(
    name: Annotated[str, typer.Argument(help="Catalogue name, folder or Hub repository")],
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16 (slow where a CPU emulates it) or both")
    ] = "float32",
    device: options.Device = "cpu",
    json: options.Json = False,
) -> int:
    """Compute a model's logits on a bundled phantom, and hold them beside the stored ones."""
    import dataclasses

    from mots_pretrained.cli import DONE, FAILED, console
    from mots_pretrained.publishing import verify as run
    from mots_pretrained.training.machine import best_device
    from mots_pretrained.weights.download import resolve

    precisions = ("float32", "bfloat16") if precision == "both" else (precision,)
    found = run(resolve(name), precisions=precisions, device=best_device(device))
    if json:
        console.show_json({"name": name, "sound": found.sound, **dataclasses.asdict(found)})
    else:
        console.say(f"weights: {'as stored' if found.weights_sound else 'not those stored'}")
        for each, deviation in found.deviations.items():
            console.say(
                f"{each}: logits deviate by {deviation:.2g} of their standard deviation at most, "
                f"allowed is {found.tolerances[each]:g}"
            )
        console.show(
            f"{name} computes here what its card promises"
            if found.sound
            else f"{name} does not compute here what its card promises"
        )
    return DONE if found.sound else FAILED

"""A description of a model in which every field has something that a card could lose."""

from mots_pretrained.weights.card import Description

SAID = Description(
    name="org/mine: 2",
    summary="A network\n\nof mine.",
    training="With care.\n\n```sh\nmots pretrain\n```",
    scores={"liver": 0.5, "tumor/edema": 0.25},
    dataset="two: scans",
    license="cc-by-4.0",
)

"""Reading model cards, and renewing one without losing what it says."""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from mots_pretrained.config import ModelConfig
from mots_pretrained.errors import UserError
from mots_pretrained.weights.card import (
    ABSENT,
    NO_DATASET,
    NOT_RECORDED,
    PAPER,
    SEEN,
    THRESHOLDS,
    Description,
    loaded,
    model_card,
    seen_line,
    thresholds_line,
)


def renewed_card(
    own: str | None,
    config: ModelConfig,
    said: Description,
    *,
    name: str,
    told: str,
    seen: str,
    base_model: str = "",
) -> str:
    """Write a card for weights that may have one already, and lose nothing that it says.

    Args:
        own: The card that lies beside the weights. It stays as it is, but for what it says of
            scans, a training that was not recorded, and the licence if there is a new one.
        config: The network's configuration.
        said: What is to be said anew; with more than a licence, the card is written anew with
            this and with what ``own`` says besides, as far as it can be read. Its title is for a
            card that has none of its own.
        name: The model's name where neither ``said`` nor the line of ``own`` that loads it has one.
        told: What training.json says of the training, in words.
        seen: Statement on the scans that the weights were trained on.
        base_model: Hub repository of the weights begun from, where no card names one.

    Raises:
        ValueError: If the header of ``own`` is not valid.

    Warns:
        UserWarning: If somebody wrote into ``own`` what the new card leaves out.
    """
    if own is None:
        known = Description(name=name, training=told, base_model=base_model)
    else:
        check_card(own)
        if said == Description(name=said.name, title=said.title, license=said.license):
            own = _refreshed(own, license=said.license, told=told, seen=seen, base_model=base_model)
            return _with_thresholds(own, config)
        known = read_card(own)
        known = replace(
            known,
            name=loaded(own) or name,
            training=known.training or told,
            base_model=known.base_model or base_model,
        )
    given = {key: value for key, value in vars(said).items() if value}
    if known.title:
        given.pop("title", None)
    if said.license not in ("", known.license):  # what was said of the old one is not said of it
        known = replace(known, license_name="", license_link="", license_statements=())
    if "scores" in given and "dataset" not in given:
        given["dataset"] = ""  # the old scores' is not theirs
    if "scores" in given:
        given.setdefault("absent", {})
    card = model_card(config, replace(known, **given), seen=seen)
    if own is not None and (left := _left_out(own, config, card)):
        warnings.warn(
            f"the card is written anew without what somebody wrote into it, such as {left!r:.80}; "
            "write it into the new one, or leave out --summary, --scores and the like",
            stacklevel=2,
        )
    return card


def read_card(text: str) -> Description:
    """Read what a card says besides the configuration, as far as :func:`model_card` wrote it."""
    from huggingface_hub import ModelCard

    data: Any = ModelCard(text).data
    results = data.eval_results or []
    dataset = results[0].dataset_name if results else ""
    title = re.search(r"^# (.+)$\s*^((?:.|\n)*?)\s*^```python$", text, re.MULTILINE)
    training = re.search(
        r"^## Training\s+((?:.|\n)*?)\s*^(?:Seen in training:|## )", text, re.MULTILINE
    )
    stated = re.search(r"^## Licence of the weights\s+((?:- .*\n)*)", text, re.MULTILINE)
    told = training[1] if training else ""
    headed = title[1] if title else ""
    return Description(
        name=loaded(text) or headed,
        summary=title[2] if title else "",
        training="" if told == NOT_RECORDED else told,
        scores={r.metric_name.removeprefix("Dice, "): r.metric_value for r in results},
        dataset="" if dataset == NO_DATASET else dataset,
        absent=_read_absent(text),
        license=str(data.license or ""),
        license_name=str(data.license_name or ""),
        license_link=str(data.license_link or ""),
        license_statements=tuple(re.findall(r"(?m)^- (.+)$", stated[1] if stated else "")),
        base_model=data.base_model if isinstance(data.base_model, str) else "",
        datasets=tuple([data.datasets] if isinstance(data.datasets, str) else data.datasets or ()),
        title="" if headed == loaded(text) else headed,
    )


def _read_absent(text: str) -> dict[str, tuple[float, float]]:
    table = text.partition(f"{ABSENT}\n")[2].partition("\n\n")[0]
    rows = re.findall(r"(?m)^\| (.+?) \| [\d.-]+ \| ([\d.]+) \| ([\d.]+) \|$", table)
    return {category: (float(share), float(volume)) for category, share, volume in rows}


def _left_out(own: str, config: ModelConfig, card: str) -> str:
    """Return the first that a card says and could not be read of it; empty if there is nothing.

    Args:
        own: The card.
        config: The network's configuration.
        card: The new one, which has what was given anew.
    """
    from huggingface_hub import ModelCard

    known = read_card(own)
    again = model_card(config, known)
    header: Any = ModelCard(again).data.to_dict()
    for key, value in ModelCard(own).data.to_dict().items():
        if _listed(header.get(key)) != _listed(value):
            return f"{key}: {value}"
    rows = [f"| {category} | " for category in (*known.scores, *known.absent)]
    filled = (THRESHOLDS, *rows)  # from what lies beside the card
    kept = {f"## Scores ({NO_DATASET})", *_lines(again), *_lines(card)}  # the first: once ours
    lines = (line for line in _lines(ModelCard(own).text) if not re.fullmatch(SEEN, line))
    return next((one for one in lines if one not in kept and not one.startswith(filled)), "")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _lines(text: str) -> list[str]:
    """Return a text's lines, with the paper named as in cards that did not link it."""
    plain = text.replace(f"[arXiv 2211.06894]({PAPER})", "arXiv 2211.06894")
    return [line.strip() for line in plain.splitlines()]


def _refreshed(own: str, *, license: str, told: str, seen: str, base_model: str) -> str:
    text = re.sub(rf"(?m)^{SEEN}$", lambda _: seen_line(seen), own)
    text = text.replace(
        f"## Training\n\n{NOT_RECORDED}\n", f"## Training\n\n{told or NOT_RECORDED}\n"
    )
    if license:
        text = re.sub(r"(?m)^license: .*$", f"license: {license}", text, count=1)
        text = re.sub(r"(?m)^license_(name|link): .*\n", "", text)
        text = re.sub(r"(?m)^## Licence of the weights\n(?:.*\n)*?(?=## )", "", text)
        text = re.sub(r"(?m)( Weights: )[^.\n]*\.$", rf"\g<1>{license}.", text)
    if base_model and not read_card(text).base_model:
        text = text.replace("---\n", f"---\nbase_model: {base_model}\n", 1)
    return text


def unfilled(card: str, config: ModelConfig, told: str) -> str:
    """Return a card without what publishing filled in of a training that goes on.

    Args:
        card: Its text.
        config: The network's configuration, whose thresholds are told.
        told: What was told of the training so far.
    """
    text = re.sub(rf"(?m)^{SEEN}$", seen_line(""), card)
    if told:
        text = text.replace(f"## Training\n\n{told}\n", f"## Training\n\n{NOT_RECORDED}\n")
    return _with_thresholds(text, config)


def _with_thresholds(text: str, config: ModelConfig) -> str:
    text = re.sub(rf"(?m)^{re.escape(THRESHOLDS)}.*\n\n", "", text)
    line = "\n".join(thresholds_line(config))
    return text.replace("## Intended use\n", f"{line}\n## Intended use\n", 1) if line else text


def read_scores(path: str | Path) -> Description:
    """Read Dice and what was predicted falsely of what ``mots evaluate --json`` printed.

    Returns:
        A description that says nothing else.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no such numbers.
    """
    try:
        values = json.loads(Path(path).read_text("utf-8"))
        scores = {str(n): float(value) for n, value in values["dice"].items() if value is not None}
        shares, volumes = values.get("clean_share", {}), values.get("false_volume_ml", {})
        absent = {
            str(name): (float(share), float(volumes[name]))
            for name, share in shares.items()
            if share is not None
        }
        numbers = [*scores.values(), *(share for share, _ in absent.values())]
        sound = bool(scores) and all(0 <= number <= 1 for number in numbers)
        sound = sound and all(0 <= volume < math.inf for _, volume in absent.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise UserError(
            f"{path} holds no scores; give the output of `mots evaluate --json`, with Dice of "
            '0 to 1 by category under "dice"'
        )
    return Description(scores=scores, absent=absent)


def check_card(text: str) -> None:
    """Refuse a card whose header the Hub would refuse.

    Raises:
        ValueError: If the header is no YAML, names no licence, or its model-index is not valid.
    """
    from huggingface_hub import ModelCard

    try:
        data: Any = ModelCard(text, ignore_metadata_errors=False).data
    except Exception as error:  # YAML's errors, and the card's own of several types
        first = " ".join(str(error).split())
        raise UserError(f"the header of README.md is not valid: {first:.200}") from error
    if not data.license:
        raise UserError("the header of README.md names no license; add license: mit or so")
    for result in data.eval_results or []:
        if not isinstance(result.metric_value, int | float):
            raise UserError(
                f"README.md: {result.metric_name} has value {result.metric_value!r}, no number"
            )

"""The figures that README, docs and cards state, each with the lines that it is the mean of."""

from __future__ import annotations

import re

from traced_rows import (
    ROOT,
    CleanShare,
    Figure,
    MeanDice,
    Reached,
    Rows,
    Seeds,
    adapted,
    adapted_parts,
    ahead_by,
    ahead_of,
    cohort,
    dice,
    inference,
    minutes,
    minutes_to,
    peak,
    stored,
    transfer_by,
    transferred,
)

FIGURES = (
    Figure("docs/cost.md", "| one `mots` over the folder | {} | {} |", cohort("one run")),
    Figure(
        "docs/cost.md",
        "| one process, one scan after the other | {} | {} |",
        cohort("one process, in turn"),
    ),
    Figure("docs/cost.md", "| a `mots` a scan | {} | {} |", cohort("single runs, summed")),
    Figure(
        "docs/cost.md",
        "the three ways took {}, {} and {} seconds",
        tuple(
            cohort(how, "cohort_avx2.csv")[0]
            for how in ("one run", "one process, in turn", "single runs, summed")
        ),
    ),
    *(
        figure
        for network in ("shipped", "paper")
        for figure in (
            inference(
                *(network, "plain loop, eight mirror images, all tasks (reckoned)", "plain loop"),
                reckoned=True,
            ),
            inference(network, "MONAI's inferer, eleven masks", "monai"),
            inference(network, "`mots`, eleven categories", "ours"),
            inference(network, "`mots`, liver and its tumour alone", "ours, one task"),
        )
    ),
    Figure(
        "docs/cost.md",
        "({} against {} MB for 200 x 512 x 512",
        (stored("blosc2 store"), stored("compressed NIfTI, read whole")),
    ),
    Figure(
        "README.md",
        "{} GiB for one category and {} for eleven with the shipped networks (4 x 3 x 3 mm), "
        "{} and {} GiB at the paper's size",
        tuple(peak(n, c) for n in ("small", "paper") for c in ("1 category", "11 categories")),
    ),
    Figure(
        "README.md",
        "with a Dice of {}, {} and {}, pancreas and hepatic vessels with {} and {}, tumours of the "
        "liver and beside its vessels with {} and {};",
        tuple(
            dice("transdodnet.phantom", name)
            for name in (
                *("liver", "spleen", "kidney", "pancreas", "hepatic_vessel", "liver_tumour"),
                "hepatic_vessel_tumour",
            )
        ),
    ),
    Figure(
        "README.md",
        "has a mean Dice of {} after {} minutes. The same network from random weights reaches 0.5 "
        "after {} minutes and has {} after 20, some 950 steps of one patch; MONAI's DynUNet, in "
        "the shape that nnU-Net would plan, from random weights, {} after 20 minutes",
        (
            *(Reached("head"), minutes_to(0.5, "head")),
            *(minutes_to(0.5, "random"), Reached("random"), Reached("dynunet")),
        ),
    ),
    Figure(
        "README.md",
        "with a mean Dice of {} and is ahead of each rival in that, of DoDNet by {} [{}, {}], of "
        "Multi-Nets by {} [{}, {}]",
        (MeanDice("TransDoDNet"), *ahead_of("DoDNet"), *ahead_of("Multi-Nets")),
    ),
    Figure(
        "README.md",
        "In the Hausdorff distance ({} mm) it stands behind four of them (Multi-Nets {}), and "
        "where a tumour is absent it finds none in {} % of cases (TAL {})",
        (
            *(MeanDice(row, metric="hd", digits=0) for row in ("TransDoDNet", "Multi-Nets")),
            *(CleanShare(row) for row in ("TransDoDNet", "TAL")),
        ),
    ),
    Figure(
        "docs/finetune.md",
        "| random weights | {} | |\n| SinglePT, fitted head | {} | {} ({} to {}) |\n"
        "| BYOL-3D, fitted head | {} | {} ({} to {}) |\n"
        "| MOTS, fitted head (the default) | {} | {} ({} to {}) |\n"
        "| MOTS, random head, the full rate | {} | {} ({} to {}) |",
        (
            transferred("table10_bcv_4", "TFS"),
            transferred("table10_bcv_4", "SinglePT"),
            *transfer_by("table10_bcv_4", "SinglePT - TFS"),
            transferred("table10_bcv_4", "BYOL-3D"),
            *transfer_by("table10_bcv_4", "BYOL-3D - TFS"),
            transferred("table10_bcv_4", "MOTS"),
            *transfer_by("table10_bcv_4", "MOTS - TFS"),
            transferred("table10_bcv_4", "MOTS (random head)"),
            *transfer_by("table10_bcv_4", "MOTS (random head) - TFS"),
        ),
    ),
    Figure(
        "docs/finetune.md",
        "MOTS is {} ({} to {}) ahead of SinglePT and {} ({} to {}) ahead of BYOL-3D; SinglePT",
        (
            *transfer_by("table10_bcv_4", "MOTS - SinglePT"),
            *transfer_by("table10_bcv_4", "MOTS - BYOL-3D"),
        ),
    ),
    Figure(
        "docs/finetune.md",
        "In the end the random head is ahead by {} ({} to {}) here",
        transfer_by("table10_bcv_4", "MOTS - MOTS (random head)", factor=-1),
    ),
    Figure(
        "docs/adaptation.md",
        "random weights, trained from scratch at the full rate, have {}. The pretrained ones, at "
        "0.3 of it after a fitted head, stay behind them with every first layer: `first_scaled` "
        "{}, `first` {} (behind by {}, {} to {}), `random` {}, `zero_new` {}.",
        (
            *(transferred("table12", row) for row in ("TFS", "MOTS (first_scaled)", "MOTS")),
            *transfer_by("table12", "MOTS - TFS", factor=-1),
            transferred("table12", "MOTS (random first layer)"),
            transferred("table12", "MOTS (zero_new)"),
        ),
    ),
    *(
        Figure(
            "docs/methods.md",
            f"| {row} | {{}} | {{}} | {{}} | {{}} [{{}}, {{}}] | {{}} | {{}} |",
            (
                *(Seeds(row), MeanDice(row), MeanDice(row, "table09 elsewhere"), *ahead_of(row)),
                *(MeanDice(row, metric="hd", digits=0), CleanShare(row)),
            ),
        )
        for row in ("Multi-Nets", "TAL", "Multi-Head", "Cond-Input", "Cond-Dec", "DoDNet")
    ),
    Figure(
        "docs/methods.md",
        "| TransDoDNet | {} | {} | {} | | {} | {} |",
        (
            Seeds("TransDoDNet"),
            MeanDice("TransDoDNet"),
            MeanDice("TransDoDNet", "table09 elsewhere"),
            MeanDice("TransDoDNet", metric="hd", digits=0),
            CleanShare("TransDoDNet"),
        ),
    ),
    *(
        Figure("docs/finetune.md", f"{words} | {{}} | {{}} | {{}} |", adapted_parts(*where))
        for words, where in {
            "| ` | 4, all organs": ("organs", "head levels"),
            "300 steps of one patch | 4, all organs": ("organs", "all after head levels"),
            "(`fit_head=false`) | 4, all organs": ("organs", "all, head at random"),
            "no fitted head, the full rate | 4, all organs": ("organs", "random weights"),
            "as a learning curve compares | 4, all organs": (
                *("organs", "random weights, head fitted first"),
            ),
            "on random weights | 4, all organs": ("organs", "random weights, head alone"),
            "(`head=linear`) | 4, all organs": ("organs", "head linear"),
            "| ` | 8, all organs": ("incomplete", "all organs"),
            "| ` | 20, all organs": ("twenty", "head levels"),
            "two patches, one seed | 20, all organs": ("twenty", "all after head levels"),
            "| ` | 8, four organs each, drawn at random": ("incomplete", "some organs"),
            "background | 8, four organs each": ("incomplete", "the rest as background"),
            "| 2 of these, all organs": ("incomplete", "all organs of two scans"),
            "| 3 of these, all organs": ("incomplete", "all organs of three scans"),
        }.items()
    ),
    Figure(
        "docs/finetune.md",
        "gave {} more than random ones trained as a network from scratch is (paired 95 % interval "
        "{} to {}), and {} more than random ones trained in the very same way ({} to {}): a head "
        "fitted to random features is no help. With the head alone they gave {} more",
        (
            *ahead_by("all after head levels - random weights"),
            *ahead_by("all after head levels - random weights, head fitted first"),
            ahead_by("head levels - random weights, head alone")[0],
        ),
    ),
    Figure(
        "docs/finetune.md",
        "({}, {} to {}); without fitting the head first they end {} behind ({} to {})",
        (
            *ahead_by("all after head levels - head levels"),
            *ahead_by("all after head levels - all, head at random"),
        ),
    ),
    Figure(
        "docs/finetune.md",
        "default's steps they did: {} more than the head with the same seed ({} to {}, one seed",
        ahead_by("all after head levels - head levels", "twenty"),
    ),
    Figure(
        "docs/finetune.md",
        "worth those of two scans with all organs ({}, {} to {}), and {} less than those of three",
        (
            *ahead_by("some organs - all organs of two scans", "incomplete"),
            ahead_by("some organs - all organs of three scans", "incomplete", factor=-1)[0],
        ),
    ),
    Figure("docs/adaptation.md", "| `random` | {} |", (adapted("channels", "random first layer"),)),
    *(
        Figure(
            "docs/adaptation.md",
            f"| `{way}` | {{}} | {{}} ({{}} to {{}}) |",
            (
                adapted("channels", way),
                *ahead_by(f"{way} - random first layer", "channels", factor=-1),
            ),
        )
        for way in ("first", "first_scaled", "zero_new")
    ),
    Figure(
        "docs/adaptation.md",
        "reached a Dice of {} on six others, and the gallbladder {}",
        tuple(
            Rows(
                "adaptation.csv",
                {"row": "aorta and gallbladder", "category": name, "metric": "dice"},
            )
            for name in ("aorta", "gallbladder")
        ),
    ),
    Figure(
        "hub/backbone.phantom_byol3d/README.md",
        "with an R2 of {}, off random ones with {}",
        tuple(Rows("linear_probe.csv", {"row": x, "metric": "r2"}) for x in ("BYOL-3D", "random")),
    ),
    *(
        Figure(f"hub/{name}/README.md", f"{before}{{}} minutes", (minutes(name),))
        for name, before in {
            "backbone.phantom_byol3d": "as random weights begin. ",
            "dodnet.phantom": "exponential average. ",
            "transdodnet.phantom_singlept": "exponential average. ",
        }.items()
        # Cards of 0.1.0 tell them.
        if before in re.sub(r"\s+", " ", (ROOT / "hub" / name / "README.md").read_text("utf-8"))
    ),
)
"""What is measured, page after page."""

"""Fine-tuning of the trunk on labelled pictures: partial labels, weak labels, balanced drawing, one recipe."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from ml.heads import Head
from ml.networks import FEATURES, Trunk, to_tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml.heads import Floats

    View = Callable[[torch.Tensor, torch.Generator], torch.Tensor]

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Examples:
    """``pictures`` (n, side, side, 3 or 4) uint8; ``allowed`` (n, classes): the labels that may be true of each, of
    which nothing further is known; ``doubt`` (n,): how often even that is wrong; ``draw`` (n,): how often one is drawn.

    ``coarse`` (n, classes): as ``allowed``, for the coarser question that must be answered too; ``case`` (n, k): what
    its case is, learned by a second head that is not kept, all false where that is unknown. Neither: None.
    """

    pictures: npt.NDArray[np.uint8]
    allowed: Mask
    doubt: Floats
    draw: Floats
    coarse: Mask | None = None
    case: Mask | None = None


@dataclass(frozen=True)
class Recipe:
    """``per_epoch`` pictures are drawn with replacement; the first ``frozen`` blocks of the trunk stay as they are."""

    view: View | None
    epochs: int = 8
    per_epoch: int = 4000
    batch: int = 32
    rate: float = 6e-4
    head_rate: float = 4e-3
    frozen: int = 4
    dropout: float = 0.3
    of_coarse: float = 0.5
    of_case: float = 0.3


def balanced(y: npt.NDArray[np.int64], power: float = 0.5) -> Floats:
    """Weights for drawing: a class of frequency f is drawn in proportion to f^(1 − power)."""
    return np.asarray(np.bincount(y)[y] ** -power, dtype=np.float64)


def _as_it_is(x: torch.Tensor, _: torch.Generator) -> torch.Tensor:
    return x


def partial_loss(logits: torch.Tensor, allowed: torch.Tensor, doubt: torch.Tensor) -> torch.Tensor:
    """−ln of the probability that one of the ``allowed`` labels is true, bounded where ``doubt`` is not 0.

    Partial labels as in Cour et al. 2011 (JMLR 12); the bound as in noise-robust likelihoods.
    """
    p = (functional.softmax(logits, dim=1) * allowed).sum(dim=1)
    return -torch.log((1 - doubt) * p + doubt * allowed.float().mean(dim=1) + 1e-7).mean()


def total_loss(
    logits: torch.Tensor, of_case: torch.Tensor, examples: Examples, drawn: npt.NDArray[np.int64], recipe: Recipe
) -> torch.Tensor:
    """The label's loss and, where there are such, the shares of the coarser label's and of the case's."""
    doubt = torch.tensor(examples.doubt[drawn]).float()
    loss = partial_loss(logits, torch.tensor(examples.allowed[drawn]), doubt)
    if examples.coarse is not None:
        loss = loss + recipe.of_coarse * partial_loss(logits, torch.tensor(examples.coarse[drawn]), doubt)
    case_of = np.zeros((len(drawn), 1), bool) if examples.case is None else examples.case[drawn]
    known = torch.tensor(np.flatnonzero(case_of.any(axis=1)))
    if len(known):
        case = partial_loss(of_case[known], torch.tensor(case_of)[known], doubt[known])
        loss = loss + recipe.of_case * len(known) / len(drawn) * case
    return loss


def fit(trunk: Trunk, examples: Examples, rows: npt.NDArray[np.int64], recipe: Recipe, seed: int) -> tuple[Trunk, Head]:
    """A copy of ``trunk`` fine-tuned on ``rows`` of the examples, and the linear classifier on its features."""
    torch.manual_seed(seed)
    view = recipe.view or _as_it_is
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    trunk = copy.deepcopy(trunk).requires_grad_(requires_grad=True)
    for block in trunk.features[: recipe.frozen]:
        block.requires_grad_(requires_grad=False)
    classes = examples.allowed.shape[1]
    head = nn.Linear(FEATURES, classes)
    of_case = nn.Identity() if examples.case is None else nn.Linear(FEATURES, examples.case.shape[1])
    learned = [p for p in trunk.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": learned, "lr": recipe.rate},
        {"params": [*head.parameters(), *of_case.parameters()], "lr": recipe.head_rate},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.03)
    steps = recipe.epochs * (recipe.per_epoch // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [recipe.rate, recipe.head_rate], total_steps=steps, pct_start=0.2
    )
    chance = examples.draw[rows] / examples.draw[rows].sum()
    with tqdm(total=steps, desc="fine-tuning", disable=not sys.stderr.isatty(), leave=False) as progress:
        for _ in range(steps):
            drawn = rng.choice(rows, recipe.batch, p=chance)
            x = view(to_tensor(examples.pictures[drawn]), generator)
            features = functional.dropout(trunk(x.contiguous(memory_format=torch.channels_last)), recipe.dropout)
            loss = total_loss(head(features), of_case(features), examples, drawn, recipe)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learned, 5.0)
            optimiser.step()
            schedule.step()
            progress.update()
    weight, bias = (p.detach().numpy().astype(np.float64) for p in (head.weight, head.bias))
    return trunk.eval().requires_grad_(requires_grad=False), Head(((weight, bias),))

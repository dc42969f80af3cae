"""The differentiable inner loop: many proposals in a row, all accepted, for meta-learning and evaluation."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as torch_checkpoint

from fastweights.core.learner import InnerOutput, Learner
from fastweights.core.state import Chunk, FastState
from fastweights.core.tree import leaves, rebuild


def unroll(
    learner: Learner,
    state: FastState,
    chunks: Iterable[Chunk],
    *,
    create_graph: bool = False,
    checkpoint: bool = False,
) -> tuple[FastState, Tensor]:
    """Read ``chunks`` one after another, writing after each; losses are always under the weights before the write.

    Returns the last state and ``loss_BC`` (C chunks; the outputs' ``outer_B`` where there is one). With
    ``create_graph`` both are differentiable in the initial state's tensors and in whatever the rule and the model
    learn, through every inner gradient. ``checkpoint`` drops the graph of each whole inner step (its inner gradient
    included) and recomputes it in the backward pass: same values and gradients, memory of one step plus the states
    between steps.
    """
    losses = []
    for chunk in chunks:
        if checkpoint and create_graph:
            state, loss_B = _checkpointed(learner, state, chunk)
        else:
            proposal = learner.propose(state, chunk, create_graph=create_graph)
            state, loss_B = proposal.after, _outer(proposal.output)
        losses.append(loss_B)
    if not losses:
        raise ValueError("unroll needs at least one chunk")
    return state, torch.stack(losses, dim=1)


def _outer(output: InnerOutput) -> Tensor:
    return output.loss_B if output.outer_B is None else output.outer_B


def _checkpointed(learner: Learner, state: FastState, chunk: Chunk) -> tuple[FastState, Tensor]:
    tree: Any = {"weights": state.weights, "rule": state.rule, "carry": state.carry}
    names = [path for path, _ in leaves(tree)]
    shape: dict[str, FastState] = {}  # the structure of the state after, whose tensors come back flat

    def step(*tensors: Tensor) -> tuple[Tensor, ...]:
        before = rebuild(tree, dict(zip(names, tensors, strict=True)))
        proposal = learner.propose(
            FastState(before["weights"], before["rule"], before["carry"], state.step), chunk, create_graph=True
        )
        shape["after"] = proposal.after
        return _outer(proposal.output), *(leaf for _, leaf in _named(proposal.after))

    loss_B, *flat = torch_checkpoint(step, *(leaf for _, leaf in leaves(tree)), use_reentrant=False)  # type: ignore[misc]
    after = shape["after"]
    fresh = rebuild(
        {"weights": after.weights, "rule": after.rule, "carry": after.carry},
        dict(zip((path for path, _ in _named(after)), flat, strict=True)),
    )
    return FastState(fresh["weights"], fresh["rule"], fresh["carry"], after.step), loss_B


def _named(state: FastState) -> list[tuple[str, Tensor]]:
    return list(leaves({"weights": state.weights, "rule": state.rule, "carry": state.carry}))

"""The TTT layer (Sun et al., 2024): its state is the weights of an inner model that learns as it reads.

For each head, ``k, v, q`` are projections of the token; the inner model f(x; W) = x + LN(W x) steps down the gradient
of ``|f(k; W) - v|²`` and is read at q. Reading a text (training, prefill) takes the gradients of a chunk at the chunk's
first weights, all at once (the dual form); decoding takes one token after another (``config.decode``).

The state is a value, a flat dict of tensors with B in front: ``W1, b1, W2, b2`` (fp32), ``a1, u1, …`` (the steps of the
chunk that is still open), ``conv`` (window of the convolution), ``position`` and ``phase`` (int64 ``[B]``: tokens read,
and tokens in the open chunk).

Legend: B sequences, T time, D channels, H heads, N chunks, P = B H, L tokens of a chunk. Slow twin: ``naive_ttt``.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastweights.layers import ttt_inner, ttt_linear, ttt_mlp, ttt_open
from fastweights.layers.conv import CausalConv
from fastweights.layers.linear import Linear
from fastweights.layers.norm import normalize
from fastweights.layers.rope import rotate
from fastweights.layers.ttt_compiled import compiled_chunks
from fastweights.layers.ttt_config import TTTConfig
from fastweights.layers.ttt_inner import INNER, Fast, Rows, Target
from fastweights.layers.ttt_span import Span

State = dict[str, Tensor]


class Read:
    """What the inner loop gets of a stretch of tokens: ``q, k, shift [B, T, H, D/H]`` and rates ``c [B, T, H, 1]``."""

    __slots__ = ("c", "k", "q", "shift")

    def __init__(self, q: Tensor, k: Tensor, shift: Tensor, c: Tensor) -> None:
        self.q, self.k, self.shift, self.c = q, k, shift, c


class TTTLayer(nn.Module):
    """``(y_BTD, state)`` of ``(x_BTD, state)``; see the top of the file and :class:`TTTConfig`.

    ``forward`` reads a stretch of any length; in pieces, cut anywhere, it gives what the whole gives. ``decode`` reads
    one token. The inner loop computes in fp32 (fp64 for a fp64 module) under autocast too.
    """

    def __init__(self, config: TTTConfig) -> None:
        super().__init__()
        self.config = config
        D, H, d = config.dim, config.heads, config.head_dim
        self.q = Linear(D, D)
        self.k = None if config.share_qk_conv else Linear(D, D)
        self.v = Linear(D, D)
        self.o = Linear(D, D)
        self.gate = Linear(D, D) if config.gate else None
        self.conv_q = CausalConv(D, config.conv_taps, bias=True) if config.share_qk_conv else None
        self.conv_k = CausalConv(D, config.conv_taps, bias=True) if config.share_qk_conv else None
        rates = H if config.eta_per_head else 1
        self.rate_weight = nn.Parameter(torch.randn(rates, D) * config.init_std)
        self.rate_bias = nn.Parameter(torch.zeros(rates))
        self.row_offset = nn.Parameter(torch.zeros(config.chunk)) if config.row == "learned" else None
        self.ln_gain = nn.Parameter(torch.ones(H, d)) if config.ln_affine else None
        self.ln_bias = nn.Parameter(torch.zeros(H, d)) if config.ln_affine else None
        self.post_norm = nn.LayerNorm(D, eps=config.norm_eps) if config.post_norm else None
        self.inner = INNER[config.inner]
        for i, (width, out) in enumerate(self.inner.widths(d, config.expansion), 1):
            self.register_parameter(f"W{i}", nn.Parameter(torch.randn(H, width, out) * config.init_std))
            self.register_parameter(f"b{i}", nn.Parameter(torch.zeros(H, 1, out)) if config.bias else None)
        for linear in (self.q, self.k, self.v, self.o, self.gate):
            if linear is not None:
                nn.init.normal_(linear.weight, std=config.init_std)

    # ------------------------------------------------------------ state

    @property
    def dtype(self) -> torch.dtype:
        """Of the fast weights."""
        return torch.promote_types(self.rate_weight.dtype, torch.float32)

    def init_carry(self, batch: int) -> State:
        """The state before any token: own copies of the learned W0 (gradients flow to it), no open chunk."""
        config, state = self.config, {}
        device, H, L = self.rate_weight.device, config.heads, config.chunk
        for i, (width, out) in enumerate(self.inner.widths(config.head_dim, config.expansion), 1):
            state[f"W{i}"] = getattr(self, f"W{i}").to(self.dtype).repeat(batch, 1, 1, 1)
            if config.bias:
                state[f"b{i}"] = getattr(self, f"b{i}").to(self.dtype).repeat(batch, 1, 1, 1)
            state[f"a{i}"] = torch.zeros(batch, H, L, width, dtype=self.dtype, device=device)
            state[f"u{i}"] = torch.zeros(batch, H, L, out, dtype=self.dtype, device=device)
        if self.conv_q is not None:
            state["conv"] = self.conv_q.init_carry(batch)
        counters = torch.zeros(2, batch, dtype=torch.int64, device=device)
        return {**state, "position": counters[0].clone(), "phase": counters[1].clone()}

    def _load(self, state: State) -> tuple[list[Fast], list[Rows]]:
        names = range(1, len(self.inner.widths(1, 1)) + 1)
        fast = [Fast(*(state[n].flatten(0, 1) if n in state else None for n in (f"W{i}", f"b{i}"))) for i in names]  # type: ignore[arg-type]
        return fast, [Rows(state[f"a{i}"].flatten(0, 1), state[f"u{i}"].flatten(0, 1)) for i in names]

    def _store(self, state: State, fast: list[Fast], rows: list[Rows]) -> State:
        out, heads = dict(state), (-1, self.config.heads)
        for i, (layer, row) in enumerate(zip(fast, rows, strict=True), 1):
            out[f"W{i}"] = layer.w_DF.unflatten(0, heads)
            if layer.b_1F is not None:
                out[f"b{i}"] = layer.b_1F.unflatten(0, heads)
            out[f"a{i}"], out[f"u{i}"] = row.a_LD.unflatten(0, heads), row.u_LF.unflatten(0, heads)
        return out

    # ------------------------------------------------------------ reading

    def span(self, tokens: int, state: State, lengths: Sequence[int] | None = None) -> Span:
        """Where the next ``tokens`` stand; layers of one model share it."""
        return Span.of(self.config, tokens, state["position"], state["phase"], lengths, self.dtype)

    def forward(
        self,
        x_BTD: Tensor,
        state: State | None = None,
        *,
        lengths: Sequence[int] | None = None,
        learn: bool = True,
        span: Span | None = None,
    ) -> tuple[Tensor, State]:
        """Reads T tokens, anchored at chunks, whatever ``config.decode`` says.

        ``lengths``: real tokens of each row, the rest is padding at its right end, which changes no state and no other
        token (its own outputs mean nothing). ``learn=False``: the tokens are read with the weights as they stand; W and
        the open chunk stay the very same tensors, position and convolutions go on (a refused chunk is replayed so).
        """
        state = self.init_carry(x_BTD.shape[0]) if state is None else state
        span = self.span(x_BTD.shape[1], state, lengths) if span is None else span
        read, state = self._project(x_BTD, state, span)
        with torch.autocast(x_BTD.device.type, enabled=False):
            fast, rows = self._load(state)
            if learn:
                y_BTD, fast, rows = self._learn(read, fast, rows, span)
                state = self._store(state, fast, rows)
            else:
                y_BTD = self._only_read(read, fast, rows, span)
        counts_B = torch.tensor(span.counts, device=x_BTD.device)
        state["position"] = state["position"] + counts_B
        if learn:
            state["phase"] = (state["phase"] + counts_B) % self.config.chunk
        return self._out(x_BTD, y_BTD), state

    def decode(self, x_B1D: Tensor, state: State, *, span: Span | None = None) -> tuple[Tensor, State]:
        """Reads one token of each sequence as ``config.decode`` says; inference only.

        ``online`` steps at the weights as they stand, by the configured chunk's rate (``2 / chunk``, not ``2 / 1``);
        an open chunk of the prefill is folded into W first. ``anchored`` gives what :meth:`forward` gives.
        Raises RuntimeError in training mode.
        """
        if self.training:
            raise RuntimeError("decode in training mode: call .eval() first; training reads chunks through forward")
        span = self.span(1, state) if span is None else span
        read, state = self._project(x_B1D, state, span)
        config, online = self.config, self.config.decode == "online"
        with torch.autocast(x_B1D.device.type, enabled=False):
            fast, rows = self._load(state)
            q, k, shift, c = (t.transpose(1, 2).flatten(0, 1) for t in (read.q, read.k, read.shift, read.c))
            target = self._target(shift, len(span.phases))
            if online:
                z_P1D, fast, rows = ttt_open.online_step(
                    self.inner, fast, rows, q, k, c, target, open_chunk=any(span.phases), strict=config.strict
                )
            else:
                place = ttt_open.Place(span.phases, config.heads, self._rows(), config.strict)
                z_P1D, fast, rows = ttt_open.anchored_step(self.inner, fast, rows, q, k, c, target, place)
            y_P1D = self._affine(q, normalize(z_P1D, config.norm_eps)[0], len(span.phases))
        state = self._store(state, fast, rows)
        state["position"] = state["position"] + 1
        state["phase"] = torch.zeros_like(state["phase"]) if online else (state["phase"] + 1) % config.chunk
        return self._out(x_B1D, y_P1D.view(x_B1D.shape)), state

    # ------------------------------------------------------------ parts

    def _project(self, x_BTD: Tensor, state: State, span: Span) -> tuple[Read, State]:
        """Projections of the tokens in the inner loop's dtype, and the state with its convolution's window moved on."""
        config = self.config
        q_BTD = self.q(x_BTD)
        if self.conv_q is not None and self.conv_k is not None:
            past_BKD = state["conv"]
            stretch = torch.cat([past_BKD.to(q_BTD.dtype), q_BTD], dim=1) if span.lengths is not None else None
            k_BTD, after = self.conv_k(q_BTD, past_BKD)
            q_BTD, _ = self.conv_q(q_BTD, past_BKD)
            after = after if stretch is None else span.window(stretch, past_BKD.shape[1])
            state = {**state, "conv": after.to(past_BKD.dtype)}
        else:
            assert self.k is not None
            k_BTD, state = self.k(x_BTD), dict(state)
        heads = (config.heads, config.head_dim)
        with torch.autocast(x_BTD.device.type, enabled=False):
            q, k, v = (t.to(self.dtype).unflatten(-1, heads) for t in (q_BTD, k_BTD, self.v(x_BTD)))
            q, k = rotate(q, span.rotations), rotate(k, span.rotations)
            shift = k - v if self.ln_bias is None else (k - v) + self.ln_bias.to(self.dtype)
            if self.ln_gain is not None:
                shift = shift * self.ln_gain.to(self.dtype)
            rate = F.linear(x_BTD.to(self.dtype), self.rate_weight.to(self.dtype), self.rate_bias.to(self.dtype))
            c = torch.sigmoid(rate) * config.col_scale
            return Read(q, k, shift, c.unsqueeze(-1).expand(-1, -1, config.heads, -1)), state

    def _rows(self) -> Tensor:
        """The row factors ``[L]``."""
        L = self.config.chunk
        if self.row_offset is None:
            return torch.ones(L, dtype=self.dtype, device=self.rate_weight.device)
        places = torch.arange(1, L + 1, dtype=self.dtype, device=self.rate_weight.device)
        return (places.reciprocal() + self.row_offset.to(self.dtype)).clamp(min=0)

    def _target(self, shift: Tensor, batch: int) -> Target:
        if self.ln_gain is None:
            return Target(shift, None, self.config.norm_eps)
        return Target(
            shift, self.ln_gain.to(self.dtype).square().unsqueeze(1).repeat(batch, 1, 1), self.config.norm_eps
        )

    def _affine(self, q_LD: Tensor, xhat_LD: Tensor, batch: int) -> Tensor:
        """``q + gain * xhat + bias``."""
        if self.ln_gain is None or self.ln_bias is None:
            return q_LD + xhat_LD
        gain, bias = (t.to(self.dtype).unsqueeze(1).repeat(batch, 1, 1) for t in (self.ln_gain, self.ln_bias))
        return torch.addcmul(q_LD + bias, xhat_LD, gain)

    def _learn(
        self, read: Read, fast: list[Fast], rows: list[Rows], span: Span
    ) -> tuple[Tensor, list[Fast], list[Rows]]:
        """``(y_BTD, fast, rows)`` before the output's projection."""
        config, batch = self.config, len(span.phases)
        row_L = self._rows()
        seen_LL = ttt_inner.seen(row_L, strict=config.strict)
        sizes = [span.hot.start, len(span.hot), span.chunks - span.hot.stop]
        cut = [span.cut(t) for t in (read.q, read.k, read.shift, read.c)]
        outs, at = [], 0
        for hot, parts in zip((False, True, False), zip(*(t.split(sizes) for t in cut), strict=True), strict=True):
            q, k, shift, c = parts
            if not len(q):
                continue
            target = self._target(shift, batch)
            if hot:
                xhat, fast = self._hot(q, k, c, target, fast, seen_LL, row_L[-1])
            else:
                zs = []
                for q_PLD, k_PLD, shift_PLD, c_PL1 in zip(*(t.unbind(0) for t in parts), strict=True):
                    valid, one = span.valid(at + len(zs)), target._replace(shift_LD=shift_PLD)
                    z_PLD, rows = ttt_open.partial_chunk(
                        self.inner, fast, rows, q_PLD, k_PLD, c_PL1 * valid, valid, one, seen_LL
                    )
                    full = [at + len(zs) < f for f in span.full]
                    fast, rows = ttt_open.fold_full(fast, rows, full, config.heads, row_L[-1])
                    zs.append(z_PLD)
                xhat = normalize(torch.stack(zs), config.norm_eps)[0]
            outs.append(xhat)
            at += len(q)
        y_NPLD = self._affine(cut[0], outs[0] if len(outs) == 1 else torch.cat(outs), batch)
        return span.join(y_NPLD), fast, rows

    def _hot(
        self, q: Tensor, k: Tensor, c: Tensor, target: Target, fast: list[Fast], seen_LL: Tensor, last: Tensor
    ) -> tuple[Tensor, list[Fast]]:
        """Full chunks: ``xhat`` of the outputs, and the weights after them."""
        engine = self.config.engine
        if engine == "handwritten" and self.inner is ttt_inner.Linear:
            xhat, layer = ttt_linear.dual(fast[0], q, k, c, target, seen_LL, last)
            return xhat, [layer]
        if engine == "handwritten":
            return ttt_mlp.dual(fast, q, k, c, target, seen_LL, last)
        if engine == "compiled":
            return compiled_chunks(self.inner, fast, q, k, c, target, seen_LL, last)
        z, fast = ttt_inner.whole_chunks(self.inner, fast, q, k, c, target, seen_LL, last)
        return normalize(z, self.config.norm_eps)[0], fast

    def _only_read(self, read: Read, fast: list[Fast], rows: list[Rows], span: Span) -> Tensor:
        q_PTD = read.q.transpose(1, 2).flatten(0, 1)
        place = ttt_open.Place(span.phases, self.config.heads, self._rows(), self.config.strict)
        z_PTD = ttt_open.read_only(self.inner, fast, rows, q_PTD, place)
        y_PTD = self._affine(q_PTD, normalize(z_PTD, self.config.norm_eps)[0], len(span.phases))
        return y_PTD.unflatten(0, (len(span.phases), -1)).transpose(1, 2).flatten(2)

    def _out(self, x_BTD: Tensor, y_BTD: Tensor) -> Tensor:
        y_BTD = y_BTD.to(x_BTD.dtype)
        if self.post_norm is not None:
            y_BTD = self.post_norm(y_BTD)
        if self.gate is not None:
            y_BTD = F.gelu(self.gate(x_BTD), approximate="tanh") * y_BTD
        return self.o(y_BTD)

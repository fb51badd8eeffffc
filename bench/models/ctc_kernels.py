"""Triton kernels of ctc_triton.py: a program keeps all states of an utterance to itself and walks through its frames.

Blanks and labels take turns among the states, so a frame's are two vectors: blank i lies before label i, the last
behind all labels. One program goes through labels and frames from their beginning, one from their end: what the latter
reaches is the backward variable.
Shapes: N utterances, T frames, V symbols of which 0 is the blank, S labels, K 2 kinds of states (blanks, labels),
W = S + 1 places of a kind, P places of a program, a power of two that is at least W; X symbols of a tile.
"""

# Imported where a kernel is to be launched alone: Triton comes with torch for Linux, and reads this file's globals.
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

LOG_ZERO = tl.constexpr(-1e30)  # as bench.models.ctc has it


@triton.jit
def _log_add(x_P, y_P, z_P):
    """log(exp x + exp y + exp z)."""
    highest_P = tl.maximum(tl.maximum(x_P, y_P), z_P)
    return highest_P + tl.log(tl.exp(x_P - highest_P) + tl.exp(y_P - highest_P) + tl.exp(z_P - highest_P))


@triton.jit
def _emissions(row_V, symbol_P, is_label_P):
    """Log-probabilities of the blank and of each label at a frame."""
    return tl.load(row_V), tl.load(row_V + symbol_P, mask=is_label_P, other=LOG_ZERO)


@triton.jit
def reach(log_p_NTV, labels_NS, num_frames_N, num_labels_N, reached_2NTKW, N, T, V, S, P: tl.constexpr):
    """Log-probability of all paths that are in a state at a frame, the frame's emission included.

    reached: from the beginning, then from the end; states and frames in their own order in both. What lies beyond an
    utterance's lengths is left as it was. Source: Graves et al. 2006, Eq. 6 and 10.
    """
    n, turned = tl.program_id(0).to(tl.int64), tl.program_id(1)
    num_frames = tl.load(num_frames_N + n).to(tl.int32)
    num_labels = tl.load(num_labels_N + n).to(tl.int32)
    place_P = tl.arange(0, P)
    is_blank_P, is_label_P = place_P <= num_labels, place_P < num_labels
    blank_P = tl.where(turned == 1, num_labels - place_P, place_P)
    label_P = tl.where(turned == 1, num_labels - 1 - place_P, place_P)
    before_P = tl.where(turned == 1, label_P + 1, label_P - 1)
    symbol_P = tl.load(labels_NS + n * S + label_P, mask=is_label_P, other=0)
    symbol_before_P = tl.load(labels_NS + n * S + before_P, mask=is_label_P & (place_P > 0), other=0)
    may_skip_P = (place_P > 0) & (symbol_P != symbol_before_P)
    previous_P = tl.maximum(place_P - 1, 0)

    step = tl.where(turned == 1, -1, 1)
    frame = tl.where(turned == 1, num_frames - 1, 0)
    row_V = log_p_NTV + (n * T + frame) * V
    blank, emitted_P = _emissions(row_V, symbol_P, is_label_P)
    nothing_P = tl.full([P], LOG_ZERO, emitted_P.dtype)
    at_blank_P = tl.where(place_P == 0, blank, nothing_P)
    at_label_P = tl.where(place_P == 0, emitted_P, nothing_P)
    reached_KW = reached_2NTKW + ((turned * N + n) * T + frame) * 2 * (S + 1)
    tl.store(reached_KW + blank_P, at_blank_P, mask=is_blank_P)
    tl.store(reached_KW + S + 1 + label_P, at_label_P, mask=is_label_P)
    left = num_frames - 1
    row_V += tl.where(left > 0, step * V, 0)
    blank, emitted_P = _emissions(row_V, symbol_P, is_label_P)  # a frame ahead, so that no step waits for memory
    while left > 0:
        reached_KW += step * 2 * (S + 1)
        left -= 1
        blank_now, emitted_now_P = blank, emitted_P
        row_V += tl.where(left > 0, step * V, 0)
        blank, emitted_P = _emissions(row_V, symbol_P, is_label_P)
        label_before_P = tl.where(place_P == 0, nothing_P, tl.gather(at_label_P, previous_P, 0))
        skipped_P = tl.where(may_skip_P, label_before_P, nothing_P)
        at_label_P = _log_add(at_label_P, at_blank_P, skipped_P) + emitted_now_P
        at_blank_P = _log_add(at_blank_P, label_before_P, nothing_P) + blank_now
        tl.store(reached_KW + blank_P, at_blank_P, mask=is_blank_P)
        tl.store(reached_KW + S + 1 + label_P, at_label_P, mask=is_label_P)


@triton.jit
def emit(
    log_p_NTV,
    labels_NS,
    num_frames_N,
    num_labels_N,
    reached_2NTKW,
    loss_N,
    posterior_NTV,
    N,
    T,
    V: tl.constexpr,
    S,
    P: tl.constexpr,
    X: tl.constexpr,
):
    """Probability that a frame emits a symbol given the labels, and at the first frame -log of that of the labels.

    Labels that have too few frames: 0 and inf. A frame's probabilities are divided by their own sum.
    """
    n, frame = tl.program_id(0).to(tl.int64), tl.program_id(1)
    num_frames, num_labels = tl.load(num_frames_N + n), tl.load(num_labels_N + n)
    is_inside = frame < num_frames
    place_P = tl.arange(0, P)
    is_blank_P, is_label_P = is_inside & (place_P <= num_labels), is_inside & (place_P < num_labels)
    symbol_P = tl.load(labels_NS + n * S + place_P, mask=is_label_P, other=-1)
    row_V = log_p_NTV + (n * T + frame) * V
    blank, emitted_P = _emissions(row_V, symbol_P, is_label_P)
    first_KW = reached_2NTKW + (n * T + frame) * 2 * (S + 1) + place_P
    turned_KW = reached_2NTKW + ((N + n) * T + frame) * 2 * (S + 1) + place_P
    nothing_P = tl.full([P], LOG_ZERO, emitted_P.dtype)
    at_blank_P = tl.load(first_KW, mask=is_blank_P, other=0.0) + tl.load(turned_KW, mask=is_blank_P, other=0.0)
    at_blank_P = tl.where(is_blank_P, at_blank_P - blank, nothing_P)  # the frame's own emission is in both
    first_KW += S + 1
    turned_KW += S + 1
    at_label_P = tl.load(first_KW, mask=is_label_P, other=0.0) + tl.load(turned_KW, mask=is_label_P, other=0.0)
    at_label_P = tl.where(is_label_P, at_label_P - emitted_P, nothing_P)
    highest = tl.maximum(tl.max(at_blank_P, 0), tl.max(at_label_P, 0))
    at_blank_P, at_label_P = tl.exp(at_blank_P - highest), tl.exp(at_label_P - highest)
    total = tl.sum(at_blank_P, 0) + tl.sum(at_label_P, 0)
    log_total = highest + tl.log(total)
    is_possible = log_total > LOG_ZERO / 2
    if frame == 0:
        tl.store(loss_N + n, tl.where(is_possible, -log_total, float("inf")))
    factor = tl.where(is_inside & is_possible, 1.0 / total, 0.0)
    of_blank = factor * tl.sum(at_blank_P, 0)
    share_P = factor * tl.where(is_label_P, at_label_P, 0.0)
    for first in range(0, V, X):
        symbol_X = first + tl.arange(0, X)
        own_XP = tl.where(symbol_X[:, None] == symbol_P[None, :], share_P[None, :], 0.0)
        posterior_X = tl.where(symbol_X == 0, of_blank, tl.sum(own_XP, 1))
        tl.store(posterior_NTV + (n * T + frame) * V + symbol_X, posterior_X, mask=symbol_X < V)

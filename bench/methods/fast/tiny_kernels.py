"""Triton kernels of tiny.py: every thread keeps a row of attention to itself, so P is never in memory. And of masks.py.

Rows of all sequences follow one another, ROWS of them a program, whichever sequences they belong to. What the loop over
the keys of a row, or the queries of a key, reads of a sequence stays in the nearest cache.
With softmax, w = exp(z - highest) and P = w / total; otherwise w is the similarity and P as normalized_rows has it.
Shapes: N sequences, Q queries, K keys, M masks, W width of queries, keys and values, R rows of a program.
"""

# Imported where a kernel is to be launched alone: Triton comes with torch for Linux, and reads this file's globals.
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

SMALLEST_TOTAL = tl.constexpr(2.0**-63)  # normalized_rows's, of float32


@triton.jit
def _own_rows(num_rows, LENGTH: tl.constexpr, ROWS: tl.constexpr):
    """A program's rows, its sequences' numbers, and which rows there are: the others repeat the last.

    So no load needs a mask. LENGTH: rows of a sequence.
    """
    row_R = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_there_R = row_R < num_rows
    row_R = tl.minimum(row_R, num_rows - 1)
    return row_R, row_R // LENGTH, is_there_R


@triton.jit
def _at(row_R, STRIDE: tl.constexpr, W: tl.constexpr):
    """Where the numbers of rows of width W lie, (R, W), if each row's tensor is STRIDE numbers long."""
    return row_R.to(tl.int64)[:, None] * STRIDE + tl.arange(0, W)[None, :]


@triton.jit
def _highest_logit(
    q_RW, k_RW_0, allowed_R, K: tl.constexpr, W: tl.constexpr, HAS_MASK: tl.constexpr, ROWS: tl.constexpr
):
    """The largest logit of each row over its allowed keys. k_RW_0: where the first key of a row's sequence lies."""
    highest_R = tl.full([ROWS], float("-inf"), tl.float32)
    for j in range(K):
        z_R = tl.sum(q_RW * tl.load(k_RW_0 + j * W), axis=1)
        if HAS_MASK:
            z_R = tl.where(tl.load(allowed_R + j) != 0, z_R, float("-inf"))
        highest_R = tl.maximum(highest_R, z_R)
    return highest_R


@triton.jit
def forward(
    q_NQW,
    k_NKW,
    v_NKW,
    o_NQW,
    eps,
    num_rows,
    allowed_MQK,
    sequences_per_mask,
    Q: tl.constexpr,
    K: tl.constexpr,
    W: tl.constexpr,
    HAS_MASK: tl.constexpr,
    IS_SOFTMAX: tl.constexpr,
    HAS_UNIFORM_ROWS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """O of a program's rows (sequence, query)."""
    row_R, n_R, is_there_R = _own_rows(num_rows, Q, ROWS)
    own_RW = _at(row_R, W, W)
    keys_RW = _at(n_R, K * W, W)
    allowed_R = allowed_MQK + (n_R // sequences_per_mask * Q + row_R % Q) * K
    q_RW = tl.load(q_NQW + own_RW)
    highest_R = tl.full([ROWS], float("-inf"), tl.float32)
    if IS_SOFTMAX:
        highest_R = _highest_logit(q_RW, k_NKW + keys_RW, allowed_R, K, W, HAS_MASK, ROWS)
    total_R = tl.zeros([ROWS], tl.float32)
    num_allowed_R = tl.zeros([ROWS], tl.float32)
    sum_RW = tl.zeros([ROWS, W], tl.float32)
    plain_sum_RW = tl.zeros([ROWS, W], tl.float32)
    for j in range(K):
        w_R = tl.sum(q_RW * tl.load(k_NKW + keys_RW + j * W), axis=1)
        v_RW = tl.load(v_NKW + keys_RW + j * W)
        is_allowed_R = tl.full([ROWS], True, tl.int1)
        if IS_SOFTMAX:
            w_R = tl.exp(w_R - highest_R)
        if HAS_MASK:
            is_allowed_R = tl.load(allowed_R + j) != 0
            w_R = tl.where(is_allowed_R, w_R, 0.0)
        if HAS_UNIFORM_ROWS:
            num_allowed_R += is_allowed_R.to(tl.float32)
            plain_sum_RW += tl.where(is_allowed_R[:, None], v_RW, 0.0)
        total_R += w_R
        sum_RW += w_R[:, None] * v_RW
    if not IS_SOFTMAX:
        total_R += eps
    o_RW = sum_RW / total_R[:, None]
    if HAS_UNIFORM_ROWS:
        is_regular_R1 = (total_R > SMALLEST_TOTAL)[:, None]
        o_RW = tl.where(is_regular_R1, o_RW, plain_sum_RW / num_allowed_R[:, None])
    tl.store(o_NQW + own_RW, o_RW, mask=is_there_R[:, None])


@triton.jit
def backward_queries(
    do_NQW,
    q_NQW,
    k_NKW,
    v_NKW,
    dq_NQW,
    rows_3NQ,
    eps,
    num_rows,
    allowed_MQK,
    sequences_per_mask,
    Q: tl.constexpr,
    K: tl.constexpr,
    W: tl.constexpr,
    HAS_MASK: tl.constexpr,
    IS_SOFTMAX: tl.constexpr,
    HAS_UNIFORM_ROWS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """dQ of a program's rows (sequence, query), and what `backward_keys` has to know of each of them.

    Of a row: the highest logit, or what P has at every allowed key; the factor of w in P; the sum of P dP.
    """
    row_R, n_R, is_there_R = _own_rows(num_rows, Q, ROWS)
    own_RW = _at(row_R, W, W)
    keys_RW = _at(n_R, K * W, W)
    allowed_R = allowed_MQK + (n_R // sequences_per_mask * Q + row_R % Q) * K
    q_RW = tl.load(q_NQW + own_RW)
    do_RW = tl.load(do_NQW + own_RW)
    offset_R = tl.full([ROWS], 0.0, tl.float32)
    if IS_SOFTMAX:
        offset_R = _highest_logit(q_RW, k_NKW + keys_RW, allowed_R, K, W, HAS_MASK, ROWS)
    total_R = tl.zeros([ROWS], tl.float32)
    num_allowed_R = tl.zeros([ROWS], tl.float32)
    mean_dp_R = tl.zeros([ROWS], tl.float32)
    for j in range(K):
        w_R = tl.sum(q_RW * tl.load(k_NKW + keys_RW + j * W), axis=1)
        dp_R = tl.sum(do_RW * tl.load(v_NKW + keys_RW + j * W), axis=1)
        if IS_SOFTMAX:
            w_R = tl.exp(w_R - offset_R)
        is_allowed_R = tl.full([ROWS], True, tl.int1)
        if HAS_MASK:
            is_allowed_R = tl.load(allowed_R + j) != 0
            w_R = tl.where(is_allowed_R, w_R, 0.0)
        if HAS_UNIFORM_ROWS:
            num_allowed_R += is_allowed_R.to(tl.float32)
        total_R += w_R
        mean_dp_R += w_R * dp_R
    if not IS_SOFTMAX:
        total_R += eps
    factor_R = 1.0 / total_R
    mean_dp_R *= factor_R
    if HAS_UNIFORM_ROWS:
        is_regular_R = total_R > SMALLEST_TOTAL
        factor_R = tl.where(is_regular_R, factor_R, 0.0)
        mean_dp_R = tl.where(is_regular_R, mean_dp_R, 0.0)
        offset_R = tl.where(is_regular_R, 0.0, 1.0 / num_allowed_R)
    dq_RW = tl.zeros([ROWS, W], tl.float32)
    for j in range(K):
        k_RW = tl.load(k_NKW + keys_RW + j * W)
        dp_R = tl.sum(do_RW * tl.load(v_NKW + keys_RW + j * W), axis=1)
        dz_R = factor_R * (dp_R - mean_dp_R)
        if IS_SOFTMAX:
            dz_R *= tl.exp(tl.sum(q_RW * k_RW, axis=1) - offset_R)
        if HAS_MASK:
            dz_R = tl.where(tl.load(allowed_R + j) != 0, dz_R, 0.0)
        dq_RW += dz_R[:, None] * k_RW
    tl.store(dq_NQW + own_RW, dq_RW, mask=is_there_R[:, None])
    tl.store(rows_3NQ + row_R, offset_R, mask=is_there_R)
    tl.store(rows_3NQ + num_rows + row_R, factor_R, mask=is_there_R)
    tl.store(rows_3NQ + 2 * num_rows + row_R, mean_dp_R, mask=is_there_R)


@triton.jit
def backward_keys(
    do_NQW,
    q_NQW,
    k_NKW,
    v_NKW,
    rows_3NQ,
    dk_NKW,
    dv_NKW,
    num_rows,
    num_keys,
    allowed_MQK,
    sequences_per_mask,
    Q: tl.constexpr,
    K: tl.constexpr,
    W: tl.constexpr,
    HAS_MASK: tl.constexpr,
    IS_SOFTMAX: tl.constexpr,
    HAS_UNIFORM_ROWS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """dK and dV of a program's rows (sequence, key)."""
    key_R, n_R, is_there_R = _own_rows(num_keys, K, ROWS)
    own_RW = _at(key_R, W, W)
    queries_RW = _at(n_R, Q * W, W)
    rows_R = rows_3NQ + n_R * Q
    allowed_R = allowed_MQK + n_R // sequences_per_mask * (Q * K) + key_R % K
    k_RW = tl.load(k_NKW + own_RW)
    v_RW = tl.load(v_NKW + own_RW)
    dk_RW = tl.zeros([ROWS, W], tl.float32)
    dv_RW = tl.zeros([ROWS, W], tl.float32)
    for i in range(Q):
        q_RW = tl.load(q_NQW + queries_RW + i * W)
        do_RW = tl.load(do_NQW + queries_RW + i * W)
        offset_R = tl.load(rows_R + i)
        factor_R = tl.load(rows_R + num_rows + i)
        mean_dp_R = tl.load(rows_R + 2 * num_rows + i)
        z_R = tl.sum(q_RW * k_RW, axis=1)
        dz_R = factor_R * (tl.sum(do_RW * v_RW, axis=1) - mean_dp_R)
        if IS_SOFTMAX:
            z_R -= offset_R
            w_R = tl.exp(tl.where(z_R > 0, 0.0, z_R))  # above 0 if this kernel rounds z otherwise
            p_R = w_R * factor_R
            dz_R *= w_R
        else:
            p_R = z_R * factor_R
            if HAS_UNIFORM_ROWS:
                p_R = tl.where(factor_R == 0, offset_R, p_R)
        if HAS_MASK:
            is_allowed_R = tl.load(allowed_R + i * K) != 0
            p_R = tl.where(is_allowed_R, p_R, 0.0)
            dz_R = tl.where(is_allowed_R, dz_R, 0.0)
        dk_RW += dz_R[:, None] * q_RW
        dv_RW += p_R[:, None] * do_RW
    tl.store(dk_NKW + own_RW, dk_RW, mask=is_there_R[:, None])
    tl.store(dv_NKW + own_RW, dv_RW, mask=is_there_R[:, None])


@triton.jit(do_not_specialize=["stream", "threshold"])
def keep(
    kept_NW,
    seed_N,
    step_N,
    stream,
    threshold,
    num_words,
    SEED_STRIDE: tl.constexpr,
    STEP_STRIDE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Four bytes of the mask of seed n as a word: 1 where the upper 24 bits of a random word reach the threshold.

    A thread draws four words in registers. Shapes: N seeds, W words.
    """
    n = tl.program_id(1)
    word_W = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    none_W = tl.zeros([BLOCK], tl.uint32)
    step_W = none_W + tl.load(step_N + n * STEP_STRIDE).to(tl.uint32)
    stream_W = none_W + stream.to(tl.uint32)
    seed = tl.load(seed_N + n * SEED_STRIDE)
    w0, w1, w2, w3 = tl.philox(seed, word_W.to(tl.uint32), step_W, stream_W, none_W)
    kept_W = (w0 >> 8 >= threshold).to(tl.uint32)
    kept_W |= (w1 >> 8 >= threshold).to(tl.uint32) << 8
    kept_W |= (w2 >> 8 >= threshold).to(tl.uint32) << 16
    kept_W |= (w3 >> 8 >= threshold).to(tl.uint32) << 24
    own_W = kept_NW + n.to(tl.int64) * num_words + word_W
    tl.store(own_W, kept_W.to(tl.int32, bitcast=True), mask=word_W < num_words)

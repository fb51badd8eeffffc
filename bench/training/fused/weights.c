/* The weight of each projection from what is trained, and its gradient: bench.methods.linear, forward and backward.

   LINEAR: plain; W / sigma(W); gamma W / sigma(W); g v / |v| for every output. The first LINEAR_ROLES of query, key and
   value have it, the others are plain. Shapes: I inputs, O outputs, WIDTH both. */

#define LINEAR_PLAIN 0
#define LINEAR_SPECTRAL 1
#define LINEAR_SIGMA 2
#define LINEAR_WEIGHT_NORM 3
#define SIZE (WIDTH * WIDTH)
#define IS_SPECTRAL (LINEAR == LINEAR_SPECTRAL || LINEAR == LINEAR_SIGMA)
#define OF_LINEAR(role, layer) ((role) * DEPTH + (layer)) /* which of the tensors that a parametrisation adds */

#if IS_SPECTRAL
FUNCTION void make_unit(real x[WIDTH])
{
    real square = 0;
    for (int c = 0; c < WIDTH; c++) square += x[c] * x[c];
    real length = square_root(square);
    for (int c = 0; c < WIDTH; c++) x[c] /= length;
}

/* One power iteration from the vectors of the last step, and the spectral norm as the new ones have it. */
FUNCTION real iterate(const real *w_IO, const real *old_left, real *left, real *right)
{
    real sigma = 0;
    for (int o = 0; o < WIDTH; o++) {
        right[o] = 0;
        for (int i = 0; i < WIDTH; i++) right[o] += w_IO[i * WIDTH + o] * old_left[i];
    }
    make_unit(right);
    real times[WIDTH];
    for (int i = 0; i < WIDTH; i++) {
        times[i] = 0;
        for (int o = 0; o < WIDTH; o++) times[i] += w_IO[i * WIDTH + o] * right[o];
        left[i] = times[i];
    }
    make_unit(left);
    for (int i = 0; i < WIDTH; i++) sigma += left[i] * times[i];
    return sigma;
}
#endif

#if LINEAR == LINEAR_WEIGHT_NORM
FUNCTION real length_of_column(const real *w_IO, int o)
{
    real square = 0;
    for (int i = 0; i < WIDTH; i++) square += w_IO[i * WIDTH + o] * w_IO[i * WIDTH + o];
    square = square < SMALLEST_NORMAL ? SMALLEST_NORMAL : square;
    return square_root(square);
}
#endif

/* The weight of one projection. fresh: the buffers as this step sees them, of which those of the projection are made
   here; sigma: its spectral norm. */
FUNCTION void make_weight(int role, int layer, const real *params, const real *buffers, real *fresh, real *sigma,
                          real *weight_IO)
{
    const real *w_IO = params + WEIGHTS + (role * DEPTH + layer) * SIZE;
    real factor = 1;
#if IS_SPECTRAL
    if (role < LINEAR_ROLES) {
        int at = OF_LINEAR(role, layer) * WIDTH;
        *sigma = iterate(w_IO, buffers + LEFTS + at, fresh + LEFTS + at, fresh + RIGHTS + at);
        factor = (LINEAR == LINEAR_SIGMA ? params[GAINS_OF_LINEAR + OF_LINEAR(role, layer)] : 1) / *sigma;
    }
#endif
    for (int at = 0; at < SIZE; at++) weight_IO[at] = factor * w_IO[at];
#if LINEAR == LINEAR_WEIGHT_NORM
    if (role < LINEAR_ROLES)
        for (int o = 0; o < WIDTH; o++) {
            factor = params[GAINS_OF_LINEAR + OF_LINEAR(role, layer) * WIDTH + o] / length_of_column(w_IO, o);
            for (int i = 0; i < WIDTH; i++) weight_IO[i * WIDTH + o] = w_IO[i * WIDTH + o] * factor;
        }
#endif
}

/* Gradients of what one projection trains, from that of its weight. */
FUNCTION void make_grads(int role, int layer, const real *params, const real *fresh, real sigma, const real *d_weight_IO,
                         real *grads)
{
    int at = (role * DEPTH + layer) * SIZE;
    real *d_w_IO = grads + WEIGHTS + at;
    for (int e = 0; e < SIZE; e++) d_w_IO[e] = d_weight_IO[e];
#if LINEAR != LINEAR_PLAIN
    const real *w_IO = params + WEIGHTS + at;
#endif
#if IS_SPECTRAL
    if (role < LINEAR_ROLES) {
        const real *left = fresh + LEFTS + OF_LINEAR(role, layer) * WIDTH;
        const real *right = fresh + RIGHTS + OF_LINEAR(role, layer) * WIDTH;
        real gamma = LINEAR == LINEAR_SIGMA ? params[GAINS_OF_LINEAR + OF_LINEAR(role, layer)] : 1, along = 0;
        for (int e = 0; e < SIZE; e++) along += d_weight_IO[e] * w_IO[e];
        if (LINEAR == LINEAR_SIGMA) grads[GAINS_OF_LINEAR + OF_LINEAR(role, layer)] = along / sigma;
        real factor = gamma / sigma, back = factor * along / sigma;
        for (int i = 0; i < WIDTH; i++)
            for (int o = 0; o < WIDTH; o++)
                d_w_IO[i * WIDTH + o] = factor * d_weight_IO[i * WIDTH + o] - back * left[i] * right[o];
    }
#elif LINEAR == LINEAR_WEIGHT_NORM
    if (role < LINEAR_ROLES)
        for (int o = 0; o < WIDTH; o++) {
            int of_gain = GAINS_OF_LINEAR + OF_LINEAR(role, layer) * WIDTH + o;
            real length = length_of_column(w_IO, o), along = 0;
            for (int i = 0; i < WIDTH; i++) along += d_weight_IO[i * WIDTH + o] * w_IO[i * WIDTH + o];
            grads[of_gain] = along / length;
            real factor = params[of_gain] / length, back = factor * along / (length * length);
            if (length * length <= SMALLEST_NORMAL) back = 0;
            for (int i = 0; i < WIDTH; i++)
                d_w_IO[i * WIDTH + o] = factor * d_weight_IO[i * WIDTH + o] - back * w_IO[i * WIDTH + o];
        }
#endif
}

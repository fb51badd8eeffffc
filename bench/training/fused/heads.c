/* Queries and keys: what a method makes of a projection, forward and backward.

   NORMALIZATION: none; LayerNorm, times a learned gamma or not; or x / |x|, the query's times a learned g.
   FEATURES: what a kernel makes of normalised and scaled queries and keys. */

#define NORMALIZATION_NONE 0
#define NORMALIZATION_LAYERNORM 1
#define NORMALIZATION_LAYERNORM_GAMMA 2
#define NORMALIZATION_LENGTH 3
#define FEATURES_NONE 0
#define FEATURES_RELU 1
#define FEATURES_ELU 2
#define FEATURES_SIGMOID 3
#define LAYERNORM_EPS ((real)1e-5)
#define SMALLEST_LENGTH ((real)1e-12) /* torch.nn.functional.normalize's */
#define IS_LAYERNORM (NORMALIZATION == NORMALIZATION_LAYERNORM || NORMALIZATION == NORMALIZATION_LAYERNORM_GAMMA)

/* x without its mean and scale, as far as the method takes them out; and the inverse of that scale. */
FUNCTION Head standardized(const Head *x, Vector *inverse)
{
    Head y = *x;
    *inverse = ALL(1);
#if IS_LAYERNORM
    Vector mean = ALL(0);
    UNROLL for (int c = 0; c < WIDTH; c++) mean += x->at[c];
    mean = mean * (1 / (real)WIDTH);
    UNROLL for (int c = 0; c < WIDTH; c++) y.at[c] = x->at[c] - mean;
#endif
#if NORMALIZATION != NORMALIZATION_NONE
    Vector square = ALL(0);
    UNROLL for (int c = 0; c < WIDTH; c++) square += y.at[c] * y.at[c];
    *inverse = 1 / (IS_LAYERNORM ? root(square * (1 / (real)WIDTH) + LAYERNORM_EPS)
                                 : larger(root(square), ALL(SMALLEST_LENGTH)));
    UNROLL for (int c = 0; c < WIDTH; c++) y.at[c] *= *inverse;
#endif
    return y;
}

/* The learned factor on channel c of a standardised query (role 0) or key. */
FUNCTION real gain(const real *gains, int layer, int role, int c)
{
#if NORMALIZATION == NORMALIZATION_LAYERNORM_GAMMA
    return gains[(role * DEPTH + layer) * WIDTH + c];
#elif NORMALIZATION == NORMALIZATION_LENGTH
    return role == 0 ? gains[layer] : 1;
#else
    return 1;
#endif
}

FUNCTION real scale_of(int role)
{
    return role == 0 ? (real)LOGIT_SCALE * LOGIT_UNIT : 1;
}

FUNCTION Head head_of(const Head *x, const real *gains, int layer, int role)
{
    Vector inverse;
    Head y = standardized(x, &inverse);
    UNROLL for (int c = 0; c < WIDTH; c++) {
        Vector scaled = y.at[c] * (gain(gains, layer, role, c) * scale_of(role));
#if FEATURES == FEATURES_RELU
        scaled = choose(scaled <= 0, ALL(0), scaled);
#elif FEATURES == FEATURES_ELU
        scaled = choose(scaled > 0, scaled + 1, exponential(choose(scaled > 0, ALL(0), scaled)));
#elif FEATURES == FEATURES_SIGMOID
        scaled = sigmoid(scaled);
#endif
        y.at[c] = scaled;
    }
    return y;
}

/* The gradient of x from that of head_of it; d_gain: that of the learned factors on each channel, before any sum. */
FUNCTION Head d_head_of(const Head *x, const real *gains, int layer, int role, const Head *d_y, Head *d_gain)
{
    Vector inverse, along = ALL(0), mean = ALL(0);
    Head standard = standardized(x, &inverse), d_x;
    UNROLL for (int c = 0; c < WIDTH; c++) {
        real own = gain(gains, layer, role, c), scale = scale_of(role);
        Vector d_scaled = d_y->at[c];
#if FEATURES != FEATURES_NONE
        Vector scaled = standard.at[c] * (own * scale);
#endif
#if FEATURES == FEATURES_RELU
        d_scaled = choose(scaled > 0, d_scaled, ALL(0));
#elif FEATURES == FEATURES_ELU
        d_scaled *= choose(scaled > 0, ALL(1), exponential(choose(scaled > 0, ALL(0), scaled)));
#elif FEATURES == FEATURES_SIGMOID
        Vector y = sigmoid(scaled);
        d_scaled *= y * (1 - y);
#endif
        d_gain->at[c] = d_scaled * standard.at[c] * scale;
        d_x.at[c] = d_scaled * (own * scale);
        along += d_x.at[c] * standard.at[c];
        mean += d_x.at[c];
    }
#if IS_LAYERNORM
    UNROLL for (int c = 0; c < WIDTH; c++)
        d_x.at[c] = inverse * (d_x.at[c] - mean * (1 / (real)WIDTH) - standard.at[c] * along * (1 / (real)WIDTH));
#elif NORMALIZATION == NORMALIZATION_LENGTH
    Vector turned = choose(inverse < 1 / SMALLEST_LENGTH, along, ALL(0)); /* a clamped length has no gradient */
    UNROLL for (int c = 0; c < WIDTH; c++) d_x.at[c] = inverse * (d_x.at[c] - standard.at[c] * turned);
#endif
    return d_x;
}

/* One lane in training: forward and backward over a batch, SLOTS vectors of sequences at a time.

   Every phase is a function of `each`, a row of tokens (slot, token) unless it says otherwise; what phases hand on lies
   in a Lane, on a GPU in the memory that a block's threads share. h_{l+1} = h_l + VALUE_SCALE P V, or without h_l. Of the
   last layer only the row of the last token, the query, counts. */

#define QUERY (NUM_TOKENS - 1)
#define ROWS (SLOTS * NUM_TOKENS)
#define SUMS ((3 * WIDTH + 2) * WIDTH) /* gradients of a layer: of three weights, and of gains on queries and keys */
#define PASS (SLOTS * VECTOR) /* sequences that are computed at a time */
#define NUMBERS_X (NUM_TOKENS * DIMENSION)
#define ROOM_X ((PASS * NUMBERS_X + 7) & ~3)
#define ROOM_W ((PASS * DIMENSION + 7) & ~3)
#define FIRST_ROW(layer) ((layer) == DEPTH - 1 ? QUERY : 0)
#define NUM_PARTIAL 32 /* sums of squares that are summed first */

enum { HIGHEST, FACTOR, MEAN }; /* channels of a token that holds what a row's gradient needs */

typedef struct {
    Token h[DEPTH][ROWS], o[DEPTH][ROWS]; /* what layers read, and what attention gives; then what gradients need */
    Token v[ROWS], d_o[ROWS], d_h[ROWS];
    Head q[ROWS], k[ROWS];
    union {
        Head d_q[ROWS];
        real numbers[ROOM_X + ROOM_W]; /* x and w of a pass, before they are tokens */
    } at;
    Vector highest[DEPTH][ROWS], factor[DEPTH][ROWS];
    Vector prediction[SLOTS], target[SLOTS], squared_error[SLOTS];
    Vector sums[DEPTH][CHUNKS][SUMS];
    real weights[DEPTH][3][WIDTH * WIDTH], sigmas[DEPTH][3], d_weights[DEPTH][SUMS];
    real params[NUM_PARAMS], grads[NUM_PARAMS], moments[NUM_MOMENTS * NUM_PARAMS + 1];
    real buffers[NUM_BUFFERS + 1], fresh[NUM_BUFFERS + 1];
    real partial[NUM_PARTIAL], loss, grad_norm;
} Lane;

/* h_0 = (x, y) with the query's y at 0, and the target. x, w: numbers of the pass's first sequence on. */
FUNCTION void embed(Lane *lane, const real *x, const real *w, int num_sequences, int each)
{
    int slot = each / NUM_TOKENS, token = each % NUM_TOKENS;
    Token h;
    Vector y = ALL(0);
    for (int c = 0; c < DIMENSION; c++) {
        Vector factor = ALL(0);
        h.at[c] = ALL(0);
        for (int element = 0; element < VECTOR; element++) {
            int sequence = slot * VECTOR + element;
            if (sequence < num_sequences) { /* what is beyond the batch is 0, and passes no gradient */
                set(&h.at[c], element, x[(sequence * NUM_TOKENS + token) * DIMENSION + c]);
                set(&factor, element, w[sequence * DIMENSION + c]);
            }
        }
        y += h.at[c] * factor;
    }
    h.at[DIMENSION] = token == QUERY ? ALL(0) : y;
    if (token == QUERY) lane->target[slot] = y;
    lane->h[0][each] = h;
}

FUNCTION Head projected(const Lane *lane, int layer, int role, const Token *h)
{
    const real *weight_IO = lane->weights[layer][role];
    Head x;
    UNROLL for (int o = 0; o < WIDTH; o++) {
        Vector sum = h->at[0] * weight_IO[o];
        UNROLL for (int i = 1; i < WIDTH; i++) sum += h->at[i] * weight_IO[i * WIDTH + o];
        x.at[o] = sum;
    }
    return x;
}

FUNCTION void project(Lane *lane, int layer, int each)
{
    Token h = lane->h[layer][each], v = h;
    Head q = projected(lane, layer, 0, &h), k = projected(lane, layer, 1, &h), of_v = projected(lane, layer, 2, &h);
    const real *gains = lane->params + GAINS;
    lane->q[each] = head_of(&q, gains, layer, 0);
    lane->k[each] = head_of(&k, gains, layer, 1);
    UNROLL for (int c = 0; c < WIDTH; c++) v.at[c] = of_v.at[c];
    if (each % NUM_TOKENS >= NUM_VALUES)
        UNROLL for (int c = 0; c < CHANNELS; c++) v.at[c] = ALL(0);
    lane->v[each] = v;
}

/* The row of this index among those that count in the layer. */
FUNCTION int row_of(int layer, int each)
{
    int count = NUM_TOKENS - FIRST_ROW(layer);
    return each / count * NUM_TOKENS + FIRST_ROW(layer) + each % count;
}

FUNCTION void attend(Lane *lane, int layer, int each)
{
    int row = row_of(layer, each), token = row % NUM_TOKENS, first = row - token;
    Head q = lane->q[row];
    Vector z_K[NUM_KEYS], highest, factor, scale;
    UNROLL for (int j = 0; j < NUM_KEYS; j++)
        if (ALLOWED(token, j)) z_K[j] = logit(&q, &lane->k[first + j]);
    scale = summarise(token, z_K, &highest, &factor);
    Token o, h = lane->h[layer][row];
    UNROLL for (int c = 0; c < CHANNELS; c++) o.at[c] = ALL(0);
    UNROLL for (int j = 0; j < NUM_KEYS; j++)
        if (ALLOWED(token, j)) add_token(&o, z_K[j], &lane->v[first + j]);
    UNROLL for (int c = 0; c < CHANNELS; c++) o.at[c] *= scale;
    lane->highest[layer][row] = highest;
    lane->factor[layer][row] = factor;
    lane->o[layer][row] = o;
    UNROLL for (int c = 0; c < CHANNELS; c++)
        h.at[c] = o.at[c] * (real)VALUE_SCALE + (HAS_RESIDUAL ? h.at[c] : ALL(0));
    if (layer == DEPTH - 1)
        lane->prediction[row / NUM_TOKENS] = h.at[CHANNELS - 1] * (real)PREDICTION_SIGN;
    else
        lane->h[layer + 1][row] = h;
}

/* each: a slot. */
FUNCTION void add_errors(Lane *lane, int each)
{
    Vector error = lane->prediction[each] - lane->target[each];
    lane->squared_error[each] += error * error;
}

/* Of a layer: the gradient of what attention gives, and all that it reads anew. */
FUNCTION void prepare(Lane *lane, int layer, int each)
{
    int counts = each % NUM_TOKENS >= FIRST_ROW(layer);
    Token d_h, d_o, o = lane->o[layer][each];
    if (layer == DEPTH - 1) {
        int slot = each / NUM_TOKENS;
        Vector error = lane->prediction[slot] - lane->target[slot];
        UNROLL for (int c = 0; c < CHANNELS; c++) d_h.at[c] = ALL(0);
        if (counts) d_h.at[CHANNELS - 1] = error * (real)(PREDICTION_SIGN * 2.0 / BATCH);
        lane->d_h[each] = d_h;
        project(lane, layer, each);
    } else {
        d_h = lane->d_h[each];
        project(lane, layer, each);
    }
    UNROLL for (int c = 0; c < CHANNELS; c++) d_o.at[c] = d_h.at[c] * (real)VALUE_SCALE;
    lane->d_o[each] = d_o;
    if (counts) {
        Vector mean = product_of_tokens(&d_o, &o);
        o.at[HIGHEST] = lane->highest[layer][each];
        o.at[FACTOR] = lane->factor[layer][each];
        o.at[MEAN] = mean;
        lane->o[layer][each] = o;
    } else
        UNROLL for (int c = 0; c < WIDTH; c++) lane->at.d_q[each].at[c] = ALL(0);
}

/* The gradient of a query. */
FUNCTION void attend_back(Lane *lane, int layer, int each)
{
    int row = row_of(layer, each), token = row % NUM_TOKENS, first = row - token;
    Head q = lane->q[row], d_q;
    Token d_o = lane->d_o[row], o = lane->o[layer][row];
    UNROLL for (int c = 0; c < WIDTH; c++) d_q.at[c] = ALL(0);
    UNROLL for (int j = 0; j < NUM_KEYS; j++)
        if (ALLOWED(token, j)) {
            Head k = lane->k[first + j];
            Token v = lane->v[first + j];
            Vector z = logit(&q, &k), p = weight(z, o.at[HIGHEST], o.at[FACTOR]), d_p = product_of_tokens(&d_o, &v);
            add_head(&d_q, d_product(z, p, d_p, o.at[MEAN], o.at[FACTOR]), &k);
        }
    UNROLL for (int c = 0; c < WIDTH; c++) d_q.at[c] *= 1 / LOGIT_UNIT;
    lane->at.d_q[row] = d_q;
}

/* The gradients of a key and of its value, in their places. */
FUNCTION void attend_back_to_key(Lane *lane, int layer, int each)
{
    int token = each % NUM_TOKENS, first = each - token;
    Head k = lane->k[each], d_k;
    Token v = lane->v[each], d_v;
    UNROLL for (int c = 0; c < WIDTH; c++) d_k.at[c] = ALL(0);
    UNROLL for (int c = 0; c < CHANNELS; c++) d_v.at[c] = ALL(0);
    UNROLL for (int i = 0; i < NUM_TOKENS; i++)
        if (i >= FIRST_ROW(layer) && ALLOWED(i, token)) {
            Head q = lane->q[first + i];
            Token d_o = lane->d_o[first + i], o = lane->o[layer][first + i];
            Vector z = logit(&q, &k), p = weight(z, o.at[HIGHEST], o.at[FACTOR]), d_p = product_of_tokens(&d_o, &v);
            add_head(&d_k, d_product(z, p, d_p, o.at[MEAN], o.at[FACTOR]), &q);
            add_token(&d_v, p, &d_o);
        }
    UNROLL for (int c = 0; c < WIDTH; c++) d_k.at[c] *= 1 / LOGIT_UNIT;
    lane->k[each] = d_k;
    if (token >= NUM_VALUES)
        UNROLL for (int c = 0; c < CHANNELS; c++) d_v.at[c] = ALL(0);
    lane->v[each] = d_v;
}

/* d_q, k and v become the gradients of projections, q and d_o those of gains, d_h that of the layer before. */
FUNCTION void project_back(Lane *lane, int layer, int each)
{
    Token h = lane->h[layer][each], d_h = lane->d_h[each], d_v = lane->v[each];
    Head q = projected(lane, layer, 0, &h), k = projected(lane, layer, 1, &h), d_gain_q, d_gain_k;
    const real *gains = lane->params + GAINS;
    Head d_q = d_head_of(&q, gains, layer, 0, &lane->at.d_q[each], &d_gain_q);
    Head d_k = d_head_of(&k, gains, layer, 1, &lane->k[each], &d_gain_k);
    UNROLL for (int c = 0; c < CHANNELS; c++) {
        Vector sum = HAS_RESIDUAL ? d_h.at[c] : ALL(0);
        if (c >= WIDTH)
            sum += d_v.at[c];
        else
            UNROLL for (int o = 0; o < WIDTH; o++)
                sum += d_q.at[o] * lane->weights[layer][0][c * WIDTH + o] +
                       d_k.at[o] * lane->weights[layer][1][c * WIDTH + o] +
                       d_v.at[o] * lane->weights[layer][2][c * WIDTH + o];
        d_h.at[c] = sum;
    }
    lane->d_h[each] = d_h;
    lane->at.d_q[each] = d_q;
    lane->k[each] = d_k;
#if NUM_GAINS > 0
    lane->q[each] = d_gain_q;
    UNROLL for (int c = 0; c < WIDTH; c++) lane->d_o[each].at[c] = d_gain_k.at[c];
#endif
}

/* Adds what a part of the rows gives to gradients of weights; each: (part, role, input), or (part, gains of a role). */
FUNCTION void add_products(Lane *lane, int layer, int each)
{
    const int num_kinds = 3 * WIDTH + (NUM_GAINS > 0 ? 2 : 0), length = (ROWS + CHUNKS - 1) / CHUNKS;
    int kind = each % num_kinds, chunk = each / num_kinds, end = (chunk + 1) * length;
    Vector sum[WIDTH], *sums = lane->sums[layer][chunk] + kind * WIDTH;
    UNROLL for (int o = 0; o < WIDTH; o++) sum[o] = sums[o];
    int role = kind / WIDTH, input = kind % WIDTH;
    for (int row = chunk * length; row < (end < ROWS ? end : ROWS); row++) {
        const Vector *d = role == 0 ? lane->at.d_q[row].at : role == 1 ? lane->k[row].at : lane->v[row].at;
        Vector x = ALL(1);
        if (role < 3)
            x = lane->h[layer][row].at[input];
        else
            d = input == 0 ? lane->q[row].at : lane->d_o[row].at;
        UNROLL for (int o = 0; o < WIDTH; o++) sum[o] += x * d[o];
    }
    UNROLL for (int o = 0; o < WIDTH; o++) sums[o] = sum[o];
}

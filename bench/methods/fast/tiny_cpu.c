/* Attention of very short sequences by very narrow heads on a processor, forward and backward, as tiny.py has it.

   BLOCK sequences are computed side by side, one in each element of a vector, so that nothing passes from one sequence
   to another and a sequence's result does not depend on how many there are. A row of P exists only while its query is
   computed.
   With softmax, w = exp(z - highest) and P = w / total; otherwise w is the similarity and P as normalized_rows has it.
   Shapes: N sequences, Q queries, K keys, T tokens, M masks, W width of queries, keys and values.
   Compiled with WIDTH and MAX_KEYS, the largest Q and K, given, by a compiler that has vectors: GCC or Clang. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 8
#define SMALLEST_TOTAL 0x1p-63f /* normalized_rows's, of float32 */
#define SMALLEST_EXPONENT -87.3f /* exp of less is no normal number of float32; here it is 0 */
#define ROUND 12582912.0f /* 1.5 * 2^23: a number of less than 2^22 is rounded to a whole one when this is added */

typedef float Vector __attribute__((vector_size(4 * BLOCK)));
typedef int32_t Integers __attribute__((vector_size(4 * BLOCK)));
typedef Vector Token[WIDTH];

typedef struct {
    int64_t num_sequences, sequences_per_mask;
    int64_t num_queries, num_keys;
    const uint8_t *allowed_MQK; /* NULL: every query may attend to every key */
    int64_t is_softmax;
    float eps;
} Settings;

static const Vector ZEROS;

static inline Vector choose(Integers condition, Vector yes, Vector no)
{
    return (Vector)(((Integers)yes & condition) | ((Integers)no & ~condition));
}

/* e^x for x <= 0 and for NaN, within a unit in the last place. Source: Cephes, expf. */
static inline Vector exponential(Vector x)
{
    Integers is_tiny = x < SMALLEST_EXPONENT;
    Vector clamped = choose(is_tiny, ZEROS + SMALLEST_EXPONENT, x);
    Vector shifted = clamped * 1.44269504088896341f + ROUND;
    Vector whole = shifted - ROUND;
    Vector rest = clamped - whole * 0.693359375f;
    rest = rest - whole * -2.12194440e-4f;
    Vector sum = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * (rest * rest) + (rest + 1.0f);
    Integers power = ((Integers)shifted - (0x4b400000 - 127)) << 23;
    return choose(is_tiny, ZEROS, sum * (Vector)power);
}

/* A block's tokens, transposed; where fewer sequences are left, the last one stands for the others. */
static void load(const float *x_NTW, int64_t first, int64_t count, int64_t num_tokens, Token *to_T)
{
    float *to_TWS = (float *)to_T;
    for (int64_t s = 0; s < BLOCK; s++) {
        const float *x_TW = x_NTW + (first + (s < count ? s : count - 1)) * num_tokens * WIDTH;
        for (int64_t n = 0; n < num_tokens * WIDTH; n++) to_TWS[n * BLOCK + s] = x_TW[n];
    }
}

static void store(const Token *x_T, int64_t first, int64_t count, int64_t num_tokens, float *to_NTW)
{
    const float *x_TWS = (const float *)x_T;
    for (int64_t s = 0; s < count; s++) {
        float *to_TW = to_NTW + (first + s) * num_tokens * WIDTH;
        for (int64_t n = 0; n < num_tokens * WIDTH; n++) to_TW[n] = x_TWS[n * BLOCK + s];
    }
}

static inline Vector product(const Token a, const Token b)
{
    Vector sum = a[0] * b[0];
    for (int w = 1; w < WIDTH; w++) sum += a[w] * b[w];
    return sum;
}

static inline void add_scaled(Token sum, Vector factor, const Token x)
{
    for (int w = 0; w < WIDTH; w++) sum[w] += factor * x[w];
}

/* What a row of P is made of: P_j = w_j * factor, or `uniform` at all allowed keys where that is not 0. */
typedef struct {
    Vector w[MAX_KEYS];
    Vector factor, uniform;
    int64_t num_allowed, keys[MAX_KEYS]; /* those that the query may attend to */
} Row;

static inline void compute_row(const Settings *all, const uint8_t *allowed_K, const Token q, const Token *k_K, Row *row)
{
    int64_t num_allowed = 0;
    for (int64_t j = 0; j < all->num_keys; j++)
        if (!allowed_K || allowed_K[j]) row->keys[num_allowed++] = j;
    row->num_allowed = num_allowed;
    Vector highest = ZEROS - INFINITY, total = ZEROS;
    for (int64_t n = 0; n < num_allowed; n++) {
        Vector w = row->w[n] = product(q, k_K[row->keys[n]]);
        highest = choose(w > highest, w, highest);
        total += w;
    }
    if (all->is_softmax) {
        total = ZEROS;
        for (int64_t n = 0; n < num_allowed; n++) total += row->w[n] = exponential(row->w[n] - highest);
        row->factor = 1.0f / total;
        row->uniform = ZEROS;
        return;
    }
    total += all->eps;
    Integers is_regular = all->eps > 0 ? (Integers)(ZEROS == ZEROS) : (Integers)(total > SMALLEST_TOTAL);
    row->factor = choose(is_regular, 1.0f / total, ZEROS);
    row->uniform = choose(is_regular, ZEROS, ZEROS + 1.0f / (float)num_allowed);
}

static inline Vector probabilities(const Row *row, int64_t n)
{
    return choose(row->uniform > 0.0f, row->uniform, row->w[n] * row->factor);
}

/* How many sequences from `first` on make a block: all with the same mask, which `allowed_QK` is set to. */
static int64_t next_block(const Settings *all, int64_t first, const uint8_t **allowed_QK)
{
    int64_t mask = first / all->sequences_per_mask;
    int64_t left = (mask + 1) * all->sequences_per_mask - first;
    *allowed_QK = all->allowed_MQK ? all->allowed_MQK + mask * all->num_queries * all->num_keys : NULL;
    return left < BLOCK ? left : BLOCK;
}

/* O = P V; NaN where a query has no key at all, as 0 / 0 is. */
void forward(const Settings *all, const float *q_NQW, const float *k_NKW, const float *v_NKW, float *o_NQW)
{
    int64_t Q = all->num_queries, K = all->num_keys, count;
    const uint8_t *allowed_QK;
    Token q_Q[MAX_KEYS], k_K[MAX_KEYS], v_K[MAX_KEYS], o_Q[MAX_KEYS];
    Row row;
    for (int64_t first = 0; first < all->num_sequences; first += count) {
        count = next_block(all, first, &allowed_QK);
        load(q_NQW, first, count, Q, q_Q);
        load(k_NKW, first, count, K, k_K);
        load(v_NKW, first, count, K, v_K);
        for (int64_t i = 0; i < Q; i++) {
            compute_row(all, allowed_QK ? allowed_QK + i * K : NULL, q_Q[i], k_K, &row);
            Token o;
            for (int w = 0; w < WIDTH; w++) o[w] = row.num_allowed > 0 ? ZEROS : ZEROS + NAN;
            for (int64_t n = 0; n < row.num_allowed; n++) add_scaled(o, probabilities(&row, n), v_K[row.keys[n]]);
            memcpy(o_Q[i], o, sizeof o);
        }
        store(o_Q, first, count, Q, o_NQW);
    }
}

/* Gradients of q, k and v from that of o. */
void backward(const Settings *all, const float *do_NQW, const float *q_NQW, const float *k_NKW, const float *v_NKW,
              float *dq_NQW, float *dk_NKW, float *dv_NKW)
{
    int64_t Q = all->num_queries, K = all->num_keys, count;
    const uint8_t *allowed_QK;
    Token do_Q[MAX_KEYS], q_Q[MAX_KEYS], k_K[MAX_KEYS], v_K[MAX_KEYS];
    Token dq_Q[MAX_KEYS], dk_K[MAX_KEYS], dv_K[MAX_KEYS];
    Row row;
    Vector dp[MAX_KEYS];
    for (int64_t first = 0; first < all->num_sequences; first += count) {
        count = next_block(all, first, &allowed_QK);
        load(do_NQW, first, count, Q, do_Q);
        load(q_NQW, first, count, Q, q_Q);
        load(k_NKW, first, count, K, k_K);
        load(v_NKW, first, count, K, v_K);
        memset(dk_K, 0, sizeof dk_K);
        memset(dv_K, 0, sizeof dv_K);
        for (int64_t i = 0; i < Q; i++) {
            compute_row(all, allowed_QK ? allowed_QK + i * K : NULL, q_Q[i], k_K, &row);
            Vector mean_dp = ZEROS;
            for (int64_t n = 0; n < row.num_allowed; n++) {
                dp[n] = product(do_Q[i], v_K[row.keys[n]]);
                mean_dp += row.w[n] * dp[n];
            }
            mean_dp = choose(row.uniform > 0.0f, ZEROS, mean_dp * row.factor);
            Token dq;
            for (int w = 0; w < WIDTH; w++) dq[w] = ZEROS;
            for (int64_t n = 0; n < row.num_allowed; n++) {
                int64_t j = row.keys[n];
                Vector p = probabilities(&row, n);
                Vector dz = (all->is_softmax ? p : row.factor) * (dp[n] - mean_dp);
                add_scaled(dq, dz, k_K[j]);
                add_scaled(dk_K[j], dz, q_Q[i]);
                add_scaled(dv_K[j], p, do_Q[i]);
            }
            memcpy(dq_Q[i], dq, sizeof dq);
        }
        store(dq_Q, first, count, Q, dq_NQW);
        store(dk_K, first, count, K, dk_NKW);
        store(dv_K, first, count, K, dv_NKW);
    }
}

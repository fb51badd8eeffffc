/* Row functions: from the logits of a query to its row of P, and from the gradient of P to that of the logits.

   A row is kept as two numbers, `highest` and `factor`, from which `weight` gives P_ij again; with those that its
   method has no use for at 0. Of a gradient, mean = sum_j P_ij dP_ij. Logits of softmax are in units of 1 / log2(e), by
   which queries are scaled, so that P is made of powers of two.
   ALLOWED(i, j): whether query i may attend to key j; every query may to one at least. */

#define ROW_SOFTMAX 0
#define ROW_SOFTMAX_CONTROL 1 /* of powers of e, which rounds otherwise */
#define ROW_SOFTMAX_ONE 2
#define ROW_CAPPED 3 /* softmax of cap tanh(z / cap) */
#define ROW_SIGMOID 4
#define ROW_KERNEL 5 /* similarities divided by their sum, as normalized_rows has it */
#define LOGIT_UNIT (ROW == ROW_SOFTMAX || ROW == ROW_SOFTMAX_ONE ? LOG2E : 1)

#if HAS_WINDOW
#define ALLOWED(i, j) ((j) < NUM_KEYS && (i) - (j) <= WINDOW && (j) - (i) <= WINDOW)
#else
#define ALLOWED(i, j) ((j) < NUM_KEYS)
#endif

FUNCTION Vector logit(const Head *q, const Head *k)
{
    Vector z = product(q, k);
#if ROW == ROW_CAPPED
    Vector small = exponential(choose(z > 0, -z, z) * (2 / (real)CAP));
    Vector bent = (real)CAP * (1 - small) / (1 + small);
    z = choose(z > 0, bent, -bent);
#endif
    return z;
}

/* What a logit gives before its row is divided by a sum. */
FUNCTION Vector similarity(Vector z, Vector highest)
{
#if ROW == ROW_SOFTMAX || ROW == ROW_SOFTMAX_ONE
    return power_of_two(z - highest);
#elif ROW == ROW_SOFTMAX_CONTROL || ROW == ROW_CAPPED
    return exponential(z - highest);
#elif ROW == ROW_SIGMOID
    return sigmoid(z - (real)LOG_NUM_TOKENS);
#else
    return z;
#endif
}

FUNCTION Vector weight(Vector z, Vector highest, Vector factor)
{
#if ROW == ROW_SIGMOID
    return similarity(z, highest);
#elif ROW == ROW_KERNEL /* highest: P of a row without similarities, which is uniform; 0 of all others */
    return choose(highest > 0, highest, z * factor);
#else
    return similarity(z, highest) * factor;
#endif
}

/* What `weight` needs of a row; from its logits, which become weights but for a factor, the one that is returned. */
FUNCTION Vector summarise(int i, Vector z_K[NUM_KEYS], Vector *highest, Vector *factor)
{
    Vector total = ALL(ROW == ROW_KERNEL ? EPS : 0);
    *highest = *factor = ALL(0);
#if ROW == ROW_KERNEL
    int num_allowed = 0;
    UNROLL for (int j = 0; j < NUM_KEYS; j++)
        if (ALLOWED(i, j)) {
            total += z_K[j];
            num_allowed++;
        }
    Truth is_regular = EPS > 0 ? total == total : total > SMALLEST_TOTAL;
    *factor = choose(is_regular, 1 / total, ALL(0));
    *highest = choose(is_regular, ALL(0), ALL(1 / (real)num_allowed));
    UNROLL for (int j = 0; j < NUM_KEYS; j++) z_K[j] = choose(is_regular, z_K[j], ALL(1));
    return choose(is_regular, *factor, *highest);
#else
    if (ROW != ROW_SIGMOID) {
        Vector top = ALL(ROW == ROW_SOFTMAX_ONE ? 0 : -INFINITY);
        UNROLL for (int j = 0; j < NUM_KEYS; j++)
            if (ALLOWED(i, j)) top = larger(z_K[j], top);
        *highest = top;
        if (ROW == ROW_SOFTMAX_ONE) total = similarity(ALL(0), top); /* a further key of logit 0 that has no value */
    }
    UNROLL for (int j = 0; j < NUM_KEYS; j++)
        if (ALLOWED(i, j)) total += z_K[j] = similarity(z_K[j], *highest);
    if (ROW == ROW_SIGMOID) return ALL(1);
    return *factor = 1 / total;
#endif
}

/* The gradient of the product of query and key, from that of P_ij = p. */
FUNCTION Vector d_product(Vector z, Vector p, Vector d_p, Vector mean, Vector factor)
{
#if ROW == ROW_SIGMOID
    return p * (1 - p) * d_p;
#elif ROW == ROW_KERNEL
    return factor * (d_p - mean);
#elif ROW == ROW_CAPPED
    Vector bent = z / (real)CAP;
    return p * (d_p - mean) * (1 - bent * bent);
#else
    return p * (d_p - mean);
#endif
}

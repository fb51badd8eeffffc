/* Standard normals as bench.randomness has them: four for each counter (block, step) of a stream under a seed.

   Source: Salmon et al. 2011, Philox4x32-10; Box & Muller 1958. Kept in float32 whatever `real` is, as there. */

FUNCTION void normals(int64_t seed, uint32_t stream, int64_t step, int64_t block, float values[4])
{
    uint32_t word[4] = {(uint32_t)block, (uint32_t)step, stream, 0};
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)((uint64_t)seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)word[0] * 0xD2511F53u, product1 = (uint64_t)word[2] * 0xCD9E8D57u;
        word[0] = (uint32_t)(product1 >> 32) ^ word[1] ^ key0;
        word[2] = (uint32_t)(product0 >> 32) ^ word[3] ^ key1;
        word[1] = (uint32_t)product1;
        word[3] = (uint32_t)product0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    float u[4];
    for (int n = 0; n < 4; n++) u[n] = ((float)(word[n] >> 8) + 0.5f) * 0x1p-24f;
    for (int n = 0; n < 4; n += 2) {
        float radius = sqrtf(-2 * logf(u[n])), angle = 6.283185307179586f * u[n + 1];
        values[n] = radius * cosf(angle);
        values[n + 1] = radius * sinf(angle);
    }
}

/* Those of a stream with numbers from `first`, a multiple of 4, to first + count - 1: block `each` of them. */
FUNCTION void fill(int each, int64_t seed, uint32_t stream, int64_t step, int64_t first, int64_t count, real *to)
{
    float values[4];
    normals(seed, stream, step, first / 4 + each, values);
    for (int n = 0; n < 4; n++)
        if (4 * each + n < count) to[4 * each + n] = values[n];
}

/* Steps of a lane, one after the other, and what a processor and a GPU call. */

/* num_steps from first_step on, of all lanes. num_lanes: C. Rows of loss and grad_norm have `stride` numbers, of which
   lane c's is at places[c]. is_training: or the loss alone is computed. decays, limits: of each parameter, whether weight
   decay acts on it, and the most that its magnitude may be after an update. */
typedef struct {
    int64_t first_step, num_steps, num_lanes, stride, is_training;
    const int64_t *seeds_C, *places_C;
    const uint8_t *decays_P;
    const real *limits_P, *constants_CN, *of_steps_TCN;
    real *params_CP, *moments_CMP, *buffers_CB;
    uint8_t *alive_C;
    int64_t *diverged_step_C;
    real *loss_TL, *grad_norm_TL;
} Settings;

/* each: (layer, role). */
FUNCTION void start_weights(Lane *lane, int each)
{
    int layer = each / 3, role = each % 3;
    make_weight(role, layer, lane->params, lane->buffers, lane->fresh, &lane->sigmas[layer][role],
                lane->weights[layer][role]);
}

/* each: a sum. */
FUNCTION void clear(Lane *lane, int each)
{
    if (each < SLOTS) lane->squared_error[each] = ALL(0);
    if (each < DEPTH * CHUNKS * SUMS) (&lane->sums[0][0][0])[each] = ALL(0);
}

/* each: a gradient of (layer, sum). */
FUNCTION void gather(Lane *lane, int each)
{
    int layer = each / SUMS, at = each % SUMS;
    real sum = 0;
    for (int chunk = 0; chunk < CHUNKS; chunk++) sum += sum_of(lane->sums[layer][chunk][at]);
    lane->d_weights[layer][at] = sum;
}

/* each: (layer, role), and the gains of a layer last. */
FUNCTION void finish_grads(Lane *lane, int each)
{
    int layer = each / 4, role = each % 4;
    const real *d_weights = lane->d_weights[layer];
    if (role < 3)
        make_grads(role, layer, lane->params, lane->fresh, lane->sigmas[layer][role], d_weights + role * SIZE,
                   lane->grads);
#if NORMALIZATION == NORMALIZATION_LAYERNORM_GAMMA
    else
        for (int c = 0; c < 2 * WIDTH; c++)
            lane->grads[GAINS + (c / WIDTH * DEPTH + layer) * WIDTH + c % WIDTH] = d_weights[3 * SIZE + c];
#elif NORMALIZATION == NORMALIZATION_LENGTH
    else {
        real sum = 0;
        for (int c = 0; c < WIDTH; c++) sum += d_weights[3 * SIZE + c];
        lane->grads[GAINS + layer] = sum;
    }
#endif
}

FUNCTION void square_grads(Lane *lane, int each)
{
    real sum = 0;
    for (int at = each; at < NUM_PARAMS; at += NUM_PARTIAL) sum += lane->grads[at] * lane->grads[at];
    lane->partial[each] = sum;
}

FUNCTION void summarise_step(Lane *lane, int each)
{
    real sum = 0, square = 0;
    for (int slot = 0; slot < SLOTS; slot++) sum += sum_of(lane->squared_error[slot]);
    for (int part = 0; part < NUM_PARTIAL; part++) square += lane->partial[part];
    lane->loss = sum / BATCH;
    lane->grad_norm = square_root(square);
}

/* each: a parameter. */
FUNCTION void update(const Settings *all, Lane *lane, const real *constants, const real *of_step, int each)
{
    real clip = constants[GRAD_CLIP] / (lane->grad_norm + (real)CLIP_EPS);
    real grad = lane->grads[each] * (clip < 1 ? clip : 1), none[2] = {0, 0};
    real *first = NUM_MOMENTS > 0 ? lane->moments + each : none;
    real *second = NUM_MOMENTS > 1 ? lane->moments + NUM_PARAMS + each : none + 1;
    real p = updated(lane->params[each], grad, first, second, all->decays_P[each], constants, of_step);
    real limit = all->limits_P[each];
    p = p > limit ? limit : p < -limit ? -limit : p;
    lane->params[each] = p;
}

FUNCTION void copy(const real *from, real *to, int each)
{
    to[each] = from[each];
}

/* The batch of a step through the model, and back where the lane trains. x, w: its numbers, or NULL where they are
   made here. */
FUNCTION void run_batch(const Settings *all, Lane *lane, int64_t seed, int64_t step, const real *x, const real *w)
{
    RUN(DEPTH * CHUNKS * SUMS > SLOTS ? DEPTH * CHUNKS * SUMS : SLOTS, clear(lane, each));
    for (int first = 0; first < BATCH; first += PASS) {
        int count = BATCH - first < PASS ? BATCH - first : PASS;
        const real *x_S = x + (int64_t)first * NUMBERS_X, *w_S = w + (int64_t)first * DIMENSION;
        if (!x) {
            int before_x = first * NUMBERS_X % 4, before_w = first * DIMENSION % 4;
            real *to_x = lane->at.numbers, *to_w = to_x + ROOM_X;
            int num_x = count * NUMBERS_X + before_x, num_w = count * DIMENSION + before_w;
            RUN((num_x + 3) / 4, fill(each, seed, STREAM_X, step, first * NUMBERS_X - before_x, num_x, to_x));
            RUN((num_w + 3) / 4, fill(each, seed, STREAM_W, step, first * DIMENSION - before_w, num_w, to_w));
            x_S = to_x + before_x;
            w_S = to_w + before_w;
        }
        RUN(ROWS, embed(lane, x_S, w_S, count, each));
        for (int layer = 0; layer < DEPTH; layer++) {
            RUN(ROWS, project(lane, layer, each));
            RUN(SLOTS * (NUM_TOKENS - FIRST_ROW(layer)), attend(lane, layer, each));
        }
        RUN(SLOTS, add_errors(lane, each));
        for (int layer = all->is_training ? DEPTH - 1 : -1; layer >= 0; layer--) {
            RUN(ROWS, prepare(lane, layer, each));
            RUN(SLOTS * (NUM_TOKENS - FIRST_ROW(layer)), attend_back(lane, layer, each));
            RUN(ROWS, attend_back_to_key(lane, layer, each));
            RUN(ROWS, project_back(lane, layer, each));
            RUN(CHUNKS * (3 * WIDTH + (NUM_GAINS > 0 ? 2 : 0)), add_products(lane, layer, each));
        }
    }
}

/* One step of lane c; whether it goes on. */
FUNCTION int run_step(const Settings *all, Lane *lane, int64_t c, int64_t t, const real *x, const real *w)
{
    int64_t step = all->first_step + t, row = t * all->stride + all->places_C[c];
    RUN(DEPTH * 3, start_weights(lane, each));
    run_batch(all, lane, all->seeds_C[c], step, x, w);
    RUN(DEPTH * SUMS, gather(lane, each));
    RUN(DEPTH * 4, finish_grads(lane, each));
    RUN(NUM_PARTIAL, square_grads(lane, each));
    RUN(1, summarise_step(lane, each));
    RUN(1, all->loss_TL[row] = lane->loss);
    if (!all->is_training) return 1;
    RUN(1, all->grad_norm_TL[row] = lane->grad_norm);
    if (!is_finite(lane->loss) || !is_finite(lane->grad_norm)) {
        RUN(1, all->alive_C[c] = 0);
        RUN(1, all->diverged_step_C[c] = step);
        return 0;
    }
    const real *of_step = all->of_steps_TCN + (t * all->num_lanes + c) * NUM_OF_STEP;
    RUN(NUM_PARAMS, update(all, lane, all->constants_CN + c * NUM_CONSTANTS, of_step, each));
    RUN(NUM_BUFFERS, copy(lane->fresh, lane->buffers, each));
    return 1;
}

FUNCTION void take(const Settings *all, Lane *lane, int64_t c)
{
    RUN(NUM_PARAMS, copy(all->params_CP + c * NUM_PARAMS, lane->params, each));
    RUN(NUM_MOMENTS *NUM_PARAMS, copy(all->moments_CMP + c * NUM_MOMENTS * NUM_PARAMS, lane->moments, each));
    RUN(NUM_BUFFERS, copy(all->buffers_CB + c * NUM_BUFFERS, lane->buffers, each));
}

FUNCTION void give_back(const Settings *all, Lane *lane, int64_t c)
{
    RUN(NUM_PARAMS, copy(lane->params, all->params_CP + c * NUM_PARAMS, each));
    RUN(NUM_MOMENTS *NUM_PARAMS, copy(lane->moments, all->moments_CMP + c * NUM_MOMENTS * NUM_PARAMS, each));
    RUN(NUM_BUFFERS, copy(lane->buffers, all->buffers_CB + c * NUM_BUFFERS, each));
}

#ifdef __CUDACC_RTC__
/* A block for each lane. */
extern "C" __global__ void __launch_bounds__(NUM_THREADS) train(Settings all)
{
    extern __shared__ __align__(16) unsigned char memory[];
    Lane *lane = (Lane *)memory;
    int64_t c = blockIdx.x;
    if (!all.alive_C[c]) return;
    take(&all, lane, c);
    for (int64_t t = 0; t < all.num_steps && run_step(&all, lane, c, t, 0, 0); t++) {
    }
    give_back(&all, lane, c);
}

extern "C" __global__ void measure(int64_t *bytes)
{
    *bytes = sizeof(Lane);
}
#else
#define STEPS_TOGETHER 8 /* whose data are made together, for all lanes of a seed */
#define STEP_X ((BATCH * NUMBERS_X + 3) & ~3)
#define STEP_W ((BATCH * DIMENSION + 3) & ~3)

int64_t num_bytes(void)
{
    return sizeof(Lane);
}

/* Standard normals of one step: x (BATCH, NUM_TOKENS, DIMENSION), and w (BATCH, DIMENSION), each to a multiple of 4. */
static void make_data(int64_t seed, int64_t step, real *x, real *w)
{
    for (int block = 0; block < STEP_X / 4; block++) fill(block, seed, STREAM_X, step, 0, STEP_X, x);
    for (int block = 0; block < STEP_W / 4; block++) fill(block, seed, STREAM_W, step, 0, STEP_W, w);
}

void data(int64_t seed, int64_t step, real *x, real *w)
{
    make_data(seed, step, x, w);
}

static int train_together(const Settings *all, const int64_t *lanes, int64_t count, int64_t first, int64_t num_steps,
                          Lane *lane, real *numbers)
{
    int64_t made = -1;
    for (int64_t n = 0; n < count; n++) {
        int64_t c = lanes[n], size = STEP_X + STEP_W;
        if (!all->alive_C[c]) continue;
        if (made < 0 || all->seeds_C[made] != all->seeds_C[c])
            for (int64_t t = 0; t < num_steps; t++)
                make_data(all->seeds_C[c], all->first_step + first + t, numbers + t * size, numbers + t * size + STEP_X);
        made = c;
        take(all, lane, c);
        for (int64_t t = 0; t < num_steps; t++) {
            real *x = MAKES_DATA_INSIDE ? NULL : numbers + t * size;
            if (!run_step(all, lane, c, first + t, x, numbers + t * size + STEP_X)) break;
        }
        give_back(all, lane, c);
    }
    return 0;
}

/* Some lanes, those of one seed side by side; 0, or -1 where memory is short. */
int train(const Settings *all, const int64_t *lanes, int64_t count)
{
    Lane *lane = (Lane *)aligned_alloc(64, (sizeof(Lane) + 63) / 64 * 64);
    real *numbers = (real *)malloc(sizeof(real) * STEPS_TOGETHER * (STEP_X + STEP_W));
    if (lane && numbers)
        for (int64_t first = 0; first < all->num_steps; first += STEPS_TOGETHER) {
            int64_t left = all->num_steps - first;
            train_together(all, lanes, count, first, left < STEPS_TOGETHER ? left : STEPS_TOGETHER, lane, numbers);
        }
    int status = lane && numbers ? 0 : -1;
    free(lane);
    free(numbers);
    return status;
}
#endif

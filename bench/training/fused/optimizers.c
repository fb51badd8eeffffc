/* One parameter after a step, and its moments: bench.optimizers, of which OPTIMIZER names one.

   Of a lane: constants (BETA1 and so on), all made in float64 and rounded once. Of a step of a lane: `of_step`, its
   learning rate, the schedule's factor and Adam's corrections. */

#define OPTIMIZER_SGD 0
#define OPTIMIZER_MOMENTUM 1
#define OPTIMIZER_NESTEROV 2
#define OPTIMIZER_ADAM 3 /* up to here decay is added to the gradient */
#define OPTIMIZER_ADAMW 4
#define OPTIMIZER_ADAMW_INDEPENDENT 5

enum { LR, LR_FACTOR, CORRECTION1, CORRECTION2, NUM_OF_STEP };
enum { WEIGHT_DECAY, GRAD_CLIP, BETA1, REST1, BETA2, REST2, ADAM_EPS, MOMENTUM, NUM_CONSTANTS };

FUNCTION real updated(real p, real grad, real *first, real *second, int decays, const real *constants,
                      const real *of_step)
{
    real decay = decays ? constants[WEIGHT_DECAY] : 0, lr = of_step[LR];
    if (decays && (OPTIMIZER <= OPTIMIZER_ADAM)) grad = grad + decay * p;
#if OPTIMIZER == OPTIMIZER_SGD
    return p - lr * grad;
#elif OPTIMIZER == OPTIMIZER_MOMENTUM
    *first = constants[MOMENTUM] * *first + grad;
    return p - lr * *first;
#elif OPTIMIZER == OPTIMIZER_NESTEROV
    *first = constants[MOMENTUM] * *first + grad;
    return p - lr * (grad + constants[MOMENTUM] * *first);
#else
    if (decays && OPTIMIZER == OPTIMIZER_ADAMW) p = p * (1 - lr * decay);
    if (decays && OPTIMIZER == OPTIMIZER_ADAMW_INDEPENDENT) p = p * (1 - of_step[LR_FACTOR] * decay);
    *first = constants[BETA1] * *first + constants[REST1] * grad;
    *second = constants[BETA2] * *second + constants[REST2] * (grad * grad);
    real spread = square_root(*second / of_step[CORRECTION2]) + constants[ADAM_EPS];
    return p - lr * (*first / of_step[CORRECTION1]) / spread;
#endif
}

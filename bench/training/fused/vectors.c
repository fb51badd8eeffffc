/* What a program of one lane is made of, on a processor and on a GPU.

   `real` is a number. A Vector is VECTOR numbers side by side: on a processor those of as many sequences, one in each
   element, so that nothing passes between them; on a GPU one, and what RUN runs is done by the threads of a block.
   Compiled with PRECISION, 32 or 64 bits; the shapes and kinds that program.py names are given as macros too. */

#if PRECISION == 64
typedef double real;
#define SMALLEST_TOTAL 0x1p-511 /* normalized_rows's */
#define SMALLEST_NORMAL 0x1p-1022
#else
typedef float real;
#define SMALLEST_TOTAL 0x1p-63f
#define SMALLEST_NORMAL 0x1p-126f
#endif
#define LOG2E ((real)1.44269504088896341)

#ifdef __CUDACC_RTC__
typedef long long int64_t;
typedef unsigned long long uint64_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef unsigned char uint8_t;
#define FUNCTION static __device__ __forceinline__
#define INFINITY __int_as_float(0x7f800000)
/* `each` runs from 0 to count - 1, by as many threads; all of them have finished when it ends. */
#define RUN(count, phase)                                                                                             \
    do {                                                                                                              \
        for (int each = threadIdx.x; each < (count); each += blockDim.x) phase;                                       \
        __syncthreads();                                                                                              \
    } while (0)
#define UNROLL _Pragma("unroll")
#define ALIGNED __align__((WIDTH * PRECISION / 8) % 16 == 0 && (CHANNELS * PRECISION / 8) % 16 == 0 ? 16 : PRECISION / 8)
#undef VECTOR
#define VECTOR 1
#else
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#define FUNCTION static inline
/* In reverse a phase must give the same: then nothing that a thread writes is read by another in the same phase. */
#ifdef REVERSED
#define RUN(count, phase)                                                                                             \
    for (int each = (count) - 1; each >= 0; each--) phase
#else
#define RUN(count, phase)                                                                                             \
    for (int each = 0; each < (count); each++) phase
#endif
#define UNROLL
#define ALIGNED
#ifndef VECTOR
#ifdef __AVX512F__
#define VECTOR (512 / PRECISION)
#else
#define VECTOR (256 / PRECISION)
#endif
#endif
#endif

FUNCTION real square_root(real x)
{
    return PRECISION == 64 ? (real)sqrt((double)x) : (real)sqrtf((float)x);
}

#if VECTOR == 1
typedef real Vector;
typedef int Truth; /* of each element of a Vector: 0, or what is not 0 */
#define ALL(value) ((real)(value))

FUNCTION Vector choose(Truth condition, Vector yes, Vector no)
{
    return condition ? yes : no;
}

FUNCTION real sum_of(Vector x)
{
    return x;
}

FUNCTION void set(Vector *x, int element, real value)
{
    *x = value;
}

FUNCTION Vector root(Vector x)
{
    return square_root(x);
}
#else
typedef real Vector __attribute__((vector_size(VECTOR * PRECISION / 8)));
#if PRECISION == 64
typedef int64_t Truth __attribute__((vector_size(VECTOR * PRECISION / 8)));
#else
typedef int32_t Truth __attribute__((vector_size(VECTOR * PRECISION / 8)));
#endif
static const Vector ZEROS;
#define ALL(value) (ZEROS + (real)(value))

FUNCTION Vector choose(Truth condition, Vector yes, Vector no)
{
    return (Vector)(((Truth)yes & condition) | ((Truth)no & ~condition));
}

FUNCTION real sum_of(Vector x)
{
    real sum = 0;
    for (int element = 0; element < VECTOR; element++) sum += x[element];
    return sum;
}

FUNCTION void set(Vector *x, int element, real value)
{
    (*x)[element] = value;
}

FUNCTION Vector root(Vector x)
{
    Vector y;
    for (int element = 0; element < VECTOR; element++) y[element] = (real)sqrt(x[element]);
    return y;
}
#endif

/* Of a NaN and a number the number, on a GPU; b where either is NaN, on a processor. */
FUNCTION Vector larger(Vector a, Vector b)
{
#ifdef __CUDACC_RTC__
    return PRECISION == 64 ? (real)fmax((double)a, (double)b) : (real)fmaxf((float)a, (float)b);
#else
    return choose(a > b, a, b);
#endif
}

/* 2^x for x <= 0 and for NaN. */
#if defined(__CUDACC_RTC__) && PRECISION == 32
FUNCTION Vector power_of_two(Vector x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#elif VECTOR > 1 && PRECISION == 32
/* Within two units in the last place; 0 where that is no normal number. Source: Cephes, exp2f. */
FUNCTION Vector power_of_two(Vector x)
{
    const real ROUND = 12582912.0f; /* 1.5 * 2^23: a number is rounded to a whole one when this is added */
    Truth is_tiny = x < -126.0f;
    Vector clamped = choose(is_tiny, ALL(-126.0f), x);
    Vector shifted = clamped + ROUND;
    Vector rest = clamped - (shifted - ROUND);
    Vector sum = rest * 1.535336188319500e-4f + 1.339887440266574e-3f;
    sum = sum * rest + 9.618437357674640e-3f;
    sum = sum * rest + 5.550332471162809e-2f;
    sum = sum * rest + 2.402264791363012e-1f;
    sum = sum * rest + 6.931472028550421e-1f;
    sum = sum * rest + 1.0f;
    Truth power = ((Truth)shifted - (0x4b400000 - 127)) << 23;
    return choose(is_tiny, ALL(0), sum * (Vector)power);
}
#elif VECTOR > 1
FUNCTION Vector power_of_two(Vector x)
{
    Vector y;
    for (int element = 0; element < VECTOR; element++) y[element] = (real)exp2((double)x[element]);
    return y;
}
#else
FUNCTION Vector power_of_two(Vector x)
{
    return PRECISION == 64 ? (real)exp2((double)x) : (real)exp2f((float)x);
}
#endif

/* e^x for x <= 0 and for NaN. */
FUNCTION Vector exponential(Vector x)
{
    return power_of_two(x * LOG2E);
}

FUNCTION Vector sigmoid(Vector x)
{
    Vector small = exponential(choose(x > 0, -x, x));
    return choose(x > 0, ALL(1), small) / (1 + small);
}

FUNCTION int is_finite(real x)
{
    return x - x == 0;
}

typedef struct ALIGNED { Vector at[WIDTH]; } Head;     /* a query or a key */
typedef struct ALIGNED { Vector at[CHANNELS]; } Token; /* what a layer reads, a value, what attention gives */

FUNCTION Vector product(const Head *a, const Head *b)
{
    Vector sum = a->at[0] * b->at[0];
    UNROLL for (int c = 1; c < WIDTH; c++) sum += a->at[c] * b->at[c];
    return sum;
}

FUNCTION Vector product_of_tokens(const Token *a, const Token *b)
{
    Vector sum = a->at[0] * b->at[0];
    UNROLL for (int c = 1; c < CHANNELS; c++) sum += a->at[c] * b->at[c];
    return sum;
}

FUNCTION void add_head(Head *sum, Vector factor, const Head *x)
{
    UNROLL for (int c = 0; c < WIDTH; c++) sum->at[c] += factor * x->at[c];
}

FUNCTION void add_token(Token *sum, Vector factor, const Token *x)
{
    UNROLL for (int c = 0; c < CHANNELS; c++) sum->at[c] += factor * x->at[c];
}

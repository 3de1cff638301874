#include "bench/zipf.h"

#include <assert.h>
#include <math.h>

/* The integral of x^-theta from 1 to x. expm1 keeps it exact where theta is near 1. */
static double area(double theta, double x)
{
    const double log_x = log(x);
    const double power = (1 - theta) * log_x;
    if (fabs(power) < 1e-12)
        return log_x;
    return expm1(power) / (1 - theta);
}

/* The x for which area(theta, x) is `wanted`. */
static double area_inverse(double theta, double wanted)
{
    double power = (1 - theta) * wanted;
    if (power < -1)
        power = -1; /* rounding at the far left */
    if (fabs(power) < 1e-12)
        return exp(wanted);
    return exp(log1p(power) / (1 - theta));
}

static double height(double theta, double x)
{
    return exp(-theta * log(x));
}

void zipf_init(struct zipf *zipf, uint64_t ranks, double theta)
{
    assert(ranks >= 1);
    assert(theta >= 0);
    zipf->theta = theta;
    zipf->ranks = ranks;
    zipf->area_first = area(theta, 1.5) - 1;
    zipf->area_last = area(theta, (double)ranks + 0.5);
    zipf->sure = 2 - area_inverse(theta, area(theta, 2.5) - height(theta, 2));
}

uint64_t zipf_next(const struct zipf *zipf, struct rng *rng)
{
    for (;;) {
        const double target =
            zipf->area_last + rng_unit(rng) * (zipf->area_first - zipf->area_last);
        const double x = area_inverse(zipf->theta, target);
        double rank = floor(x + 0.5);
        if (rank < 1)
            rank = 1;
        if (rank > (double)zipf->ranks)
            rank = (double)zipf->ranks;
        if (rank - x <= zipf->sure ||
            target >= area(zipf->theta, rank + 0.5) - height(zipf->theta, rank))
            return (uint64_t)rank;
    }
}

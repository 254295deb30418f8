/* Expressions as sums of products, to recognise a formula in whatever way it was written. An expression is expanded through + - * /,
 * neg, sqrt, rsqrt and pow with literal exponents as far as it contains one of the given atoms; everything else is an atom itself.
 * Exponents are counted in halves. Nothing is built: polynomials only answer "is it that formula?". */
#pragma once
#include "match.h"

enum { POLY_TERMS = 6, POLY_FACTORS = 6, POLY_ATOMS = 4 };
typedef struct { TsVal v; int e2; } TsFactor;
typedef struct { double c; int n; TsFactor f[POLY_FACTORS]; } TsTerm;             /* factors by value number */
typedef struct { int n; TsTerm t[POLY_TERMS]; } TsPoly;
typedef struct { TsMatch *m; int natom; TsVal atom[POLY_ATOMS]; int budget; } TsPolyer;

/* False when the expression is no small polynomial in the atoms. */
bool ts_poly_expand(TsPolyer *p, TsVal v, TsPoly *out);
/* The term with exactly these factors; NULL if there is none. n factors, each value with its exponent in halves. */
const TsTerm *ts_poly_term(const TsPoly *p, int n, const TsFactor *f);
int ts_term_power(const TsTerm *t, TsVal v);   /* in halves, 0 when absent */

/* Values below v, itself first, reached through the operators above, at most `most`. */
int ts_poly_nodes(TsMatch *m, TsVal v, TsVal *out, int most);
/* The shortest decimal that rounds to x in type t: a literal as it was written. */
double ts_rw_snap(TsDtype t, double x);

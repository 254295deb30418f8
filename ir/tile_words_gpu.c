/* The words of GPU targets. */
#include "ir/tile_check.h"

TvWord *tv_word_gpu(TsTileOp op);
bool tv_mma_gpu(TsVerify *v, TvCall *c, const char *atom, const TsTType *acc);

static bool word_later(TsVerify *v, TvCall *c)
{
	return tv_fail(v, c->call, "E_TILE_TARGET", "'%s' cannot be checked yet", c->call->kid[0]->name);
}

bool tv_mma_gpu(TsVerify *v, TvCall *c, const char *atom, const TsTType *acc)
{
	(void)acc;
	return tv_fail(v, c->call, "E_TILE_TARGET", "atom \"%s\" cannot be checked yet", atom);
}

TvWord *tv_word_gpu(TsTileOp op)
{
	(void)op;
	return word_later;
}

#include "support/map.h"
#include <string.h>

static uint32_t slot_of(const TsMap *m, const void *key)
{
	uint64_t h = (uint64_t)(uintptr_t)key * 0x9e3779b97f4a7c15u;
	uint32_t i = (uint32_t)(h >> 32) & (m->nslots - 1);
	while (m->slots[i] && m->keys[m->slots[i] - 1] != key) i = (i + 1) & (m->nslots - 1);
	return i;
}

uintptr_t *ts_map_find(const TsMap *m, const void *key)
{
	if (!m->n) return NULL;
	uint32_t s = m->slots[slot_of(m, key)];
	return s ? &m->vals[s - 1] : NULL;
}

static void grow(TsArena *a, TsMap *m)
{
	uint32_t cap = m->cap ? m->cap * 2 : 8;
	const void **keys = TS_NEW_N(a, const void *, cap);
	uintptr_t *vals = TS_NEW_N(a, uintptr_t, cap);
	if (m->n) {
		memcpy(keys, m->keys, m->n * sizeof *keys);
		memcpy(vals, m->vals, m->n * sizeof *vals);
	}
	m->keys = keys;
	m->vals = vals;
	m->cap = cap;
	m->nslots = cap * 2;
	m->slots = TS_NEW_N(a, uint32_t, m->nslots);
	for (uint32_t i = 0; i < m->n; i++) m->slots[slot_of(m, m->keys[i])] = i + 1;
}

uintptr_t *ts_map_put(TsArena *a, TsMap *m, const void *key, bool *fresh)
{
	uintptr_t *v = ts_map_find(m, key);
	if (fresh) *fresh = !v;
	if (v) return v;
	if (m->n == m->cap) grow(a, m);
	m->keys[m->n] = key;
	m->vals[m->n] = 0;
	m->slots[slot_of(m, key)] = m->n + 1;
	return &m->vals[m->n++];
}

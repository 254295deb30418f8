#include "support/temp.h"
#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Made { struct Made *next; bool folder; char path[]; } Made;
struct TsTemps { pthread_mutex_t lock; Made *made; };

TsTemps *ts_temps_new(void)
{
	TsTemps *t = calloc(1, sizeof *t);
	if (t) pthread_mutex_init(&t->lock, NULL);
	return t;
}

void ts_temps_free(TsTemps *t)
{
	for (Made *m = t ? t->made : NULL, *next; m; m = next) {
		next = m->next;
		free(m);
	}
	free(t);
}

static TsTemps *temps(TsCtx *cx) { return *ts_ctx_slot(cx, TS_SLOT_TEMPS); }

static Made *list(TsTemps *t, const char *path, bool folder)
{
	size_t n = strlen(path) + 1;
	Made *m = malloc(sizeof *m + n);
	if (!m) return NULL;
	*m = (Made){ t->made, folder };
	memcpy(m->path, path, n);
	return t->made = m;
}

static void unlist(TsTemps *t, const char *path)
{
	for (Made **at = &t->made; *at; at = &(*at)->next) {
		Made *m = *at;
		if (strcmp(m->path, path) != 0) continue;
		*at = m->next;
		free(m);
		return;
	}
}

FILE *ts_temp_file(TsCtx *cx, const char *path)
{
	TsTemps *t = temps(cx);
	if (!t) return fopen(path, "wbx");
	pthread_mutex_lock(&t->lock);
	FILE *f = fopen(path, "wbx");
	if (f) list(t, path, false);
	pthread_mutex_unlock(&t->lock);
	return f;
}

bool ts_temp_folder(TsCtx *cx, char *pattern)
{
	TsTemps *t = temps(cx);
	if (!t) return mkdtemp(pattern) != NULL;
	pthread_mutex_lock(&t->lock);
	bool ok = mkdtemp(pattern) != NULL;
	if (ok) list(t, pattern, true);
	pthread_mutex_unlock(&t->lock);
	return ok;
}

void ts_temp_done(TsCtx *cx, const char *path)
{
	TsTemps *t = temps(cx);
	if (!t) return;
	pthread_mutex_lock(&t->lock);
	unlist(t, path);
	pthread_mutex_unlock(&t->lock);
}

static void remove_folder(const char *path)
{
	DIR *d = opendir(path);
	if (!d) return;
	for (struct dirent *e; (e = readdir(d));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) unlinkat(dirfd(d), e->d_name, 0);
	closedir(d);
	rmdir(path);
}

void ts_temps_remove(TsCtx *cx)
{
	TsTemps *t = temps(cx);
	if (!t) return;
	pthread_mutex_lock(&t->lock); /* and never unlocked */
	for (const Made *m = t->made; m; m = m->next) {
		if (m->folder) remove_folder(m->path);
		else unlink(m->path);
	}
}

/* A growable byte buffer on the heap, for text and binary output. Always NUL-terminated after the last byte.
 * The owner calls ts_buf_free. Growth failure ends the process with exit code 3. */
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { char *p; size_t n, cap; } TsBuf;

void ts_buf_add(TsBuf *b, const void *p, size_t n);
void ts_buf_str(TsBuf *b, const char *s);
void ts_buf_char(TsBuf *b, char c);
void ts_buf_fmt(TsBuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3), nonnull(2)));
void ts_buf_vfmt(TsBuf *b, const char *fmt, va_list ap) __attribute__((nonnull(2)));
void ts_buf_align(TsBuf *b, size_t align); /* pads with zeros */
void *ts_buf_space(TsBuf *b, size_t n);    /* n zeroed bytes at the end; pointer valid until the next call */
void ts_buf_free(TsBuf *b);
/* Shortest decimal that reads back to the same double (or float), as the text formats print it: always with '.' or 'e',
 * or inf, -inf, nan. */
void ts_buf_f64(TsBuf *b, double x);
void ts_buf_f32(TsBuf *b, float x);

/* What XLA hands to a custom call, as far as our handler reads it: the C interface that jaxlib publishes (xla/ffi/api/c_api.h, version 0.3),
 * described here in our own words. Every structure begins with its size as the caller knows it, and a chain of extensions; fields behind
 * that size are not there. Enumerations are ints. Nothing of XLA is needed to compile this. */
#ifndef TESSERA_RTLIB_XLA_ABI_H
#define TESSERA_RTLIB_XLA_ABI_H
#include <stddef.h>
#include <stdint.h>

enum { XLA_MAJOR = 0, XLA_MINOR = 3 };               /* the version this describes */
enum { XLA_EXTENSION_METADATA = 1 };
enum { XLA_STAGE_EXECUTE = 3 };
enum { XLA_BUFFER = 1 };                             /* the only kind of argument and result */

/* error codes, which are those of absl */
enum { XLA_INVALID_ARGUMENT = 3, XLA_RESOURCE_EXHAUSTED = 8, XLA_OUT_OF_RANGE = 11, XLA_UNIMPLEMENTED = 12, XLA_INTERNAL = 13 };

/* element types, by their numbers in xla_data.proto */
enum {
	XLA_PRED = 1, XLA_S8 = 2, XLA_S16 = 3, XLA_S32 = 4, XLA_S64 = 5, XLA_U8 = 6, XLA_U16 = 7, XLA_U32 = 8, XLA_U64 = 9, XLA_F16 = 10, XLA_F32 = 11,
	XLA_F64 = 12, XLA_C64 = 15, XLA_BF16 = 16, XLA_C128 = 18, XLA_F8E5M2 = 19, XLA_F8E4M3FN = 20
};

typedef struct XlaError XlaError;                    /* XLA's; whoever gets one destroys it */
typedef struct XlaContext XlaContext;

typedef struct XlaExtension { size_t size; int32_t type; struct XlaExtension *next; } XlaExtension;

typedef struct { size_t size; XlaExtension *extensions; int32_t major, minor; } XlaVersion;
typedef struct { size_t size; XlaVersion version; uint32_t traits; int64_t state_type; } XlaMetadata;
typedef struct { XlaExtension base; XlaMetadata *metadata; } XlaMetadataExtension;

typedef struct { size_t size; XlaExtension *extensions; int32_t dtype; void *data; int64_t rank; int64_t *dims; } XlaBuffer;
typedef struct { size_t size; XlaExtension *extensions; int64_t n; int32_t *kinds; void **at; } XlaList; /* arguments, and results */
typedef struct { const char *p; size_t n; } XlaText;
typedef struct { int32_t dtype; void *value; } XlaScalar;
enum { XLA_ATTRIBUTE_SCALAR = 3 };
typedef struct { size_t size; XlaExtension *extensions; int64_t n; int32_t *kinds; XlaText **names; void **at; } XlaAttributes;

typedef struct { size_t size; XlaExtension *extensions; const char *message; int32_t code; } XlaErrorCreate;
typedef struct { size_t size; XlaExtension *extensions; XlaError *error; } XlaErrorDestroy;
typedef struct { size_t size; XlaExtension *extensions; XlaContext *context; void *stream; } XlaStreamGet;
typedef struct { size_t size; XlaExtension *extensions; XlaContext *context; int32_t ordinal; } XlaOrdinalGet;

typedef struct XlaApi {
	size_t size;
	XlaExtension *extensions;
	XlaVersion version;
	const void *internal;
	XlaError *(*error_create)(XlaErrorCreate *);
	void (*error_message)(void *);
	void (*error_destroy)(XlaErrorDestroy *);
	void (*handler_register)(void);
	XlaError *(*stream_get)(XlaStreamGet *);
	void (*unused[12])(void);
	XlaError *(*ordinal_get)(XlaOrdinalGet *);
} XlaApi;

typedef struct {
	size_t size;
	XlaExtension *extensions;
	const XlaApi *api;
	XlaContext *context;
	int32_t stage;
	XlaList args, rets;
	XlaAttributes attributes;
	void *future;
} XlaFrame;

/* Is field `f` of *p within what the caller knows of its structure? And the size of a structure whose last field is `f`. */
#define XLA_HAS(p, f) ((p)->size >= offsetof(__typeof__(*(p)), f) + sizeof (p)->f)
#define XLA_SIZE(type, f) (offsetof(type, f) + sizeof ((type *)0)->f)

/* the numbers of XLA's own headers */
_Static_assert(sizeof(XlaBuffer) == 48 && sizeof(XlaList) == 40 && sizeof(XlaAttributes) == 48 && sizeof(XlaFrame) == 176, "as XLA lays them out");
_Static_assert(offsetof(XlaApi, stream_get) == 80 && offsetof(XlaApi, ordinal_get) == 184 && sizeof(XlaApi) == 192, "as XLA lays it out");
_Static_assert(sizeof(XlaMetadata) == 48 && sizeof(XlaMetadataExtension) == 32, "as XLA lays them out");
#endif

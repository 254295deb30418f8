"""The planted faults: (name, file, text that is there once, what stands there instead, tests in the order they are asked). A fault
that takes several edits has tuples of texts.

Each is a mistake somebody could make and that compiles. A test is a unit program and its arguments. Faults change bits of results,
not only speed: a slower schedule is no fault of this kind.
"""

GRAPHS = "test_graphs 1 330"
SOME = "test_graphs 1 80"
ROWS = "test_invariance"
SM80 = "test_gpu_sched 1 shapes sm_80"  # schedules of GPUs in the simulator
SM89 = "test_gpu_sched 1 shapes sm_89"
SM90 = "test_gpu_sched 1 shapes sm_90a"
EXTREMES = "test_gpu_sched 1 extremes sm_80"
WORDS = "suite golden gpu/words"  # what the lowering makes of small kernels
LAUNCH = "suite gpu_gates launches"  # what the plan says of kernels
FAKE = "test_cuda"


def diff(op):
    return "test_diff 1 " + op


MATMUL, ATTENTION, ROW, KERNEL, SCHEDULE, REGION = ("middle/tiler/%s.c" % n for n in ("matmul", "attention", "row", "kernel", "schedule", "region"))

GPU = {n: "middle/tiler/gpu_%s.c" % n for n in ("attention", "attention_mma", "attention_one", "attention_wgmma", "fp8", "matmul", "mma", "pointwise", "row", "wgmma")}
NV = {n: "backend/llvm/lower_gpu%s.c" % n for n in ("", "_async", "_mem", "_mma", "_shared", "_sum")}

FAULTS = [
    # contractions
    ("matmul-k-tail", MATMUL, 'k_loop(b, "0", b->kend, c0, i, c);', 'k_loop(b, "0", ts_kb_fmt(k, "%s // 4 * 4", b->kend), c0, i, c);', [diff("matmul")]),
    ("matmul-k-block-tail", MATMUL, 'ts_kb_line(k, "ke: idx = min(kb + %d, %s)", mi.block_k, b.kend);', 'ts_kb_line(k, "ke: idx = min(kb + %d, %s // 2 * 2)", mi.block_k, b.kend);', [diff("matmul")]),
    ("matmul-bf16-accumulator", MATMUL, 'ts_kb_line(k, "yield %s", next);',
     'if (mm->ae == TS_BF16) { const char *lo = ts_kb_tmp(k), *up = ts_kb_tmp(k);'
     ' ts_kb_line(k, "%s: bf16[%d, %d] @X%s = cast(%s, bf16)", lo, b->rows, b->cols, sfx, next);'
     ' ts_kb_line(k, "%s: %s[%d, %d] @X%s = cast(%s, %s)", up, ct, b->rows, b->cols, sfx, lo, ct); next = up; }'
     ' ts_kb_line(k, "yield %s", next);', [diff("matmul")]),
    ("matmul-row-tail", MATMUL, 'row_loop(&b, "mf", "me");', 'row_loop(&b, "me", "me");', [diff("matmul")]),
    ("matmul-epilogue-lost", MATMUL, "ts_kb_store(k, &mm->r, mm->leaf, ts_kb_eval(k, &mm->r, mm->out, &p, memo), &p);",
     "(void)memo; ts_kb_store(k, &mm->r, mm->leaf, (TsTileVal){ c, 3, mm->ct }, &p);", [SOME, GRAPHS]),
    ("matmul-few-rows-other-sums", MATMUL, 'k_loop(b, "0", b->kend, c0, i, c);',
     'if (b->rows == 1) { const char *h = ts_kb_tmp(k), *g = ts_kb_tmp(k), *mid = ts_kb_fmt(k, "%s // 2", b->kend); k_loop(b, "0", mid, c0, i, h);'
     ' k_loop(b, mid, b->kend, c0, i, g); ts_kb_line(k, "%s: %s = add(%s, %s)", c, ty, h, g); } else k_loop(b, "0", b->kend, c0, i, c);', [ROWS]),
    ("weight-packing-tail", "rtlib/pack.h", "if (k < p->k && n0 + j < p->n)", "if (k < p->k && n0 + j + 1 < p->n)", ["test_loop_weights", SOME]),
    ("literal-not-packed", "emit/plan_weights.c", "s->packing->packed ? pack_literal(w, s->n, s->packing, rec) : s->n->data;", "((void)pack_literal, s->n->data);", [SOME, GRAPHS]),
    # attention
    ("causal-off-by-one", ATTENTION, 'ca: %s = le(cj, rj)', 'ca: %s = lt(cj, rj)', [diff("attention")]),
    ("window-off-by-one", ATTENTION, 'wi: %s = gt(cj, wl)', 'wi: %s = ge(cj, wl)', [diff("attention")]),
    ("window-block-skipped", ATTENTION, "jlo: idx = min(max(ib + off - %lld, 0) // %d * %d, jhi)", "jlo: idx = min(max(ib + off - %lld, 0) // %d * %d + 32, jhi)", [diff("attention"), GRAPHS]),
    ("gqa-head", ATTENTION, '"b%u // %s, "', '"b%u %% %s, "', [diff("attention"), GRAPHS]),
    ("attention-rescale", ATTENTION, 'al: %s = exp(dm)', 'al: %s = fill(1.0)', [diff("attention")]),
    ("attention-maximum", ATTENTION, 'mb: %s = maximum(ma, rm)', 'mb: %s = minimum(ma, rm)', [diff("attention")]),
    ("attention-key-tail", ATTENTION, 'kin: %s = lt(cj, te)', 'kin: %s = le(cj, te)', [diff("attention")]),
    ("plan-guard-order", "emit/plan_write.c", "TS_EX_LE, ts_plan_size(w, c->guard_lhs), ts_plan_size(w, c->guard_rhs)", "TS_EX_LE, ts_plan_size(w, c->guard_rhs), ts_plan_size(w, c->guard_lhs)", [diff("attention"), SOME]),
    # rows
    ("softmax-maximum", ROW, 'f.stat[0] = reduce_pass(w, step_max, "-inf", "max", (TsTileVal){ 0 });', 'f.stat[0] = reduce_pass(w, step_max, "0", "max", (TsTileVal){ 0 });', [SOME, GRAPHS]),
    ("argmax-of-several-axes", "middle/tiler/kernel.c", "for (uint32_t d = r->niter; d-- > first;", "for (uint32_t d = r->niter; d-- + 1 > r->niter;", [diff("argmax")]),
    ("argmax-ties", ROW, 'op2(w, "gt", TS_BOOL, x.name, in[0])', 'op2(w, "ge", TS_BOOL, x.name, in[0])', [diff("argmax")]),
    ("mean-divisor", ROW, "for (uint32_t i = w->split + 1; i < w->r.niter; i++) n = ", "for (uint32_t i = w->split + 2; i < w->r.niter; i++) n = ", [diff("mean"), GRAPHS]),
    ("reduced-axes", ROW, "for (uint32_t i = 0; i < at->n; i++)", "for (uint32_t i = 0; i < at->n && i < 1; i++)", [diff("sum")]),
    ("kept-axes-order", ROW, "if (norm || !red) oi[at].coef[place[a]] = one;", "if (norm || !red) oi[keep || norm || at + 2 > rt->rank ? at : rt->rank - 1u - at].coef[place[a]] = one;", [diff("sum"), diff("max"), GRAPHS]),
    ("variance-unbiased", ROW, 'TsTileVal var = stat2(w, "div", reduce_pass(w, step_square_sum, "0", "add", f.stat[0]), n);',
     'const char *n1 = ts_kb_tmp(&w->k); ts_kb_line(&w->k, "%s: %s[] = sub(%s, 1.0)", n1, ts_dtype_name(w->ct), n);'
     ' TsTileVal var = stat2(w, "div", reduce_pass(w, step_square_sum, "0", "add", f.stat[0]), w->n->op == TS_OP_layer_norm ? n1 : n);', [diff("layer_norm")]),
    ("eps-dropped", ROW, 'stat1(w, "rsqrt", stat2(w, "add", var, eps))', '((void)eps, stat1(w, "rsqrt", var))', [diff("layer_norm"), diff("rms_norm"), GRAPHS]),
    ("row-tail-counted", ROW, 'step_sum(Row *w, Pass *ps, const char *const *in, const char **next, const char *valid)\n{\n\t(void)ps;\n\tnext[0] = op2(w, "add", w->ct, in[0], operand(w, valid, w->along ? "0" : NULL).name);',
     'step_sum(Row *w, Pass *ps, const char *const *in, const char **next, const char *valid)\n{\n\t(void)ps;\n\tnext[0] = op2(w, "add", w->ct, in[0], operand(w, valid, w->along ? "1" : NULL).name);', [diff("sum")]),
    # views, movement, indices
    ("broadcast-stride", "middle/tiler/view.c", "out->stride[i] = stretch ? ts_dim_const(t->d, 0) : src->stride[j];", "out->stride[i] = stretch ? ts_dim_const(t->d, 1) : src->stride[j];", [diff("broadcast"), SOME]),
    ("broadcast-operand", REGION, "if (ts_is_one(t, from->dim[i]) && !ts_is_one(t, to->dim[j])) continue;", "if (ts_is_one(t, from->dim[i]) && !ts_is_one(t, to->dim[j]) && i) continue;", [diff("add"), SOME]),
    ("transpose-inverse", REGION, "in[p->ints[i]] = idx[i];", "in[i] = idx[p->ints[i]];", [SOME, GRAPHS]),
    ("transpose-view-inverse", "middle/tiler/view.c", "out->stride[i] = src->stride[p->ints[i]];", "out->stride[p->ints[i]] = src->stride[i];", [diff("transpose")]),
    ("slice-step", REGION, "in[i].coef[k] = ts_dim_mul(t->d, in[i].coef[k], by);", "in[i].coef[k] = in[i].coef[k];", [SOME, GRAPHS]),
    ("gather-clamps", KERNEL, "inside.name, v.name, zero);", "inside.name, v.name, zero ? v.name : NULL);", [diff("gather"), diff("embedding")]),
    ("store-without-valid", KERNEL, 'ts_kb_line(k, "store(%s, %s%s)", access(k, r, n, p, index, 0), v.name, valid_text(k, mask, p));', 'ts_kb_line(k, "store(%s, %s%s)", access(k, r, n, p, index, 0), v.name, mask > 7 ? valid_text(k, mask, p) : "");', [diff("add"), SOME]),
    ("split-offset", SCHEDULE, "r.offset = ts_dim_add(t->d, src.offset, ts_dim_mul(t->d, part, src.stride[axis]));", "r.offset = ts_dim_mul(t->d, part, src.stride[axis]);", [SOME, GRAPHS]),
    ("pad-offset", "middle/tiler/pointwise.c", "inner.offset = ts_dim_add(t->d, inner.offset, ts_dim_mul(t->d, before->dims[i], inner.stride[i]));", "inner.offset = ts_dim_mul(t->d, before->dims[i], inner.stride[i]);", [diff("pad")]),
    # memory and loops
    ("stale-buffer", "middle/tiler/memory.c", "if (o->first <= b->last && b->first <= o->last) return false;", "if (o->first < b->last && b->first < o->last) return false;", [SOME, GRAPHS]),
    ("loop-lifetime", "middle/tiler/memory.c", "if (b->last < end) { b->last = end; again = 1; }", "", [SOME, GRAPHS]),
    ("result-view-left-behind", SCHEDULE, "if (t->real[x].how != TS_REAL_VIEW || t->real[x].buf != from) continue;", "if (t->real[x].how != TS_REAL_VIEW || t->real[x].buf != from || x != v) continue;", [GRAPHS]),
    ("result-offset", SCHEDULE, "t->real[x].offset = ts_dim_add(t->d, t->real[x].offset, to->offset);", "t->real[x].offset = to->offset;", [GRAPHS]),
    ("loop-parity", SCHEDULE, "t->real[n->out[i]].offset = trips % 2 ? count[i] : 0;", "t->real[n->out[i]].offset = trips % 2 ? 0 : count[i];", [SOME, GRAPHS]),
    ("loop-step", "emit/plan_write.c", "ts_plan_op(w->b, TS_EX_MUL, turn, ts_plan_const(w->b, f->step))", "turn", [SOME, GRAPHS]),
    ("weight-table-index", "emit/plan_weights.c", "vals[i - 1] = f->lo + (int64_t)(rest % trips) * f->step;", "vals[i - 1] = f->lo + (int64_t)(rest % trips);", ["test_loop_weights"]),
    ("weight-table-nest", "emit/plan_weights.c", "rest /= trips;", "", ["test_loop_weights"]),
    # numbers
    ("fp8-saturation", "backend/llvm/math_cvt.c", "r = SEL(ICMP(UGT, r, INT(largest)), INT(largest), r);", "r = SEL(ICMP(UGT, r, INT(largest)), INT(largest - 1), r);", ["test_convert", diff("cast")]),
    ("round-half-up", "backend/llvm/math_cvt.c", "AND(SHR(a, INT(drop)), INT(1)));", "INT(1));", ["test_convert", diff("cast")]),
    ("int4-nibbles", "backend/llvm/lower_mem.c", "lw_nibble_get(w, base, at)", "lw_nibble_get(w, base, LLVMBuildXor(w->b, at, lw_i64(w, 1), \"\"))", [diff("cast"), diff("matmul"), "test_lower"]),
    ("floor-of-negatives", "backend/llvm/lower_word.c", "q = LLVMBuildSelect(bd, above, LLVMBuildSub(bd, q, one, \"\"), q, \"\");", "(void)above, (void)one;", [diff("floordiv"), diff("mod")]),
    ("mod-sign", "backend/llvm/lower_word.c", "r = LLVMBuildSub(b, x[0], LLVMBuildMul(b, q, x[1], \"\"), \"\");", "r = LLVMBuildSRem(b, x[0], LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntEQ, x[1], zero, \"\"), q, x[1], \"\"), \"\");", [diff("mod")]),
    ("size-rounded-to-zero", "ir/dim.c", "return a / b - (a % b != 0 && (a < 0) != (b < 0)); }", "return a / b; }", ["test_dim"]),
    ("size-ceiling", "ir/dim.c", "return ts_dim_floordiv(t, ts_dim_add(t, a, ts_dim_sub(t, b, ts_dim_const(t, 1))), b); }", "return ts_dim_floordiv(t, ts_dim_add(t, a, b), b); }", ["test_dim", SOME]),
    ("random-word", "middle/tiler/random.c", "unit24(&g, w[1], 0)", "unit24(&g, w[0], 0)", [diff("normal")]),
    # rewriting
    ("cse-any-order", "middle/rewrite/cse.c", ("if (info->flags & TS_F_COMM && n->nin == 2)", "bool crossed = info->flags & TS_F_COMM && "), ("if (n->nin == 2)", "bool crossed = "), ["test_rewrite_passes", "test_rewrite_random"]),
    ("rule-sub-neg", "middle/rewrite/algebra.rules", "(sub x (neg y))                                     => (add x y)", "(sub x (neg y))                                     => (sub x y)", ["test_rewrite", "test_rewrite_random"]),
    ("finite-fills-lost", "middle/rewrite/fn_attention.c", "for (int i = a->nlayers - 1; i >= 0; i--) {", "for (int i = a->nlayers - 1; i >= a->nlayers; i--) {", ["test_rewrite_values"]),
    ("finite-fills-as-masks", "middle/rewrite/fn_attention.c", "if (l->fill && isfinite(l->x)) {", "if (l->fill && isnan(l->x)) {", ["test_rewrite_values"]),
    ("rows-without-a-column", "middle/rewrite/fn_attention.c", "if (!ts_band_has_every_row(a->m, &band)) return false;", "", ["test_rewrite_values"]),
    ("fills-that-meet-scores", "middle/rewrite/fn_attention.c", ".low = t == TS_F64 ? -1e40 : -1e30,", ".low = -1e4,", ["test_rewrite_values"]),
    ("window-past-the-columns", "middle/rewrite/mask.c", "return b->lower >= 0 && beyond <= b->lower &&", "(void)beyond; return b->lower >= 0 &&", ["test_rewrite_values"]),
    ("table-of-one-row", "middle/rewrite/mask.c", "if (t->dim[t->rank - 2] != b->rows || t->dim[t->rank - 1] != b->cols) return false;", "", ["test_rewrite_values"]),
    # kernels of a model
    ("kernel-first-value-lost", "middle/rewrite/kernel_loop.c", "bool none = q->from_zero >> i & 1 || lift_is_splat(l, init, kind == TS_OP_sum ? 0 : kind == TS_OP_max ? -INFINITY : INFINITY);", "bool none = true; (void)init;", ["test_kernels 1"]),
    ("kernel-difference-as-sum", "middle/rewrite/kernel_loop.c", "with[n] = d->op;", "with[n] = d->op == TS_OP_sub ? TS_OP_add : d->op;", ["test_kernels 1"]),
    ("kernel-softmax-that-has-begun", "middle/rewrite/kernel_loop.c", "if (a->online != b->online || !o->plain || ", "if (a->online != b->online || ", ["test_kernels 1"]),
    ("kernel-accumulator-that-has-begun", "middle/rewrite/kernel_loop.c", "if (!lift_is_splat(l, x->begin, 0)) {", "if (x->begin == 0) {", ["test_kernels 1"]),
    ("kernel-largest-before-the-loop", "middle/rewrite/kernel_loop.c", "if (!o->plain) o->most = ", "if (o->plain && o->m0 == 0) o->most = ", ["test_kernels 1"]),
    ("kernel-exponents-of-nothing", "middle/rewrite/kernel_loop.c", "return lift_op(l, TS_OP_where, 3, (TsVal[]){ none, zero, o->most }, NULL, at);", "(void)none, (void)zero; return o->most;", ["test_kernels 1"]),
    ("kernel-any-mask-is-the-end", "middle/rewrite/kernel_lift.c", "if (d->op == TS_OP_dim) return d->dim == size;", "if (d->op == TS_OP_dim) return true;", ["test_kernels 1"]),
    ("kernel-positions-from-0", "middle/rewrite/kernel_lift.c", "TsDim from = ts_dim_add(l->m->dims, l->k->vars.p[var].lo, add);", "TsDim from = l->k->vars.p[var].lo; (void)add;", ["test_kernels 1"]),
    ("kernel-slice-with-a-step", "middle/rewrite/kernel_lift.c", "if (!step->none) by[i] = step->ints[k];", "if (!step->none) by[i] = 1;", ["test_kernels 1"]),
    ("kernel-repeats-across", "middle/rewrite/kernel_lift.c", "memcpy(dim, t.dim, (i + 1) * sizeof *dim);\n\tdim[i + 1] = ts_dim_const(l->m->dims, 1);\n\tmemcpy(dim + i + 2, t.dim + i + 1, (t.rank - i - 1) * sizeof *dim);", "memcpy(dim, t.dim, i * sizeof *dim);\n\tdim[i + 1] = t.dim[i];\n\tdim[i] = ts_dim_const(l->m->dims, 1);\n\tmemcpy(dim + i + 2, t.dim + i + 1, (t.rank - i - 1) * sizeof *dim);", ["test_kernels 1"]),
    ("kernel-guard-of-update", "frontend/graph_text/sema_kernel_word.c", "f = op(s, TS_OP_where, t->at, 3, (TsVal[]){ none, zero, f }, NULL);", "(void)none, (void)zero;", ["test_kernels 1"]),
    ("kernel-tile-too-long", "frontend/graph_text/sema_kernel.c", "ts_dim_sub(s->d, hi, v.symbol));", "ts_dim_sub(s->d, ts_dim_add(s->d, hi, ts_dim_const(s->d, 1)), v.symbol));", ["test_kernels 1"]),
    ("attention-factor-lost", ATTENTION, 'if (w->ft) ts_attention_factor(k, "sc", own, &w->factor, w->ft, w->ct);', 'if (w->ft) ts_kb_line(k, "sc: %s[] = cast(%s, %s)", w->cname, own, w->cname);', [diff("attention")]),
    ("attention-factor-under-the-bias", "middle/rewrite/fn_attention.c", "if (a->nlayers == MAX_PEEL || a->nnumbers) return false;", "if (a->nlayers == MAX_PEEL) return false;", ["test_rewrite_values"]),
    ("gpu-factor-always-positive", GPU["attention"], "return w->fold && w->j->at.ft;", "return false;", [SM80 + " attention"]),
    ("gpu-factor-of-nothing-folded", GPU["attention"], "LEAST_FOLDED = 1e-30", "LEAST_FOLDED = 0", [SM80 + " attention"]),
    ("gpu-huge-factor-folded", GPU["attention"], "MOST_FOLDED = 256", "MOST_FOLDED = 1e38", [SM80 + " attention"]),
    ("gpu-queries-turned-alone", GPU["attention_mma"], 'put(sq[r:r + %d, 0:%d], qn)", rows, cap);\n\tts_kb_close(k, "");\n\tts_kb_line(k, "sync(\\"cta\\")");', 'put(sq[r:r + %d, 0:%d], qn)", rows, cap);\n\tts_kb_close(k, "");', [SM80 + " attention"]),
    ("gpu-queries-turned-unfenced", GPU["attention_wgmma"], 'ts_kb_line(k, "put(%s, qn)", part);\n\tts_kb_line(k, "fence_async()");', 'ts_kb_line(k, "put(%s, qn)", part);', [SM90 + " attention"]),
    # the runtime
    ("last-cell", "rtlib/run.c", "int64_t to = l->cells - from < l->chunk ? l->cells : from + l->chunk;", "int64_t to = l->cells - from < l->chunk ? l->cells - 1 : from + l->chunk;", [SOME]),
    # schedules of GPUs
    ("gpu-copies-waited-for", GPU["mma"], 'ts_kb_line(k, "wait_copy(%d)", ahead - 1);', 'ts_kb_line(k, "wait_copy(%d)", ahead);', [SM80]),
    ("gpu-stage-overwritten", GPU["mma"], 's1: idx = (i + %d) %% %d', 's1: idx = (i + %d + 1) %% %d', [SM80]),
    ("gpu-stage-not-shared", GPU["mma"], 'ts_kb_line(k, "wait_copy(%d)", ahead - 1);\n\tts_kb_line(k, "sync(\\"cta\\")");', 'ts_kb_line(k, "wait_copy(%d)", ahead - 1);', [SM80]),
    ("gpu-k-tail", GPU["mma"], '*kl = ts_kb_fmt(k, "%s - %s", ts_kb_dim(k, mm->j->mm.k), k0);', '*kl = ts_kb_fmt(k, "%s - %s + 8", ts_kb_dim(k, mm->j->mm.k), k0);', [SM80]),
    ("gpu-8-bit-sums-go-on", GPU["mma"], ('v->fp8 ? "zero" : "c");', 'add(c, part)'), ('"c");', 'add(zero, part)'), [SM89]),
    ("gpu-guard-of-wide-accesses", GPU["matmul"], "mm->v[mm->n++].guard = ts_dim_add(t->d, mods, over[i]);", "mm->v[mm->n++].guard = over[i];", [SM80]),
    ("gpu-fma-sync", GPU["matmul"], 'ts_kb_line(k, "sync(\\"cta\\")");\n\tts_kb_line(k, "k1: idx = k0 + %d", v->bk);\n\tconst char *a1 = load_side', 'ts_kb_line(k, "k1: idx = k0 + %d", v->bk);\n\tconst char *a1 = load_side', [SM80]),
    ("gpu-slot-released-early", GPU["wgmma"], 'ts_kb_line(k, "release(R[prev])");', 'ts_kb_line(k, "release(R[q])");', [SM90]),
    ("gpu-results-without-fence", GPU["wgmma"], 'ts_kb_line(k, "fence_async()");', "", [SM90]),
    ("gpu-results-overwritten", GPU["wgmma"], 'ts_kb_line(k, "wait_store(%d, read = true)", ', 'ts_kb_line(k, "wait_store(%d, read = true)", 1 + ', [SM90]),
    ("gpu-rows-at-the-tile", GPU["wgmma"], 'ts_kb_line(k, "ms: idx = mb - me");', 'ts_kb_line(k, "ms: idx = mb");', [SM90 + " matmul"]),
    ("gpu-rows-of-another-group", GPU["wgmma"], 'p.from[0] = "mf";', 'p.from[0] = NULL;', [SM90 + " matmul"]),
    ("gpu-8-bit-ring-sums-go-on", GPU["fp8"], ('mma(%s, R[q].a', 'zero_if = true)", i, E, i ? ts_kb_fmt(k, "y%d", i - 1) : "fresh", i', 'add(c%d, y%d)", i, E, i, i);'),
     ('mma(c%d, R[q].a', 'zero_if = false)", i, E, i, i', 'add(start, y%d)", i, E, i);'), [SM90 + " matmul"]),
    ("gpu-causal-off-by-one", GPU["attention"], '"le(%s, %s)", ci,', '"lt(%s, %s)", ci,', [SM80]),
    ("gpu-hides-too-few-blocks", GPU["attention"], '"%s%s + %d > qb + off", edge.n ? " or " : "", w->j0, bn - 1', '"%s%s + %d > qb + %d + off", edge.n ? " or " : "", w->j0, bn - 1, w->now->bm - 1', [SM80]),
    ("gpu-group-head", GPU["attention"], '"b%u // %s", i', '"b%u %% %s", i', [SM80]),
    ("gpu-values-of-the-next-block", GPU["attention_mma"], 'bring(w, &v, next, "j1", "tn");', 'bring(w, &v, "st, ", "j1", "tn");', [SM80]),
    ("gpu-queries-not-shared", GPU["attention_mma"], 'ts_kb_line(k, "wait_copy(%d)", stages - 2);\n\t\tts_kb_line(k, "sync(\\"cta\\")");', 'ts_kb_line(k, "wait_copy(%d)", stages - 2);', [SM80]),
    ("gpu-keys-released-early", GPU["attention_wgmma"], 'ts_kb_line(k, "s2: %s = wait_mma(1, sg)", w->X);\n\tts_kb_line(k, "release(RK[qk])");', 'ts_kb_line(k, "release(RK[qk])");\n\tts_kb_line(k, "s2: %s = wait_mma(1, sg)", w->X);', [SM90]),
    ("gpu-spans-rescaled", GPU["attention_one"], '"lb: %s = mul(ls, %s)", R, b', '"lb: %s = mul(ls, %s)", R, a', [SM80]),
    ("gpu-span-window", GPU["attention_one"], '"ge(ci, lo1)"', '"gt(ci, lo1)"', [SM80]),
    ("gpu-bias-times-log2e", GPU["attention"], 'd = ts_at_line(w, w->X, "mul(%s, 1.4426950408889634)", d);',
     'd = ts_at_line(w, w->X, "sub(%s, %s)", ts_at_line(w, w->X, "mul(%s, 1.4426950408889634)", s),'
     ' ts_at_line(w, w->X, "mul(%s, 1.4426950408889634)", ts_at_line(w, w->X, "bcast(%s, dims = [0])", ms)));', [EXTREMES]),
    ("gpu-row-times-log2e", GPU["row"], 'word(w, ct, TILE, "mul(%s, 1.4426950408889634)", d)',
     'word(w, ct, TILE, "sub(%s, %s)", word(w, ct, TILE, "mul(%s, 1.4426950408889634)", x), word(w, ct, TILE, "mul(%s, 1.4426950408889634)", spread(w, ct, m)))', [EXTREMES]),
    ("nv-exp-exponent-128", "backend/llvm/math_nv.c", "smaller(f, larger(f, x, NUM(-87)), NUM(87))", "smaller(f, larger(f, x, NUM(-87)), NUM(90))", ["test_math_nv"]),
    ("nv-gelu-constants-rounded", "backend/llvm/math_nv.c", "FMA(z, NUM(b - bh), NUM(a - ah))", "FMA(z, NUM(0), NUM(0))", ["test_math_nv"]),
    ("gpu-row-buffers-in-turn", GPU["row"], "w->exchanges++ % 2", "w->exchanges++ % 1", [SM80]),
    ("gpu-row-tail", GPU["row"], 'word(w, TS_BOOL, TILE, "lt(%s, %s)"', 'word(w, TS_BOOL, TILE, "le(%s, %s)"', [SM80]),
    ("gpu-turned-sync", GPU["pointwise"], 'ts_kb_line(k, "sync(\\"cta\\")");', "", [SM80]),
    # code for GPUs
    ("gpu-swizzle", NV["_shared"], "l->swizzle == 128 ? 0x70", "l->swizzle == 128 ? 0x60", [WORDS]),
    ("gpu-matrices-not-transposed", NV["_shared"], 'matrix_name(w, "ldmatrix", n, m->transposed)', 'matrix_name(w, "ldmatrix", n, false)', [WORDS]),
    ("gpu-exchange-sync", NV["_sum"], '\tlg_sync(w, ctas > 1 ? "cluster" : w->role ? "role" : "cta", call);\n', "", [WORDS]),
    ("gpu-lanes-exchanged", NV[""], "LLVMConstInt(w->i8, (uint64_t)from[i].lane, 0)", "LLVMConstInt(w->i8, (uint64_t)from[i ^ 1].lane, 0)", [WORDS]),
    ("gpu-roles-share-a-barrier", NV[""], "w->barrier += (int)times;", "", [WORDS]),
    ("gpu-registers-of-roles", NV[""], "regs->i < even ?", "regs->i > even ?", [WORDS]),
    ("gpu-element-past-the-end", NV["_mem"], "below ? LLVMIntSLE : LLVMIntSGT, n", "below ? LLVMIntSLE : LLVMIntSGE, n", [WORDS]),
    ("gpu-element-before-the-first", NV["_mem"], "below ? LLVMIntSLE : LLVMIntSGT, n", "below ? LLVMIntSLT : LLVMIntSGT, n", [WORDS]),
    ("gpu-copies-past-the-end", NV["_mem"], "lw_min(w, ahead, lw_i64(w, n))", "lw_min(w, ahead, lw_i64(w, n + 1))", [WORDS]),
    ("gpu-proxy-fence", NV["_async"], 'case TS_TILE_fence_async: lg_intrinsic(w, "llvm.nvvm.fence.proxy.async.shared_cta", NULL, 0); return true;', "case TS_TILE_fence_async: return true;", [WORDS]),
    ("gpu-ring-parity", NV["_async"], "lw_i32(w, ts_tinfo(call)->op == TS_TILE_producer)", "lw_i32(w, ts_tinfo(call)->op != TS_TILE_producer)", [WORDS]),
    ("gpu-ring-arrivals", NV["_async"], "init_barriers(w, base + slots * BARRIER, slots, ts_tile_attr(ring->kid[2], \"empty\")->i);", "init_barriers(w, base + slots * BARRIER, slots, ts_tile_attr(ring->kid[2], \"full\")->i);", [WORDS]),
    ("gpu-box-piece", NV["_async"], "lw_add(w, at, lw_i32(w, i * b->piece))", "lw_add(w, at, lw_i32(w, i))", [WORDS]),
    ("gpu-groups-waited-for", NV["_async"], "Val n[] = { lw_i64(w, lw_const_of(w, call->kid[1])) };", "Val n[] = { lw_i64(w, lw_const_of(w, call->kid[1]) + 1) };", [WORDS]),
    ("gpu-fragment-order", NV["_mma"], "m[i] + q % 2 * 8, k[kk] + q / 2 * half", "m[i] + q / 2 * 8, k[kk] + q % 2 * half", [WORDS]),
    ("gpu-descriptor-strides", NV["_mma"], "leading = o.k_major ? 16 : bytes_at(&o, row, 0)", "leading = o.k_major ? 16 : bytes_at(&o, 0, row)", [WORDS]),
    # launches
    ("gpu-map-box", "emit/plan_device.c", "box[i] = (uint32_t)m->box[i];", "box[i] = (uint32_t)m->box[rank - 1 - i];", [LAUNCH]),
    ("gpu-map-strides", "emit/plan_device.c", "if (i && !strides) weight = two(k, type, TS_EX_MUL, weight, dims[i]);", "if (i && !strides) weight = dims[i];", [LAUNCH]),
    ("gpu-launch-threads", "emit/plan_device.c", ".threads = (uint32_t)l.threads,", ".threads = (uint32_t)l.threads / 2,", [LAUNCH]),
    ("gpu-launch-persistent", "emit/plan_device.c", "persistent(w, id) ? TS_KERNEL_PERSISTENT : 0", "(persistent(w, id), 0)", [LAUNCH]),
    ("gpu-map-axes", "rtlib/cuda_prepare.c", "uint32_t at = m->rank - 1 - i,", "uint32_t at = i,", [FAKE]),
    ("gpu-node-not-updated", "rtlib/cuda_run.c", "if (!nodes || !l->moves || !(changed || all))", "(void)all;\n\t\tif (!nodes || !l->moves || !changed)", [FAKE]),
    ("gpu-map-not-updated", "rtlib/cuda_run.c", "if (c->map_of[m].slot == slot)", "if (c->map_of[m].slot == slot && m == l->map)", [FAKE]),
    ("gpu-nodes-in-any-order", "rtlib/cuda_prepare.c", "i ? &c->launch[i - 1].graph_node : NULL, i ? 1 : 0,", "NULL, 0,", [FAKE]),
    ("gpu-another-gpu's-memory", "rtlib/cuda_run.c", "\tif (device != want)\n", "\tif (device < 0)\n", [FAKE]),
    ("gpu-weight-panels", "rtlib/cuda_weights.c", "(panel * p->k + n0 - panel)", "(panel * p->n + n0 - panel)", [FAKE]),
    ("gpu-weights-inside-want-their-file", "rtlib/cuda_weights.c", "if (w[i].where == TS_WEIGHT_EXTERNAL && w[i].file == file)\n\t\t\treturn true;", "if (w[i].file == file)\n\t\t\treturn true;", ["suite cuda uploads/large"]),
    ("gpu-weight-slot-too-early", "rtlib/cuda_stage.c", "g->used[i] = true;", "g->used[i] = i;", ["suite cuda uploads/large"]),
    ("gpu-weight-pieces", "rtlib/cuda_weights.c", "j.n0 = clamp(r0 - here, p->n)", "j.n0 = clamp(r0 - here + 1, p->n)", ["suite cuda uploads/large"]),
    ("gpu-launched-into-a-capture", "rtlib/cuda_run.c", "by_graph = c->exec && !capturing && !s->profiled;", "by_graph = c->exec && !s->profiled;", [FAKE]),
]

/* What the stand-in was told to do wrong. */
#pragma once
#include <stdint.h>

typedef enum {
    RUN_WELL,
    RUN_ERROR,     /* returns a code; the outputs stay those of the run before */
    RUN_HANG,      /* never returns */
    RUN_CRASH,     /* SIGSEGV */
    RUN_LATE,      /* right, after some milliseconds */
    RUN_STALE,     /* says success; the outputs stay those of the run before */
    RUN_GARBAGE,   /* says success; finite nonsense */
    RUN_NAN,       /* says success; not a number */
    RUN_UNWRITTEN, /* says success; the caller's output buffer is never written */
    RUN_VALUE,     /* says success; every output is that number */
    RUN_JITTER,    /* right, after up to so many milliseconds */
    RUN_LEAK,      /* right; so many KiB stay allocated */
} run_fault;

typedef struct {
    char api[256], driver[256], trace[256];
    int init_code, query_code, core_code, inputs_code, outputs_code, memory_code, bad_core;
    int input_elements; /* reported instead of the model's; 0: the model's */
} orders;

/* Reads the control file named by GAITD_STANDIN_CONTROL, if it changed since the last call. One order a line:
 *   api TEXT | driver TEXT | trace PATH                   versions reported; a log of every call
 *   init CODE | query CODE | core CODE | inputs CODE | outputs CODE     return codes of the calls around the run
 *   bad_core MASK                                          contexts on that core compute nonsense
 *   memory CODE                                            return code of the query for the memory
 *   input_elements N                                       size reported for input 0
 *   at N FAULT [VALUE] | from N FAULT [VALUE]              the N-th run of a context (first: 1), or all from there
 * FAULT: error CODE, hang, crash, late MS, stale, garbage, nan, unwritten, value N, jitter MS, leak KIB. */
const orders *orders_read(void);

/* The fault of this run, and its VALUE. */
run_fault orders_for_run(uint64_t run, int *value);

/* A libnvidia-ml.so.1 with eight boards at a constant power, as cheap as can be: what is measured is who reads.
 *
 * BENCH_NVML_START is the second of the monotonic clock at which all counters stood at zero. Board 0 is reset
 * BENCH_NVML_RESET_S seconds later, board 1 is lost at BENCH_NVML_LOST_S and back, from zero, at BENCH_NVML_BACK_S.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BOARDS 8
#define POWER_MW 350000LL
enum { OK = 0, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, LOST = 15 };

typedef struct { int index; char uuid[48]; } Board;
typedef struct {
    unsigned int field, scope;
    long long timestamp, latency;
    int value_type, code;
    union { double d; unsigned int ui; unsigned long long ull; long long sll; } value;
} FieldValue;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int gpu, memory; } Utilization;

static Board boards[BOARDS];
static double start, reset_at, lost_at, back_at;

static double of(const char *name, double otherwise) {
    const char *text = getenv(name);
    return text ? atof(text) : otherwise;
}

static double elapsed_s(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double now_s(void) { return elapsed_s(CLOCK_MONOTONIC) - start; }

static int status(const Board *board) {
    double now = now_s();
    return board->index == 1 && now >= lost_at && now < back_at ? LOST : OK;
}

static unsigned long long energy_mj(const Board *board) {
    double now = now_s(), since = 0;
    if (board->index == 0 && now >= reset_at) since = reset_at;
    if (board->index == 1 && now >= back_at) since = back_at;
    return (unsigned long long)((now - since) * (double)POWER_MW);
}

int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    for (int i = 0; i < BOARDS; i++) {
        boards[i].index = i;
        snprintf(boards[i].uuid, sizeof boards[i].uuid, "GPU-00000000-0000-0000-0000-00000000000%d", i);
    }
    start = of("BENCH_NVML_START", 0);
    reset_at = of("BENCH_NVML_RESET_S", 1e18);
    lost_at = of("BENCH_NVML_LOST_S", 1e18);
    back_at = of("BENCH_NVML_BACK_S", 1e18);
    return OK;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { (void)code; return "bench error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned int length) { snprintf(text, length, "580.0"); return OK; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = BOARDS; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, Board **handle) {
    if (index >= BOARDS) return INVALID;
    *handle = &boards[index];
    return OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, Board **handle) {
    for (int i = 0; i < BOARDS; i++)
        if (!strcmp(boards[i].uuid, uuid)) { *handle = &boards[i]; return status(*handle); }
    return NOT_FOUND;
}
int nvmlDeviceGetIndex(Board *board, unsigned int *index) { *index = (unsigned)board->index; return OK; }
int nvmlDeviceGetUUID(Board *board, char *text, unsigned int length) { snprintf(text, length, "%s", board->uuid); return status(board); }
int nvmlDeviceGetName(Board *board, char *text, unsigned int length) { (void)board; snprintf(text, length, "NVIDIA H100 80GB HBM3"); return OK; }
int nvmlDeviceGetArchitecture(Board *board, unsigned int *kind) { (void)board; *kind = 9; return OK; }
int nvmlDeviceGetMigMode(Board *board, unsigned int *current, unsigned int *pending) { (void)board; *current = *pending = 0; return OK; }
int nvmlDeviceGetTotalEnergyConsumption(Board *board, unsigned long long *energy) { *energy = energy_mj(board); return status(board); }
int nvmlDeviceGetPowerUsage(Board *board, unsigned int *power) { *power = (unsigned)POWER_MW; return status(board); }
int nvmlDeviceGetEnforcedPowerLimit(Board *board, unsigned int *power) { (void)board; *power = 700000; return OK; }
int nvmlDeviceGetPowerManagementLimit(Board *board, unsigned int *power) { (void)board; *power = 700000; return OK; }
int nvmlDeviceGetMemoryInfo(Board *board, Memory *memory) { memory->total = 80ULL << 30; memory->free = memory->used = 40ULL << 30; return status(board); }
int nvmlDeviceGetUtilizationRates(Board *board, Utilization *rates) { rates->gpu = 90; rates->memory = 50; return status(board); }
int nvmlDeviceGetTemperature(Board *board, int sensor, unsigned int *temperature) { (void)sensor; *temperature = 60; return status(board); }
int nvmlDeviceGetComputeMode(Board *board, int *mode) { *mode = 0; return status(board); }
int nvmlDeviceGetComputeRunningProcesses_v3(Board *board, unsigned int *count, void *found) { (void)found; *count = 0; return status(board); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(Board *board, unsigned int *count, void *found) { (void)found; *count = 0; return status(board); }

static void answer(const Board *board, FieldValue *value) {
    value->timestamp = (long long)(elapsed_s(CLOCK_REALTIME) * 1e6);
    value->code = OK;
    value->value_type = 3;
    if (value->field == 83) value->value.ull = energy_mj(board);
    else if ((value->field == 185 || value->field == 186) && value->scope == 0) {
        value->value_type = 1;
        value->value.ui = (unsigned)POWER_MW;
    } else value->code = UNSUPPORTED;
}

int nvmlDeviceGetFieldValues(Board *board, int count, FieldValue *values) {
    int code = status(board);
    if (code) return code;
    for (int i = 0; i < count; i++) answer(board, &values[i]);
    return OK;
}

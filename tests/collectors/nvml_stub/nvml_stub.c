/* A libnvidia-ml.so.1 whose boards follow a script, so that the real binding runs without a GPU.
 *
 * NVML_STUB_SCRIPT names a file of lines "<uuid> <at_ms> <word> <number>":
 *   power P      draw P milliwatts from now on        reset 0     the counter starts again at zero
 *   lost 0       the board falls off                  back 0      it returns
 *   mig 1        slices are enabled                   module 1    power answers at module scope
 *   code F*1000+C   field F answers with code C       blank 1     energy answers with a blank value
 *   driver C     every call answers with code C      nolib 0 / lib 0   there is no driver, or one again
 *   born 0       it is plugged in; from the next start of the library on it is listed
 *   gone 0       it is pulled out; so long it is lost
 *   zeros 0 / stand 0   the counter shows 0, or stands still, until move 0
 * NVML_STUB_NOW names a file with the present time in milliseconds; without it time runs, and is 0 at
 * NVML_STUB_START_MS. Energy moves in 100 ms steps.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BOARDS 8
#define STEP_MS 100
enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, LOST = 15 };

typedef struct { char uuid[80]; } Board;
typedef struct {
    unsigned int field, scope;
    long long timestamp, latency;
    int value_type, code;
    union { double d; int si; unsigned int ui; unsigned long ul; unsigned long long ull; long long sll; } value;
} FieldValue;
typedef struct { long long energy_uj, shown_uj, power, since; int lost, gone, nolib, stands, mig, module, blank, driver, code[256]; } State;

static Board boards[BOARDS];
static int board_count = 0, initialized = 0, listed_count = 0;
static int listed[BOARDS]; /* the boards there were when the library was opened */

static int unborn[BOARDS];

static long long now_ms(void) {
    long long at = 0;
    if (!getenv("NVML_STUB_NOW")) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return now.tv_sec * 1000LL + now.tv_nsec / 1000000 - atoll(getenv("NVML_STUB_START_MS"));
    }
    FILE *file = fopen(getenv("NVML_STUB_NOW"), "r");
    if (file) { if (fscanf(file, "%lld", &at) != 1) at = 0; fclose(file); }
    return at;
}

static Board *board_of(const char *uuid, int make) {
    for (int i = 0; i < board_count; i++)
        if (!strcmp(boards[i].uuid, uuid)) return &boards[i];
    if (!make || board_count == BOARDS) return NULL;
    strncpy(boards[board_count].uuid, uuid, sizeof boards[0].uuid - 1);
    return &boards[board_count++];
}

static void advance(State *state, long long at) {
    long long stepped = at / STEP_MS * STEP_MS;
    if (stepped > state->since) state->energy_uj += state->power * (stepped - state->since);
    if (stepped > state->since) state->since = stepped;
}

static void apply(State *state, const char *word, long long number) {
    if (!strcmp(word, "power")) state->power = number;
    else if (!strcmp(word, "reset")) state->energy_uj = 0;
    else if (!strcmp(word, "lost")) state->lost = 1;
    else if (!strcmp(word, "back")) state->lost = 0;
    else if (!strcmp(word, "gone")) state->gone = 1;
    else if (!strcmp(word, "nolib")) state->nolib = 1;
    else if (!strcmp(word, "lib")) state->nolib = 0;
    else if (!strcmp(word, "zeros")) { state->stands = 1; state->shown_uj = 0; }
    else if (!strcmp(word, "stand")) { state->stands = 1; state->shown_uj = state->energy_uj; }
    else if (!strcmp(word, "move")) state->stands = 0;
    else if (!strcmp(word, "mig")) state->mig = (int)number;
    else if (!strcmp(word, "module")) state->module = (int)number;
    else if (!strcmp(word, "blank")) state->blank = (int)number;
    else if (!strcmp(word, "driver")) state->driver = (int)number;
    else if (!strcmp(word, "code")) state->code[number / 1000 % 256] = (int)(number % 1000);
}

/* Play the script of one board up to now; with no board only learn which boards there are. */
static State play(const Board *board) {
    State state = {0};
    char uuid[80], word[16];
    long long at, number, now = now_ms();
    FILE *file = fopen(getenv("NVML_STUB_SCRIPT"), "r");
    if (!file) return state;
    while (fscanf(file, "%79s %lld %15s %lld", uuid, &at, word, &number) == 4) {
        if (!board) {
            Board *one = board_of(uuid, 1);
            if (!strcmp(word, "born") && at > now) unborn[one - boards] = 1;
            if (!strcmp(word, "gone") && at <= now) unborn[one - boards] = 1;
        }
        if (!board || strcmp(board->uuid, uuid) || at > now) continue;
        advance(&state, at);
        apply(&state, word, number);
    }
    fclose(file);
    advance(&state, now);
    return state;
}

static int status(const Board *board) {
    if (!initialized) return UNINITIALIZED;
    if (!board) return OK;
    State state = play(board);
    return state.driver ? state.driver : state.lost || state.gone ? LOST : OK;
}

/* One driver for all boards: what the first of them says is so. */
static int missing(void) {
    for (int i = 0; i < board_count; i++) {
        State state = play(&boards[i]);
        if (state.nolib) return 12;
        if (state.driver) return state.driver == UNINITIALIZED ? 9 : state.driver;
    }
    return OK;
}

int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    memset(unborn, 0, sizeof unborn);
    play(NULL);
    int code = missing();
    if (code) return code;
    listed_count = 0;
    for (int i = 0; i < board_count; i++)
        if (!unborn[i]) listed[listed_count++] = i;
    initialized = 1;
    return OK;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { initialized = 0; return OK; }
const char *nvmlErrorString(int code) { (void)code; return "scripted error"; }

int nvmlDeviceGetCount_v2(unsigned int *count) { *count = (unsigned)listed_count; return status(NULL); }

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, Board **handle) {
    if ((int)index >= listed_count) return INVALID;
    *handle = &boards[listed[index]];
    return status(*handle);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Board **handle) {
    *handle = board_of(uuid, 0);
    return *handle ? status(*handle) : NOT_FOUND;
}

int nvmlDeviceGetUUID(Board *board, char *text, unsigned int length) {
    snprintf(text, length, "%s", board->uuid);
    return status(board);
}

int nvmlDeviceGetName(Board *board, char *text, unsigned int length) {
    snprintf(text, length, "Stub %s", board->uuid);
    return status(board);
}

int nvmlDeviceGetMigMode(Board *board, unsigned int *current, unsigned int *pending) {
    *current = *pending = (unsigned)play(board).mig;
    return status(board);
}

/* The parent of MIG-<uuid> is <uuid>. */
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(Board *slice, Board **parent) {
    *parent = board_of(slice->uuid + 4, 1);
    return OK;
}

static void answer(const State *state, FieldValue *value, long long now) {
    value->timestamp = now * 1000;
    value->code = state->code[value->field % 256];
    value->value_type = 3;
    value->value.ull = 0xDEAD; /* must not be read when the code is an error */
    if (value->code) return;
    if (value->field == 83 || value->field == 191) {
        value->value.ull = (unsigned long long)((state->stands ? state->shown_uj : state->energy_uj) / 1000);
        if (state->blank) value->value.ull = 9223372036854775794ULL;
    } else if (value->field == 185 || value->field == 186) {
        value->value_type = 1;
        value->value.ui = (unsigned)state->power;
        if (value->scope > 1 || (value->scope == 1) != (state->module == 1)) value->code = UNSUPPORTED;
    } else value->code = UNSUPPORTED;
}

int nvmlDeviceGetFieldValues(Board *board, int count, FieldValue *values) {
    int code = status(board);
    if (code) return code;
    State state = play(board);
    for (int i = 0; i < count; i++) answer(&state, &values[i], now_ms());
    return OK;
}

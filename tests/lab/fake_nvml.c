/*
 * A libnvidia-ml.so.1 without GPUs, compiled against NVIDIA's own nvml.h, so that the compiler checks every signature.
 *
 * It shows what the file `state` in its own folder says. The file is looked at in every call: a test changes the
 * hardware while the program under test runs. tests/lab/nvml.py writes it, one line each:
 *
 *   library VERSION | kernel VERSION       they differ for a process that has loaded another library: mismatch
 *   gpu SLOT KEY VALUE                     a value of GPU_VALUES or a text of GPU_TEXTS; a value left out is "not supported"
 *   process SLOT PID KIND BYTES SM GI      KIND c, g or m (MPS); BYTES -1: not told; SM -1: idle; GI -1: no MIG
 *   mig SLOT GI CI TOTAL USED UUID NAME
 *   field SLOT ID TYPE VALUE               TYPE is an nvmlValueType_t
 *   xid NUMBER SLOT XID GI                 told once to every event set that is older than it
 *   fail FUNCTION RESULT SLOT              FUNCTION may be *, SLOT -1 is all
 *   delay FUNCTION MILLISECONDS SLOT       ends early when the line goes away
 *   crash FUNCTION
 *
 * Not for several threads.
 */
#define _GNU_SOURCE
#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include <dlfcn.h>
#include <limits.h>
#include <nvml.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define GPU_VALUES(X) \
    X(minor) X(fault) X(utilization) X(memory_utilization) X(encoder) X(decoder) X(memory_total) X(memory_used) \
    X(memory_reserved) X(temperature) X(slowdown) X(shutdown) X(margin) X(power) X(power_limit) X(energy) X(pcie_replays) X(clock_sm) \
    X(clock_memory) X(clock_reasons) X(ecc_corrected_volatile) X(ecc_uncorrected_volatile) \
    X(ecc_corrected_aggregate) X(ecc_uncorrected_aggregate) X(remapped_correctable) X(remapped_uncorrectable) \
    X(remap_pending) X(remap_failure) X(retired_pending) X(mig)
#define GPU_TEXTS(X) X(uuid) X(name) X(bus_id)

#define AS_ENUM(name) V_##name,
#define AS_STRING(name) #name,
enum { GPU_VALUES(AS_ENUM) VALUES };
static const char *const value_names[] = {GPU_VALUES(AS_STRING)};
enum { T_uuid, T_name, T_bus_id, TEXTS };
static const char *const text_names[] = {GPU_TEXTS(AS_STRING)};

#define SLOTS 16
#define ABSENT LLONG_MIN
#define STEP_US 10000

struct gpu { int present; char text[TEXTS][96]; long long value[VALUES]; };
struct process { int slot; unsigned pid; char kind; long long bytes; int sm, instance, compute; };
struct mig { int slot, gi, ci; long long total, used; char uuid[96], name[96]; };
struct field { int slot; unsigned id; int type; long long value; };
struct xid { long number; int slot; unsigned long long xid; int instance; };
struct fault { char function[64]; int what, slot; };

#define LIST(type, name, most) struct type name[most]; int name##_count
static struct {
    char library[32], kernel[32];
    struct gpu gpus[SLOTS];
    LIST(process, processes, 4096);
    LIST(mig, migs, 64);
    LIST(field, fields, 1024);
    LIST(xid, xids, 256);
    LIST(fault, fails, 128);
    LIST(fault, delays, 32);
    LIST(fault, crashes, 32);
} state;
#define ADD(list) (state.list##_count < (int)(sizeof state.list / sizeof *state.list) ? &state.list[state.list##_count++] : &state.list[0])
#define EACH(item, list) (typeof(state.list[0]) *item = state.list; item < state.list + state.list##_count; item++)

static char path[PATH_MAX];
static char loaded[32];
static int initialised;

static void read_gpu(int slot, const char *key, const char *value) {
    struct gpu *gpu = &state.gpus[slot];
    if (!gpu->present) {
        gpu->present = 1;
        for (int i = 0; i < VALUES; i++) gpu->value[i] = ABSENT;
    }
    for (int i = 0; i < TEXTS; i++)
        if (!strcmp(key, text_names[i])) snprintf(gpu->text[i], sizeof gpu->text[i], "%s", value);
    for (int i = 0; i < VALUES; i++)
        if (!strcmp(key, value_names[i])) gpu->value[i] = atoll(value);
}

static void read_line(const char *line) {
    char key[64], text[96];
    int slot;
    struct process p;
    struct mig m;
    struct field f;
    struct xid x;
    struct fault e;
    if (sscanf(line, "gpu %d %63s %95[^\n]", &slot, key, text) == 3 && slot >= 0 && slot < SLOTS) read_gpu(slot, key, text);
    else if (sscanf(line, "process %d %u %c %lld %d %d %d", &p.slot, &p.pid, &p.kind, &p.bytes, &p.sm, &p.instance, &p.compute) == 7) *ADD(processes) = p;
    else if (sscanf(line, "mig %d %d %d %lld %lld %95s %95[^\n]", &m.slot, &m.gi, &m.ci, &m.total, &m.used, m.uuid, m.name) == 7) *ADD(migs) = m;
    else if (sscanf(line, "field %d %u %d %lld", &f.slot, &f.id, &f.type, &f.value) == 4) *ADD(fields) = f;
    else if (sscanf(line, "xid %ld %d %llu %d", &x.number, &x.slot, &x.xid, &x.instance) == 4) *ADD(xids) = x;
    else if (sscanf(line, "fail %63s %d %d", e.function, &e.what, &e.slot) == 3) *ADD(fails) = e;
    else if (sscanf(line, "delay %63s %d %d", e.function, &e.what, &e.slot) == 3) *ADD(delays) = e;
    else if (sscanf(line, "crash %63s", e.function) == 1) *ADD(crashes) = e;
    else if (sscanf(line, "library %31s", state.library) != 1) sscanf(line, "kernel %31s", state.kernel);
}

/* Read the state anew if the file is another than last time: the writer renames, and counts up the time of change. */
static void look(void) {
    static struct timespec seen;
    struct stat now;
    char line[512];
    FILE *file;
    if (stat(path, &now) || !memcmp(&seen, &now.st_mtim, sizeof seen) || !(file = fopen(path, "r"))) return;
    seen = now.st_mtim;
    memset(&state, 0, sizeof state);
    while (fgets(line, sizeof line, file)) read_line(line);
    fclose(file);
}

__attribute__((constructor)) static void begin(void) {
    Dl_info self;
    if (!dladdr((void *)begin, &self)) abort();
    snprintf(path, sizeof path, "%s", self.dli_fname);
    strcpy(strrchr(path, '/'), "/state");
    look();
    memcpy(loaded, state.library, sizeof loaded); /* the process keeps it, whatever is installed later */
}

static int concerns(const struct fault *fault, const char *function, int slot) {
    int named = !strcmp(fault->function, "*") || !strcmp(fault->function, function);
    return named && (fault->slot == -1 || fault->slot == slot);
}

static int delay_of(const char *function, int slot) {
    for EACH(delay, delays) if (concerns(delay, function, slot)) return delay->what;
    return 0;
}

static nvmlReturn_t before(const char *function, int slot) {
    look();
    for (int waited = 0; waited < delay_of(function, slot); waited += STEP_US / 1000) {
        usleep(STEP_US);
        look();
    }
    for EACH(crash, crashes) if (!strcmp(crash->function, function)) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        *(volatile int *)0 = 0;
    }
    for EACH(fail, fails) if (concerns(fail, function, slot)) return fail->what;
    return strcmp(loaded, state.kernel) ? NVML_ERROR_LIB_RM_VERSION_MISMATCH : NVML_SUCCESS;
}

/* A handle is 1 + slot + 256 x (1 + number of the MIG device in the state), the last of these 0 for the GPU itself. */
static nvmlDevice_t handle_of(int slot, int mig) { return (nvmlDevice_t)(long)(1 + slot + 256 * (1 + mig)); }
static int slot_of(nvmlDevice_t device) { return (int)(((long)device - 1) % 256); }
static struct mig *mig_of(nvmlDevice_t device) {
    int number = (int)(((long)device - 1) / 256) - 1;
    return number < 0 ? NULL : &state.migs[number];
}

static nvmlReturn_t device_before(const char *function, nvmlDevice_t device) {
    int slot = slot_of(device);
    if (!device || slot >= SLOTS) return NVML_ERROR_INVALID_ARGUMENT;
    if (!initialised) return NVML_ERROR_UNINITIALIZED;
    nvmlReturn_t failed = before(function, slot);
    if (failed) return failed;
    if (!state.gpus[slot].present) return NVML_ERROR_GPU_IS_LOST;
    long long fault = state.gpus[slot].value[V_fault];
    return fault == ABSENT ? NVML_SUCCESS : (nvmlReturn_t)fault;
}

#define TRY(call) do { nvmlReturn_t failed_ = (call); if (failed_) return failed_; } while (0)
#define SYSTEM if (!initialised) return NVML_ERROR_UNINITIALIZED; TRY(before(__func__, -1))
#define DEVICE TRY(device_before(__func__, device)); struct gpu *gpu = &state.gpus[slot_of(device)]; (void)gpu
#define WHOLE DEVICE; if (mig_of(device)) return NVML_ERROR_NOT_SUPPORTED
#define GIVE(to, name) do { \
        if (gpu->value[V_##name] == ABSENT) return NVML_ERROR_NOT_SUPPORTED; \
        *(to) = (typeof(*(to)))gpu->value[V_##name]; \
    } while (0)

static nvmlReturn_t copy(char *to, unsigned room, const char *text) {
    if (strlen(text) >= room) return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(to, text);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    TRY(before(__func__, -1));
    initialised++;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlShutdown(void) {
    SYSTEM;
    initialised--;
    return NVML_SUCCESS;
}

const char *nvmlErrorString(nvmlReturn_t result) { return result == NVML_SUCCESS ? "Success" : "An error of the fake library"; }
nvmlReturn_t nvmlSystemGetDriverVersion(char *to, unsigned room) { SYSTEM; return copy(to, room, state.kernel); }
nvmlReturn_t nvmlSystemGetNVMLVersion(char *to, unsigned room) { SYSTEM; return copy(to, room, loaded); }

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) {
    SYSTEM;
    *count = 0;
    for (int slot = 0; slot < SLOTS; slot++) *count += state.gpus[slot].present;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
    SYSTEM;
    for (int slot = 0; slot < SLOTS; slot++)
        if (state.gpus[slot].present && index-- == 0) {
            TRY(device_before(__func__, handle_of(slot, -1)));
            *device = handle_of(slot, -1);
            return NVML_SUCCESS;
        }
    return NVML_ERROR_INVALID_ARGUMENT;
}

nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned *index) {
    WHOLE;
    *index = 0;
    for (int slot = 0; slot < slot_of(device); slot++) *index += state.gpus[slot].present;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned *to) { WHOLE; GIVE(to, minor); return NVML_SUCCESS; }

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *to, unsigned room) {
    DEVICE;
    return copy(to, room, mig_of(device) ? mig_of(device)->name : gpu->text[T_name]);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *to, unsigned room) {
    DEVICE;
    return copy(to, room, mig_of(device) ? mig_of(device)->uuid : gpu->text[T_uuid]);
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci) {
    WHOLE;
    memset(pci, 0, sizeof *pci);
    sscanf(gpu->text[T_bus_id], "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%.15s", gpu->text[T_bus_id] + 4);
    return copy(pci->busId, sizeof pci->busId, gpu->text[T_bus_id]);
}

static nvmlReturn_t memory(nvmlDevice_t device, unsigned long long *total, unsigned long long *used, unsigned long long *reserved) {
    struct gpu *gpu = &state.gpus[slot_of(device)];
    struct mig *mig = mig_of(device);
    *reserved = 0;
    if (mig) {
        *total = mig->total;
        *used = mig->used;
        return NVML_SUCCESS;
    }
    GIVE(total, memory_total);
    GIVE(used, memory_used);
    GIVE(reserved, memory_reserved);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *to) {
    DEVICE;
    unsigned long long reserved;
    TRY(memory(device, &to->total, &to->used, &reserved));
    to->used += reserved; /* version 1 counts it as used */
    to->free = to->total - to->used;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *to) {
    DEVICE;
    if (to->version != nvmlMemory_v2) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    TRY(memory(device, &to->total, &to->used, &to->reserved));
    to->free = to->total - to->used - to->reserved;
    return NVML_SUCCESS;
}

/* Under MIG the device as a whole tells none of its utilizations. */
#define NOT_UNDER_MIG if (gpu->value[V_mig] == 1) return NVML_ERROR_NOT_SUPPORTED

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *to) {
    WHOLE;
    NOT_UNDER_MIG;
    GIVE(&to->gpu, utilization);
    GIVE(&to->memory, memory_utilization);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t device, unsigned *to, unsigned *period_us) {
    WHOLE;
    NOT_UNDER_MIG;
    *period_us = 166667;
    GIVE(to, encoder);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetDecoderUtilization(nvmlDevice_t device, unsigned *to, unsigned *period_us) {
    WHOLE;
    NOT_UNDER_MIG;
    *period_us = 166667;
    GIVE(to, decoder);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensor, unsigned *to) {
    WHOLE;
    if (sensor != NVML_TEMPERATURE_GPU) return NVML_ERROR_INVALID_ARGUMENT;
    GIVE(to, temperature);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *to) {
    WHOLE;
    if (to->version != nvmlTemperature_v1) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    GIVE(&to->temperature, temperature);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, nvmlTemperatureThresholds_t threshold, unsigned *to) {
    WHOLE;
    if (threshold == NVML_TEMPERATURE_THRESHOLD_SLOWDOWN) GIVE(to, slowdown);
    else if (threshold == NVML_TEMPERATURE_THRESHOLD_SHUTDOWN) GIVE(to, shutdown);
    else return NVML_ERROR_NOT_SUPPORTED;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t device, nvmlMarginTemperature_t *to) {
    WHOLE;
    if (to->version != nvmlMarginTemperature_v1) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    GIVE(&to->marginTemperature, margin);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned *to) { WHOLE; GIVE(to, power); return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned *to) { WHOLE; GIVE(to, power_limit); return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetPcieReplayCounter(nvmlDevice_t device, unsigned *to) { WHOLE; GIVE(to, pcie_replays); return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t device, unsigned long long *to) { WHOLE; GIVE(to, energy); return NVML_SUCCESS; }

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t clock, unsigned *to) {
    WHOLE;
    if (clock == NVML_CLOCK_SM) GIVE(to, clock_sm);
    else if (clock == NVML_CLOCK_MEM) GIVE(to, clock_memory);
    else return NVML_ERROR_NOT_SUPPORTED;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device, unsigned long long *to) { WHOLE; GIVE(to, clock_reasons); return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long *to) { WHOLE; GIVE(to, clock_reasons); return NVML_SUCCESS; }

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values) {
    WHOLE;
    for (nvmlFieldValue_t *value = values; value < values + count; value++) {
        value->nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
        for EACH(field, fields) if (field->slot == slot_of(device) && field->id == value->fieldId) {
            value->nvmlReturn = NVML_SUCCESS;
            value->valueType = field->type;
            value->value.sllVal = field->value;
        }
    }
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t kind, nvmlEccCounterType_t counter, unsigned long long *to) {
    WHOLE;
    int corrected = kind == NVML_MEMORY_ERROR_TYPE_CORRECTED;
    if (counter == NVML_VOLATILE_ECC) {
        if (corrected) GIVE(to, ecc_corrected_volatile);
        else GIVE(to, ecc_uncorrected_volatile);
    } else if (corrected) GIVE(to, ecc_corrected_aggregate);
    else GIVE(to, ecc_uncorrected_aggregate);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned *correctable, unsigned *uncorrectable, unsigned *pending, unsigned *failure) {
    WHOLE;
    NOT_UNDER_MIG;
    GIVE(correctable, remapped_correctable);
    GIVE(uncorrectable, remapped_uncorrectable);
    GIVE(pending, remap_pending);
    GIVE(failure, remap_failure);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t device, nvmlEnableState_t *to) { WHOLE; GIVE(to, retired_pending); return NVML_SUCCESS; }

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *current, unsigned *pending) {
    WHOLE;
    GIVE(current, mig);
    *pending = *current;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned *count) {
    WHOLE;
    *count = gpu->value[V_mig] == ABSENT ? 0 : 7;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned index, nvmlDevice_t *to) {
    WHOLE;
    for EACH(mig, migs) if (mig->slot == slot_of(device) && index-- == 0) {
        *to = handle_of(slot_of(device), (int)(mig - state.migs));
        return NVML_SUCCESS;
    }
    return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned *to) {
    DEVICE;
    if (!mig_of(device)) return NVML_ERROR_NOT_SUPPORTED;
    *to = mig_of(device)->gi;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned *to) {
    DEVICE;
    if (!mig_of(device)) return NVML_ERROR_NOT_SUPPORTED;
    *to = mig_of(device)->ci;
    return NVML_SUCCESS;
}

static nvmlReturn_t processes(nvmlDevice_t device, char kind, unsigned *count, nvmlProcessInfo_t *to) {
    unsigned room = *count;
    struct mig *mig = mig_of(device);
    *count = 0;
    for EACH(process, processes) {
        if (process->slot != slot_of(device) || process->kind != kind || (mig && mig->gi != process->instance)) continue;
        if ((*count)++ >= room) continue;
        to[*count - 1].pid = process->pid;
        to[*count - 1].usedGpuMemory = process->bytes < 0 ? (unsigned long long)NVML_VALUE_NOT_AVAILABLE : (unsigned long long)process->bytes;
        to[*count - 1].gpuInstanceId = (unsigned)process->instance; /* -1 is NVML's word for none */
        to[*count - 1].computeInstanceId = process->instance < 0 ? 0xFFFFFFFF : (unsigned)process->compute;
    }
    return *count > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *to) { DEVICE; return processes(device, 'c', count, to); }
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *to) { DEVICE; return processes(device, 'g', count, to); }
nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *to) { DEVICE; return processes(device, 'm', count, to); }

/* As the driver does it: with nobody at work since `since` it finds nothing, which is an error of its own. */
nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, nvmlProcessUtilizationSample_t *to, unsigned *count, unsigned long long since) {
    WHOLE;
    NOT_UNDER_MIG;
    struct timeval now;
    unsigned found = 0, room = to ? *count : 0;
    gettimeofday(&now, NULL);
    unsigned long long at = now.tv_sec * 1000000ULL + now.tv_usec;
    for EACH(process, processes) {
        if (process->slot != slot_of(device) || process->sm < 0 || at <= since) continue;
        if (found++ < room) to[found - 1] = (nvmlProcessUtilizationSample_t){.pid = process->pid, .timeStamp = at, .smUtil = process->sm};
    }
    *count = found;
    if (!found) return NVML_ERROR_NOT_FOUND;
    return found > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

/* Tells when the writer renames; -1 where the kernel has no more of these: who waits then looks in every step. */
static int watch = -1;

static void begin_watch(void) {
    char folder[PATH_MAX];
    if (watch >= 0 || (watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) < 0) return;
    strcpy(folder, path);
    *strrchr(folder, '/') = 0;
    if (inotify_add_watch(watch, folder, IN_MOVED_TO) >= 0) return;
    close(watch);
    watch = -1;
}

/* Asleep, as the driver's own wait is: looking in every step would cost a reader that is measured more than its work. */
static void await_change(long long most_ms) {
    char told[4096];
    poll(&(struct pollfd){.fd = watch, .events = POLLIN}, 1, watch < 0 ? STEP_US / 1000 : (int)most_ms);
    while (watch >= 0 && read(watch, told, sizeof told) > 0) {}
}

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

struct nvmlEventSet_st { long told; unsigned slots; };

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
    begin_watch(); /* before the state is looked at: what comes later is told */
    SYSTEM;
    *set = calloc(1, sizeof **set);
    for EACH(xid, xids) if (xid->number > (*set)->told) (*set)->told = xid->number;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    SYSTEM;
    free(set);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long kinds, nvmlEventSet_t set) {
    WHOLE;
    if (kinds & nvmlEventTypeXidCriticalError) set->slots |= 1u << slot_of(device);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *to, unsigned timeout_ms) {
    for (long long until = now_ms() + timeout_ms, left;;) {
        SYSTEM;
        for EACH(xid, xids) if (xid->number > set->told && set->slots >> xid->slot & 1) {
            set->told = xid->number;
            *to = (nvmlEventData_t){.device = handle_of(xid->slot, -1), .eventType = nvmlEventTypeXidCriticalError, .eventData = xid->xid,
                                    .gpuInstanceId = (unsigned)xid->instance, .computeInstanceId = 0xFFFFFFFF};
            return NVML_SUCCESS;
        }
        if ((left = until - now_ms()) <= 0) return NVML_ERROR_TIMEOUT;
        await_change(left);
    }
}

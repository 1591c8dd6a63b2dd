/* libnvidia-ml.so.1 of a machine with one GPU, whose driver is as the file $FAKE_NVML says at each
   call: "well"; "lost": every call fails; "hangs": no call returns until it says otherwise. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, TIMEOUT = 10, GPU_IS_LOST = 15 };

static int answer(void) {
    for (;;) {
        char state[16] = "";
        FILE *file = fopen(getenv("FAKE_NVML"), "r");
        if (file) {
            if (!fgets(state, sizeof state, file)) state[0] = 0;
            fclose(file);
        }
        if (strcmp(state, "hangs")) return strcmp(state, "lost") ? SUCCESS : GPU_IS_LOST;
        usleep(20000);
    }
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return answer(); }
int nvmlShutdown(void) { return answer(); }
const char *nvmlErrorString(int error) { (void)error; return "GPU is lost"; }

int nvmlDeviceGetHandleByUUID(const char *uuid, void **gpu) { (void)uuid; *gpu = (void *)1; return answer(); }
int nvmlEventSetCreate(void **set) { *set = (void *)2; return answer(); }
int nvmlDeviceRegisterEvents(void *gpu, unsigned long long kinds, void *set) {
    (void)gpu; (void)kinds; (void)set; return answer();
}
int nvmlEventSetWait_v2(void *set, void *event, unsigned milliseconds) {
    (void)set; (void)event; (void)milliseconds;
    int found = answer();
    return found ? found : TIMEOUT;
}
int nvmlDeviceGetUtilizationRates(void *gpu, unsigned rates[2]) {
    (void)gpu; rates[0] = 87; rates[1] = 40; return answer();
}
int nvmlDeviceGetPowerUsage(void *gpu, unsigned *milliwatts) { (void)gpu; *milliwatts = 300000; return answer(); }
int nvmlDeviceGetTemperature(void *gpu, unsigned sensor, unsigned *celsius) {
    (void)gpu; (void)sensor; *celsius = 64; return answer();
}
int nvmlDeviceGetMemoryInfo(void *gpu, unsigned long long bytes[3]) {
    (void)gpu; bytes[0] = 80ULL << 30; bytes[1] = 77ULL << 30; bytes[2] = 3ULL << 30; return answer();
}

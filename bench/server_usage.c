#include "bench/server_usage.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>

static bool read_thread(struct server_usage *usage, uint64_t pid, const char *thread)
{
    char path[300];
    uint64_t running_ns;
    snprintf(path, sizeof path, "/proc/%" PRIu64 "/task/%s/schedstat", pid, thread);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return false;
    const bool is_read = fscanf(file, "%" SCNu64, &running_ns) == 1;
    fclose(file);
    if (is_read)
        usage->cpu_ns += running_ns;
    return is_read;
}

static bool read_threads(struct server_usage *usage, uint64_t pid)
{
    char path[64];
    unsigned threads = 0;
    snprintf(path, sizeof path, "/proc/%" PRIu64 "/task", pid);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return false;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        if (entry->d_name[0] != '.' && read_thread(usage, pid, entry->d_name))
            threads++;
    closedir(folder);
    return threads > 0;
}

static bool read_memory(struct server_usage *usage, uint64_t pid)
{
    const uint64_t before = usage->resident_bytes;
    char line[256];
    uint64_t kilobytes;
    snprintf(line, sizeof line, "/proc/%" PRIu64 "/status", pid);
    FILE *file = fopen(line, "r");
    if (file == NULL)
        return false;
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "VmRSS: %" SCNu64, &kilobytes) == 1)
            usage->resident_bytes += kilobytes * 1024;
        if (sscanf(line, "VmHWM: %" SCNu64, &kilobytes) == 1)
            usage->resident_peak_bytes += kilobytes * 1024;
    }
    fclose(file);
    return usage->resident_bytes > before;
}

bool server_usage_add(struct server_usage *usage, uint64_t pid)
{
    if (read_threads(usage, pid) && read_memory(usage, pid))
        return true;
    fprintf(stderr, "ringbench: cannot read the usage of process %" PRIu64 " in /proc\n", pid);
    return false;
}

/* Stands in for libFuzzer where there is none: feeds the kept corpus, or the files that are named,
 * to the target once. */
#include "tests/fuzz/fuzz.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_BYTES_MAX (1 << 20)

static bool run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return false;
    }
    uint8_t *data = malloc(INPUT_BYTES_MAX);
    size_t size = data != NULL ? fread(data, 1, INPUT_BYTES_MAX, file) : 0;
    bool is_read = data != NULL && !ferror(file);
    fclose(file);
    if (is_read)
        LLVMFuzzerTestOneInput(data, size);
    free(data);
    return is_read;
}

/* Returns how many files of the directory went well, or -1. */
static int run_directory(const char *path)
{
    DIR *directory = opendir(path);
    if (directory == NULL) {
        perror(path);
        return -1;
    }
    int count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        int size = snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (size < 0 || (size_t)size >= sizeof name || !run_file(name)) {
            count = -1;
            break;
        }
        count++;
    }
    closedir(directory);
    return count;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (!run_file(argv[i]))
            return 1;
    if (argc > 1)
        return 0;
    int count = run_directory(CORPUS_DIRECTORY);
    printf("%d inputs of %s\n", count, CORPUS_DIRECTORY);
    return count > 0 ? 0 : 1;
}

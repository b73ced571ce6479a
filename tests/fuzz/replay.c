/* SPDX-License-Identifier: Apache-2.0 */
/* replay FILE|FOLDER...: a fuzz target's corpus without a fuzzer, for every compiler's sanitizers.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 20 };

static unsigned played;

static void play_file(const char *path)
{
    uint8_t *input = malloc(INPUT_MAX);
    FILE *in = fopen(path, "re");
    uint8_t *exact;
    size_t size;

    if (!in || !input) {
        (void)fprintf(stderr, "replay: cannot read %s\n", path);
        exit(1);
    }
    size = fread(input, 1, INPUT_MAX, in);
    (void)fclose(in);
    exact = realloc(input, size ? size : 1); /* so that a read past the end is seen */
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    played++;
}

static void play(const char *path)
{
    struct dirent *entry;
    struct stat status;
    DIR *folder;

    if (stat(path, &status) == 0 && S_ISREG(status.st_mode)) {
        play_file(path);
        return;
    }
    folder = opendir(path);
    if (!folder) {
        (void)fprintf(stderr, "replay: there is no %s\n", path);
        exit(1);
    }
    while ((entry = readdir(folder))) {
        char inside[4096];

        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(inside, sizeof(inside), "%s/%s", path, entry->d_name);
        play(inside);
    }
    (void)closedir(folder);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        play(argv[i]);
    printf("%u inputs\n", played);
    return played ? 0 : 1;
}

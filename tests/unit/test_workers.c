/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What workers share: rings and epochs, against models step by step and with
 * threads under ThreadSanitizer (thread_workers). `--steps N` and `--seed S`.
 */
#include <pthread.h>
#include <stdlib.h>

#include "broker/worker/epoch.h"
#include "broker/worker/ring.h"
#include "tests/support/test.h"

static uint64_t steps = 200000;
static uint64_t seed = 1;

/* An entry's content follows from its number and size. */
static void write_entry(uint8_t *out, uint32_t size, uint64_t number)
{
    for (uint32_t i = 0; i < size; i++)
        out[i] = (uint8_t)(number * 31 + i);
}

static void check_entry(const uint8_t *in, uint32_t size, uint64_t number)
{
    for (uint32_t i = 0; i<size; i += size> 64 ? 61 : 1)
        if (in[i] != (uint8_t)(number * 31 + i))
            fail_msg("entry %lu is altered at octet %u (seed %lu)", (unsigned long)number, i,
                     (unsigned long)seed);
}

static uint32_t entry_size(struct dice *dice)
{
    return 1 + dice_below(dice, dice_below(dice, 20) ? 200 : RING_ENTRY_MAX);
}

/* One thread: what goes in comes out, in order, and a full ring takes nothing. */
static void a_ring_is_a_queue(void **state)
{
    struct dice dice = {seed};
    struct ring *ring = ring_new();
    uint64_t sizes[RING_SIZE / 16];
    uint64_t written = 0;
    uint64_t taken = 0;
    uint64_t refused = 0;
    uint64_t inside = 0;

    (void)state;
    assert_non_null(ring);
    assert_int_equal((uintptr_t)ring % FF_CACHE_LINE, 0);
    for (uint64_t step = 0; step < steps; step++) {
        uint32_t size = entry_size(&dice);

        if (dice_below(&dice, 100) < (step / 1000 % 2 ? 60U : 40U)) { /* it fills, it empties */
            void *room = ring_reserve(ring, size);

            refused += !room;
            if (!room && inside + 2 * RING_ENTRY_MAX < RING_SIZE)
                fail_msg("%lu octets are in it, and %u do not fit", (unsigned long)inside, size);
            if (!room)
                continue;
            assert_int_equal((uintptr_t)room % 8, 0);
            write_entry(room, size, written);
            if (dice_below(&dice, 10) == 0)
                continue; /* reserved and not committed: it was never there */
            ring_commit(ring);
            inside += size;
            sizes[written++ % FF_COUNT(sizes)] = size;
        } else {
            const void *entry = ring_peek(ring, &size);

            if (!entry) {
                assert_int_equal(taken, written);
                continue;
            }
            assert_int_equal(size, sizes[taken % FF_COUNT(sizes)]);
            check_entry(entry, size, taken++);
            inside -= size;
            ring_release(ring);
        }
    }
    assert_true(refused > 0 && taken > steps / 10);
    ring_free(ring);
}

static void a_ring_takes_its_largest_entry_anywhere(void **state)
{
    struct ring *ring = ring_new();
    uint32_t size;

    (void)state;
    assert_non_null(ring);
    for (uint32_t i = 0; i < 5000; i++) {
        void *room = ring_reserve(ring, i % 2 ? RING_ENTRY_MAX : 1 + i);

        assert_non_null(room);
        ring_commit(ring);
        assert_non_null(ring_peek(ring, &size));
        ring_release(ring);
    }
    assert_null(ring_peek(ring, &size));
    ring_free(ring);
}

static void *produce(void *arg)
{
    struct ring *ring = arg;
    struct dice dice = {seed};

    for (uint64_t i = 0; i < steps;) {
        uint32_t size = 8 + dice_below(&dice, 300);
        void *room;

        while (!(room = ring_reserve(ring, size)))
            sched_yield();
        write_entry(room, size, i++);
        ring_commit(ring);
    }
    return NULL;
}

static void a_ring_joins_two_threads(void **state)
{
    struct ring *ring = ring_new();
    struct dice dice = {seed};
    pthread_t producer;

    (void)state;
    assert_non_null(ring);
    assert_int_equal(pthread_create(&producer, NULL, produce, ring), 0);
    for (uint64_t i = 0; i < steps;) {
        uint32_t size;
        const void *entry = ring_peek(ring, &size);

        if (!entry) {
            sched_yield();
            continue;
        }
        assert_int_equal(size, 8 + dice_below(&dice, 300));
        check_entry(entry, size, i++);
        ring_release(ring);
    }
    assert_int_equal(pthread_join(producer, NULL), 0);
    ring_free(ring);
}

/*
 * Reclamation step by step: readers enter, load the pointer, look at what it
 * points to, leave, in any order; the writer replaces it, retires the old one
 * and poisons it when it may. A reader must never see poison.
 */
enum { READERS = 4, OBJECTS = 64, POISON = 0xdead };

struct reader {
    bool is_online;
    int held; /* the object that it loaded in this turn, -1: none */
};

static void step_reader(struct epochs *epochs, struct reader *readers, uint32_t who,
                        const uint32_t *objects, int current, struct dice *dice)
{
    struct reader *reader = &readers[who];

    switch (dice_below(dice, 4)) {
    case 0:
        epoch_enter(epochs, who);
        *reader = (struct reader){true, -1};
        break;
    case 1:
        epoch_leave(epochs, who);
        *reader = (struct reader){false, -1};
        break;
    case 2:
        if (reader->is_online)
            reader->held = current;
        break;
    default:
        if (reader->held >= 0 && objects[reader->held] == POISON)
            fail_msg("reader %u reads freed memory (seed %lu)", who, (unsigned long)seed);
    }
}

static void freed_memory_is_never_read(void **state)
{
    static struct epochs epochs;
    struct dice dice = {seed};
    struct reader readers[READERS];
    uint32_t objects[OBJECTS] = {0};
    uint64_t retired[OBJECTS] = {0}; /* 0: live or free */
    uint64_t reclaimed = 0;
    int current = 0;

    (void)state;
    epochs_init(&epochs, READERS);
    for (int i = 0; i < READERS; i++)
        readers[i] = (struct reader){false, -1};
    for (uint64_t step = 0; step < steps; step++) {
        int next = (int)dice_below(&dice, OBJECTS);

        if (dice_below(&dice, 4)) {
            step_reader(&epochs, readers, dice_below(&dice, READERS), objects, current, &dice);
        } else if (next != current && !retired[next]) {
            int old = current;

            objects[next] = 1;
            current = next;
            retired[old] = epoch_retire(&epochs);
        }
        for (int i = 0; i < OBJECTS; i++) {
            if (!retired[i] || !epoch_is_over(&epochs, retired[i]))
                continue;
            objects[i] = POISON;
            retired[i] = 0;
            reclaimed++;
        }
    }
    assert_true(reclaimed > steps / 100);
}

/* The same with threads: the sanitizers watch the memory. */
struct shared {
    struct epochs epochs;
    _Atomic(uint64_t *) object;
    _Atomic bool is_over;
};

static struct shared shared;

static void *read_shared(void *arg)
{
    uint32_t who = (uint32_t)(uintptr_t)arg;
    uint64_t sum = 0;

    while (!atomic_load_explicit(&shared.is_over, memory_order_relaxed)) {
        epoch_enter(&shared.epochs, who);
        for (int i = 0; i < 10; i++)
            sum += *atomic_load(&shared.object);
        epoch_leave(&shared.epochs, who);
    }
    return (void *)(uintptr_t)sum;
}

static void threads_read_what_is_replaced(void **state)
{
    enum { WAITING = 128 };
    pthread_t readers[READERS];
    uint64_t *waiting[WAITING];
    uint64_t retired[WAITING];
    uint32_t count = 0;
    uint64_t *object = ff_mem_zalloc(sizeof(*object));

    (void)state;
    epochs_init(&shared.epochs, READERS);
    atomic_store(&shared.object, object);
    atomic_store(&shared.is_over, false);
    for (uintptr_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_shared, (void *)i), 0);
    for (uint64_t step = 0; step < steps / 10; step++) {
        uint32_t kept = 0;

        object = ff_mem_zalloc(sizeof(*object));
        *object = step;
        waiting[count] = atomic_exchange(&shared.object, object);
        retired[count++] = epoch_retire(&shared.epochs);
        while (count == WAITING && !epoch_is_over(&shared.epochs, retired[0]))
            sched_yield();
        for (uint32_t i = 0; i < count; i++) {
            if (epoch_is_over(&shared.epochs, retired[i])) {
                ff_mem_free(waiting[i]);
                continue;
            }
            waiting[kept] = waiting[i];
            retired[kept++] = retired[i];
        }
        count = kept;
    }
    atomic_store(&shared.is_over, true);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    for (uint32_t i = 0; i < count; i++)
        ff_mem_free(waiting[i]);
    ff_mem_free(atomic_load(&shared.object));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_ring_is_a_queue, nothing_leaked),
        cmocka_unit_test_teardown(a_ring_takes_its_largest_entry_anywhere, nothing_leaked),
        cmocka_unit_test_teardown(a_ring_joins_two_threads, nothing_leaked),
        cmocka_unit_test(freed_memory_is_never_read),
        cmocka_unit_test_teardown(threads_read_what_is_replaced, nothing_leaked),
    };

    steps = test_option(argc, argv, "--steps", steps);
    seed = test_option(argc, argv, "--seed", seed);
    print_message("    %lu steps, seed %lu\n", (unsigned long)steps, (unsigned long)seed);
    return cmocka_run_group_tests_name("workers", tests, NULL, NULL);
}

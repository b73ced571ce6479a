/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What workers share: rings, qsbr and mailboxes, against models step by step and with
 * threads under ThreadSanitizer (thread_workers). `--steps N` and `--seed S`.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "broker/worker/mailbox.h"
#include "broker/worker/qsbr.h"
#include "broker/worker/ring.h"
#include "tests/support/test.h"

enum { RING_SIZE = 256 * 1024, RING_ENTRY_MAX = RING_SIZE / 4 };

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
    struct ring *ring = ring_new(RING_SIZE);
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

        if (dice_below(&dice, 300) == 0) { /* twice: nothing went through meanwhile */
            ring_release_idle(ring);
            ring_release_idle(ring);
        }
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
    struct ring *ring = ring_new(RING_SIZE);
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

/* Pages of the ring that are in memory, without its first and last. */
static size_t count_resident(const struct ring *ring)
{
    unsigned char pages[RING_SIZE / 4096 + 2];
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)ring->bytes | (page - 1)) + 1;
    size_t len = ((uintptr_t)ring->bytes + ring->size - from) & ~(page - 1);
    size_t resident = 0;

    assert_int_equal(mincore((void *)from, len, pages), 0);
    for (size_t i = 0; i < len / page; i++)
        resident += pages[i] & 1;
    return resident;
}

static void a_quiet_ring_gives_its_memory_back(void **state)
{
    struct ring *ring = ring_new(RING_SIZE);
    uint32_t size;

    (void)state;
    assert_non_null(ring);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 8; i++) {
            void *room = ring_reserve(ring, RING_ENTRY_MAX / 2);

            assert_non_null(room);
            write_entry(room, RING_ENTRY_MAX / 2, (uint64_t)i);
            ring_commit(ring);
            assert_non_null(ring_peek(ring, &size));
            if (i < 7)
                ring_release(ring);
        }
        assert_true(count_resident(ring) > 0);
        ring_release_idle(ring);
        ring_release_idle(ring); /* one is inside */
        check_entry(ring_peek(ring, &size), RING_ENTRY_MAX / 2, 7);
        ring_release(ring);
        ring_release_idle(ring);
        assert_int_equal(count_resident(ring), 0);
    }
    ring_free(ring);
}

static void *produce(void *arg)
{
    struct ring *ring = arg;
    struct dice dice = {seed};
    struct dice pauses = {seed};

    for (uint64_t i = 0; i < steps;) {
        uint32_t size = 8 + dice_below(&dice, 300);
        void *room;

        while (!(room = ring_reserve(ring, size)))
            sched_yield();
        write_entry(room, size, i++);
        ring_commit(ring);
        if (dice_below(&pauses, 500) == 0) {
            ring_release_idle(ring);
            sched_yield();
            ring_release_idle(ring);
        }
    }
    return NULL;
}

static void a_ring_joins_two_threads(void **state)
{
    struct ring *ring = ring_new(RING_SIZE);
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

static void step_reader(struct qsbr *qsbr, struct reader *readers, uint32_t who,
                        const uint32_t *objects, int current, struct dice *dice)
{
    struct reader *reader = &readers[who];

    switch (dice_below(dice, 4)) {
    case 0:
        qsbr_online(qsbr, who);
        *reader = (struct reader){true, -1};
        break;
    case 1:
        qsbr_offline(qsbr, who);
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
    static struct qsbr qsbr;
    struct dice dice = {seed};
    struct reader readers[READERS];
    uint32_t objects[OBJECTS] = {0};
    uint64_t retired[OBJECTS] = {0}; /* 0: live or free */
    uint64_t reclaimed = 0;
    int current = 0;

    (void)state;
    qsbr_init(&qsbr, READERS);
    for (int i = 0; i < READERS; i++)
        readers[i] = (struct reader){false, -1};
    for (uint64_t step = 0; step < steps; step++) {
        int next = (int)dice_below(&dice, OBJECTS);

        if (dice_below(&dice, 4)) {
            step_reader(&qsbr, readers, dice_below(&dice, READERS), objects, current, &dice);
        } else if (next != current && !retired[next]) {
            int old = current;

            objects[next] = 1;
            current = next;
            retired[old] = qsbr_retire(&qsbr);
        }
        for (int i = 0; i < OBJECTS; i++) {
            if (!retired[i] || !qsbr_is_passed(&qsbr, retired[i]))
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
    struct qsbr qsbr;
    _Atomic(uint64_t *) object;
    _Atomic bool is_over;
};

static struct shared shared;

static void *read_shared(void *arg)
{
    uint32_t who = (uint32_t)(uintptr_t)arg;
    uint64_t sum = 0;

    while (!atomic_load_explicit(&shared.is_over, memory_order_relaxed)) {
        qsbr_online(&shared.qsbr, who);
        for (int i = 0; i < 10; i++)
            sum += *atomic_load(&shared.object);
        qsbr_offline(&shared.qsbr, who);
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
    qsbr_init(&shared.qsbr, READERS);
    atomic_store(&shared.object, object);
    atomic_store(&shared.is_over, false);
    for (uintptr_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_shared, (void *)i), 0);
    for (uint64_t step = 0; step < steps / 10; step++) {
        uint32_t kept = 0;

        object = ff_mem_zalloc(sizeof(*object));
        *object = step;
        waiting[count] = atomic_exchange(&shared.object, object);
        retired[count++] = qsbr_retire(&shared.qsbr);
        while (count == WAITING && !qsbr_is_passed(&shared.qsbr, retired[0]))
            sched_yield();
        for (uint32_t i = 0; i < count; i++) {
            if (qsbr_is_passed(&shared.qsbr, retired[i])) {
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

/*
 * Posters write a number, post, and go on without waiting; the owner must know
 * the last number of each in the end, however posts and openings met.
 */
enum { POSTERS = 3 };

struct letter {
    struct mail mail;
    pthread_t poster;
    _Atomic uint64_t written;
    _Atomic uint64_t read;
    uint64_t opened;
    uint64_t turn; /* of all openings, which one was its last */
};

static struct mailbox mailbox;
static _Atomic uint64_t wakes;
static uint64_t openings;

static void count_wake(void *arg)
{
    (void)arg;
    atomic_fetch_add(&wakes, 1);
}

static void read_letter(struct mail *mail)
{
    struct letter *letter = FF_CONTAINER(mail, struct letter, mail);
    uint64_t written = atomic_load_explicit(&letter->written, memory_order_relaxed);

    if (written < letter->read)
        fail_msg("%lu was read after %lu", (unsigned long)written, (unsigned long)letter->read);
    letter->read = written;
    letter->opened++;
    letter->turn = ++openings;
}

static void wait_until_read(struct letter *letter, uint64_t number)
{
    enum { PATIENCE = 100000000 }; /* looks: who should open it may wait for a processor */

    for (int i = 0; atomic_load(&letter->read) < number; i++) {
        if (i == PATIENCE)
            fail_msg("letter %lu is lost", (unsigned long)number);
        sched_yield();
    }
}

static void *post_letters(void *arg)
{
    struct letter *letter = arg;

    for (uint64_t i = 1; i <= steps / 4; i++) {
        atomic_store_explicit(&letter->written, i, memory_order_relaxed);
        mailbox_post(&mailbox, &letter->mail);
        if (i % 8 == 0) /* each may be the last one for long */
            wait_until_read(letter, i);
    }
    return NULL;
}

static void what_was_posted_last_is_known(void **state)
{
    static struct letter letters[POSTERS];
    uint64_t opened = 0;
    uint64_t known;

    (void)state;
    mailbox_init(&mailbox, count_wake, NULL);
    for (int i = 0; i < POSTERS; i++) {
        letters[i] = (struct letter){.read = 0};
        mail_init(&letters[i].mail, read_letter);
        assert_int_equal(pthread_create(&letters[i].poster, NULL, post_letters, &letters[i]), 0);
    }
    do {
        uint64_t woken = atomic_load(&wakes);

        mailbox_open(&mailbox);
        known = opened = 0;
        for (int i = 0; i < POSTERS; i++) {
            known += letters[i].read == steps / 4;
            opened += letters[i].opened;
        }
        /* Nobody is to look without having been woken. */
        while (known < POSTERS && mailbox_is_empty(&mailbox) && atomic_load(&wakes) == woken)
            sched_yield();
    } while (known < POSTERS);
    for (int i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_join(letters[i].poster, NULL), 0);
    assert_true(opened >= POSTERS && opened <= POSTERS * steps / 4);
    assert_true(atomic_load(&wakes) > 0);
}

static void the_oldest_mail_is_opened_first(void **state)
{
    struct letter letters[3];

    (void)state;
    openings = 0;
    mailbox_init(&mailbox, NULL, NULL);
    for (uint64_t i = 0; i < 3; i++) {
        letters[i] = (struct letter){.written = i};
        mail_init(&letters[i].mail, read_letter);
        mailbox_post(&mailbox, &letters[i].mail);
        mailbox_post(&mailbox, &letters[i].mail); /* once is enough */
        assert_true(mail_is_in(&letters[i].mail));
    }
    mailbox_open(&mailbox);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(letters[i].opened, 1);
        assert_int_equal(letters[i].turn, i + 1);
        assert_false(mail_is_in(&letters[i].mail));
    }
    assert_true(mailbox_is_empty(&mailbox));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_ring_is_a_queue, nothing_leaked),
        cmocka_unit_test_teardown(a_quiet_ring_gives_its_memory_back, nothing_leaked),
        cmocka_unit_test_teardown(a_ring_takes_its_largest_entry_anywhere, nothing_leaked),
        cmocka_unit_test_teardown(a_ring_joins_two_threads, nothing_leaked),
        cmocka_unit_test(freed_memory_is_never_read),
        cmocka_unit_test_teardown(threads_read_what_is_replaced, nothing_leaked),
        cmocka_unit_test(the_oldest_mail_is_opened_first),
        cmocka_unit_test(what_was_posted_last_is_known),
    };

    steps = test_option(argc, argv, "--steps", steps);
    seed = test_option(argc, argv, "--seed", seed);
    print_message("    %lu steps, seed %lu\n", (unsigned long)steps, (unsigned long)seed);
    return cmocka_run_group_tests_name("workers", tests, NULL, NULL);
}

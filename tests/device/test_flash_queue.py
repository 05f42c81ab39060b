"""The queue on flash: its contract, restarts, damage, and file systems that refuse."""

import os

from checks import check_queue, lcg, raises
from flash_disk import Disk
from onebuf import flash_files
from onebuf.flash_queue import FlashQueue

_EMSGSIZE = -90
_MASK = 0x1FFFFFFF
_BOUND = 5000


def small(disk, batch=1, drop_oldest=True, size=512):
    """A queue of segments for two to six records."""
    return FlashQueue(disk.folder + "/q", size, drop_oldest, batch, 64, 54)


def reading(i):
    return b"%d:" % i + b"abcdefghijklmnop"[: i % 13]


def push(queue, *numbers):
    for i in numbers:
        assert queue.push(reading(i)), (i, queue.error)


def drain(queue):
    """All the records, popped, as the numbers of readings."""
    window = memoryview(bytearray(80))
    found = []
    for _ in range(_BOUND):
        if not len(queue):
            return found
        n = queue.peek(window)
        if n >= 0:
            data = bytes(window[:n])
            found.append(int(data[: data.find(b":")]))
            assert data == reading(found[-1])
        queue.pop()
    raise AssertionError("never empty")


def files(disk):
    return sorted(os.listdir(disk.folder + "/q"))


def octets(disk, name):
    with open(disk.folder + "/q/" + name, "rb") as file:
        return bytearray(file.read())


def rewrite(disk, name, data):
    with open(disk.folder + "/q/" + name, "wb") as file:
        file.write(data)


def test_the_contract_of_a_queue_is_kept_whether_full_drops_or_refuses():
    for batch in (1, 3):
        for drop_oldest in (True, False):
            with Disk() as disk:
                check_queue(
                    lambda n: FlashQueue(disk.folder + "/q", n, drop_oldest, batch, n // 2, 22)
                )


def test_sizes_that_cannot_work_are_refused():
    with Disk() as disk:
        q = disk.folder + "/q"
        raises(ValueError, FlashQueue, q, 100, True, 1, 64, 20)
        raises(ValueError, FlashQueue, q, 200, True, 1, 64, 55)
        raises(ValueError, FlashQueue, q, 200, True, 0, 64, 20)
        raises(ValueError, FlashQueue, q, 200, True, 1, 64, -1)
        raises(ValueError, FlashQueue, q, 1 << 20, True, 1, 1 << 19, 65536)
        raises(OSError, FlashQueue, disk.folder + "/no/q")


def test_what_is_no_octets_is_refused_and_what_is_too_long_is_not_taken():
    with Disk() as disk:
        q = small(disk)
        for thing in ("text", 5, None):
            raises(ValueError, q.push, thing)
        assert not q.push(bytes(55)) and len(q) == 0 and q.error == 0
        assert q.push(bytes(54)) and q.push(b"")
        assert q.peek(bytearray(53)) == _EMSGSIZE and q.peek(bytearray(54)) == 54


def test_an_empty_queue_has_nothing_to_peek_at_or_to_pop():
    with Disk() as disk:
        q = small(disk)
        assert q.peek(bytearray(9)) == -1
        q.pop()
        assert (len(q), q.first, q.next) == (0, 0, 0)


def test_a_restart_finds_what_was_pushed_in_its_order():
    with Disk() as disk:
        push(small(disk), *range(9))
        q = small(disk)
        assert (len(q), q.first, q.next, q.synced) == (9, 0, 9, 9)
        push(q, 9, 10)
        assert drain(small(disk)) == list(range(11))


def test_a_batch_is_durable_when_it_is_full_or_synced():
    with Disk() as disk:
        q = small(disk, 3)
        push(q, 0, 1)
        assert q.synced == 0 and len(small(disk)) == 0
        push(q, 2)
        assert q.synced == 3 and len(small(disk)) == 3
        push(q, 3)
        assert len(small(disk)) == 3
        assert q.sync() and q.synced == 4
        assert drain(small(disk)) == [0, 1, 2, 3]


def test_closing_makes_durable_and_the_queue_can_still_be_used():
    with Disk() as disk:
        q = small(disk, 3)
        push(q, 0)
        q.close()
        assert len(small(disk)) == 1
        push(q, 1, 2, 3)
        assert len(small(disk)) == 4
        assert drain(q) == [0, 1, 2, 3]


def test_more_than_a_segment_waiting_in_ram_is_written_early():
    with Disk() as disk:
        q = small(disk, 100)
        for i in range(7):
            assert q.push(bytes([i]) * 20)
        assert len(q) == 7 and q.synced == 6


def test_records_served_from_ram_write_no_segment():
    with Disk() as disk:
        q = small(disk, 8)
        for i in range(40):
            push(q, i)
            assert drain(q) == [i]
        assert files(disk) == ["cursor"]
        push(q, 40, 41)
        assert drain(q) == [40, 41]


def test_the_rest_of_a_batch_is_written_when_some_of_it_has_been_served():
    with Disk() as disk:
        q = small(disk, 3)
        push(q, 0)
        push(q, 1)
        window = bytearray(60)
        assert q.peek(window) == len(reading(0))
        q.pop()
        assert q.peek(window) == len(reading(1))
        push(q, 2, 3)
        assert q.synced == 4
        assert q.peek(window) == len(reading(1)), "found in RAM, then on flash"
        again = small(disk)
        assert drain(again) == [1, 2, 3] and again.corrupt == 0
        assert drain(q) == [1, 2, 3] and q.corrupt == 0


def test_no_number_of_a_record_that_was_served_is_given_to_another():
    with Disk() as disk:
        used = set()
        chance = lcg(5)
        for start in range(30):
            q = small(disk, 1 + start % 5)
            for _ in range(next(chance) % 9):
                push(q, 1)
                for _ in range(next(chance) % 3):
                    if len(q) and q.peek(bytearray(60)) > 0:
                        used.add(q.first)
                        q.pop()
            assert q.next not in used
            again = small(disk)
            assert not [n for n in used if 0 <= (n - again.next) & _MASK < 999], start


def test_after_a_restart_as_many_come_again_as_the_batch_at_most():
    for batch in (1, 3):
        with Disk() as disk:
            q = small(disk, batch)
            push(q, *range(12))
            q.sync()
            for i in range(12):
                assert len(q) and q.peek(bytearray(60)) > 0
                q.pop()
                first = small(disk, batch).first
                assert i + 1 - batch < first <= i + 1
            q.sync()
            assert len(small(disk)) == 0


def test_a_full_queue_drops_its_oldest_segment_and_counts():
    with Disk() as disk:
        q = small(disk, 1, True, 256)
        for i in range(30):
            push(q, i)
            assert len(q) + q.dropped == i + 1
        assert len(files(disk)) == 5
        assert q.dropped > 10 and q.first == q.dropped
        assert drain(q) == list(range(q.dropped, 30))


def test_what_was_found_is_found_anew_after_it_was_dropped():
    with Disk() as disk:
        q = small(disk, 1, True, 256)
        push(q, *range(3))
        window = bytearray(60)
        assert q.peek(window) > 0
        push(q, *range(3, 30))
        assert q.dropped
        n = q.peek(window)
        assert bytes(window[:n]) == reading(q.first)


def test_a_full_queue_that_may_not_drop_refuses_until_there_is_room():
    with Disk() as disk:
        q = small(disk, 1, False, 256)
        taken = 0
        while taken < 50 and q.push(reading(taken)):
            taken += 1
        assert 8 < taken < 30 and not q.push(reading(taken)) and q.error == 0 and q.dropped == 0
        for _ in range(taken // 2):
            q.pop()
        assert q.push(reading(taken))
        assert drain(q) == list(range(taken // 2, taken + 1))


def test_a_full_queue_with_a_batch_keeps_what_it_has_in_ram():
    with Disk() as disk:
        q = small(disk, 3, False, 256)
        taken = 0
        while taken < 50 and q.push(reading(taken)):
            taken += 1
        assert not q.sync() and not q.push(reading(taken))
        assert len(q) == taken
        assert drain(q) == list(range(taken))


def stored(disk, count=14, popped=0):
    """The files of a queue with so many readings, some of them popped."""
    q = small(disk)
    push(q, *range(count))
    for _ in range(popped):
        q.pop()
    q.close()
    return {name: octets(disk, name) for name in files(disk)}


def restore(disk, contents):
    disk.abandon()
    for name in files(disk):
        os.remove(disk.folder + "/q/" + name)
    for name in contents:
        rewrite(disk, name, contents[name])


def check_survivors(disk, lost):
    """So many of 14 readings may be missing; the queue goes on. Returns those that came."""
    q = small(disk)
    found = drain(q)
    assert found == sorted(set(found)) and len(found) >= 14 - lost, found
    number = q.next
    push(q, 14)
    assert q.next == (number + 1) & _MASK and q.error == 0
    assert drain(q) == [14]
    q.close()
    assert len(small(disk)) == 0
    return found, q.corrupt


def test_a_flipped_bit_anywhere_costs_the_record_that_it_is_in():
    with Disk() as disk:
        contents = stored(disk)
        for name in sorted(contents):
            if name == "cursor":
                continue
            for at in range(len(contents[name])):
                restore(disk, contents)
                data = bytearray(contents[name])
                data[at] ^= 1 << at % 8
                rewrite(disk, name, data)
                found, corrupt = check_survivors(disk, 1)
                assert len(found) == 13 and corrupt == 1, (name, at, found, corrupt)


def test_a_segment_cut_short_anywhere_costs_what_was_cut_off():
    with Disk() as disk:
        contents = stored(disk)
        for name in sorted(contents):
            for n in range(len(contents[name])):
                restore(disk, contents)
                rewrite(disk, name, contents[name][:n])
                found, _ = check_survivors(disk, 0 if name == "cursor" else 6)
                first = int(name[:8], 16) if name != "cursor" else 0
                assert found[:first] == list(range(first))


def test_octets_behind_the_last_record_are_left_alone():
    for torn in (b"\0", b"\xff" * 20, b"\x05\0\x0e\0\0\0torn?"):
        with Disk() as disk:
            name = sorted(stored(disk))[-2]
            rewrite(disk, name, octets(disk, name) + torn)
            q = small(disk)
            assert len(q) in (14, 15)
            push(q, 14)
            q.close()
            assert octets(disk, name).endswith(torn)
            assert drain(small(disk)) == list(range(15))


def test_a_cursor_that_is_damaged_or_missing_only_repeats():
    with Disk() as disk:
        contents = stored(disk, 14, 7)
        assert len(contents["cursor"]) == 24
        for at in range(24):
            restore(disk, contents)
            data = bytearray(contents["cursor"])
            data[at] ^= 0x10
            rewrite(disk, "cursor", data)
            assert drain(small(disk))[-7:] == list(range(7, 14))
            assert len(small(disk)) == 0
        restore(disk, contents)
        os.remove(disk.folder + "/q/cursor")
        q = small(disk)
        oldest = int(files(disk)[0][:8], 16)
        assert drain(q) == list(range(oldest, 14)) and q.corrupt == 0


def test_a_missing_segment_costs_its_records():
    with Disk() as disk:
        names = sorted(stored(disk))
        os.remove(disk.folder + "/q/" + names[1])
        lost = range(int(names[1][:8], 16), int(names[2][:8], 16))
        q = small(disk)
        assert drain(q) == [i for i in range(14) if i not in lost]
        assert q.corrupt == len(lost)


def test_files_of_others_are_not_touched():
    others = ("notes.txt", "0000000A.q", "3fffffff.q", "+0000001.q", "00000001.q~", "zzzzzzzz.q")
    with Disk() as disk:
        stored(disk)
        for name in others:
            rewrite(disk, name, b"theirs")
        assert drain(small(disk)) == list(range(14))
        for name in others:
            assert octets(disk, name) == b"theirs"


def test_segments_full_of_rubbish_or_empty_are_passed_over():
    with Disk() as disk:
        contents = stored(disk)
        for rubbish in (b"", bytes(64), b"\xff" * 64, b"rubbish" * 9):
            for name in sorted(contents):
                restore(disk, contents)
                rewrite(disk, name, rubbish)
                check_survivors(disk, 0 if name == "cursor" else 6)


def test_a_folder_in_the_place_of_a_file_is_passed_over():
    for place in ("cursor", "00000000.q", "00000007.q"):
        with Disk() as disk:
            os.mkdir(disk.folder + "/q")
            os.mkdir(disk.folder + "/q/" + place)
            q = small(disk)
            push(q, *range(9))
            assert drain(q) == list(range(9)) and q.sync() is (place != "cursor")


def test_all_numbers_go_round_from_2_to_the_29_minus_1_to_0():
    for batch in (1, 3):
        with Disk() as disk:
            q = small(disk, batch)
            q._cursor.save(_MASK - 10, _MASK - 10)
            q = small(disk, batch)
            assert q.first == _MASK - 10
            push(q, *range(50))
            q.sync()
            assert q.dropped and q.next == 39
            q = small(disk, batch)
            found = drain(q)
            assert len(found) > 10 and found == list(range(50 - len(found), 50))


def test_a_queue_across_the_turn_of_the_numbers_survives_restarts():
    with Disk() as disk:
        q = small(disk)
        q._cursor.save(_MASK - 5, _MASK - 5)
        for i in range(0, 60, 3):
            q = small(disk, 1 + i % 2)
            push(q, i, i + 1, i + 2)
            q.sync()
            q = small(disk)
            assert drain(q) == [i, i + 1, i + 2] and q.corrupt == 0


def test_a_write_that_fails_takes_nothing_and_loses_nothing():
    for fault in ("write", "flush"):
        for batch in (1, 3):
            with Disk() as disk:
                q = small(disk, batch)
                push(q, 0, 1, 2)
                disk.faults = (fault, "close")
                disk.number = 28
                taken = 3
                while q.push(reading(taken)):
                    taken += 1
                assert taken == 2 + batch and q.error == -28
                assert len(q) == taken and not q.push(reading(taken))
                assert q.sync() is (batch == 1) or q.error == -28
                disk.faults = ()
                push(q, *range(taken, 20))
                assert q.error == 0
                q.sync()
                assert len(small(disk)) == 20
                assert drain(q) == list(range(20)) and q.corrupt == 0


def test_a_new_segment_that_cannot_be_made_takes_nothing():
    with Disk() as disk:
        q = small(disk)
        disk.faults = ("make",)
        assert not q.push(b"") and q.error == -30 and len(q) == 0
        disk.faults = ()
        taken = 0
        push(q, 0)
        disk.faults = ("make",)
        while q.push(reading(taken + 1)):
            taken += 1
        assert taken < 6
        disk.faults = ()
        push(q, *range(taken + 1, 15))
        assert drain(q) == list(range(15))


def test_a_file_system_that_takes_nothing_any_more_still_gives():
    with Disk() as disk:
        stored(disk, 14, 3)
        disk.faults = ("make", "write", "flush", "remove")
        q = small(disk)
        assert len(q) == 11 and not q.push(b"") and q.error == -30
        assert drain(q) == list(range(3, 14))
        assert not q.sync()
        q.close()
        disk.faults = ()
        assert drain(small(disk))[-11:] == list(range(3, 14))


def test_a_segment_that_cannot_be_removed_does_not_stop_the_queue():
    with Disk() as disk:
        q = small(disk)
        push(q, *range(14))
        disk.faults = ("remove",)
        assert drain(q) == list(range(14)) and q.error == -30
        q = small(disk)
        assert len(q) == 0
        disk.faults = ()
        assert len(small(disk)) == 0 and len(files(disk)) == 2


def test_a_full_queue_whose_oldest_segment_cannot_be_removed_takes_nothing():
    with Disk() as disk:
        q = small(disk)
        disk.faults = ("remove",)
        taken = 0
        while q.push(reading(taken)):
            taken += 1
        assert q.error == -30 and q.dropped == 0 and len(q) == taken
        assert drain(q) == list(range(taken))


def test_what_cannot_be_read_is_given_up_and_counted():
    # The cursor, the oldest and the newest segment are open already.
    for fault, kept in (("read", []), ("open", [1, 2, 3, 12, 13])):
        with Disk() as disk:
            push(small(disk), *range(14))
            q = small(disk)
            q.pop()
            disk.faults = (fault,)
            disk.number = None
            assert drain(q) == kept and q.corrupt == 13 - len(kept) and q.error == -5
            disk.faults = ()
            push(q, 14)
            assert drain(q) == [14]


def test_what_can_be_neither_read_nor_written_waits_until_it_can():
    for faults in (("open", "make"), ("read", "write")):
        with Disk() as disk:
            push(small(disk), *range(14))
            q = small(disk)
            disk.faults = faults
            assert len(q) == 0 and q.peek(bytearray(60)) == -1 and q.error == -30
            assert q.corrupt == 0
            disk.faults = ()
            push(q, 14)
            assert drain(q) == list(range(15)) and q.corrupt == 0


def test_a_file_system_to_read_only_gives_all_that_waits():
    with Disk() as disk:
        stored(disk, 14, 3)
        disk.faults = ("update", "make", "remove")
        q = small(disk)
        assert (len(q), q.first, q.next) == (11, 3, 14)
        assert not q.push(b"") and q.error == -30
        assert drain(q) == list(range(3, 14)) and q.corrupt == 0
        disk.faults = ()
        assert drain(small(disk)) == list(range(3, 14))


def test_no_number_in_a_segment_that_could_not_be_read_is_given_again():
    for fault in ("open", "read"):
        with Disk() as disk:
            push(small(disk), *range(14))
            disk.faults = (fault,)
            q = small(disk)
            disk.faults = ()
            assert q.next >= 14
            push(q, 14)
            assert drain(q)[-3:] == [12, 13, 14]


def test_a_folder_whose_names_are_damaged_is_an_error():
    with Disk() as disk:
        stored(disk)
        disk.faults = ("names",)
        assert raises(OSError, small, disk).errno == 84


def test_a_cursor_that_cannot_be_written_only_repeats():
    with Disk() as disk:
        push(small(disk), *range(4))
        q = small(disk)
        for _ in range(2):
            q.pop()
        disk.faults = ("write", "open", "make")
        q.pop()
        q.pop()
        assert len(q) == 0 and not q.sync()
        disk.faults = ()
        assert len(small(disk)) == 2
        assert q.sync() and len(small(disk)) == 0


class _NoMemory:
    """Stands for binascii under a locked heap."""

    def crc32(self, *data):
        raise MemoryError


def test_without_memory_len_tells_what_it_knows_and_pop_leaves_the_cursor():
    with Disk() as disk:
        q = small(disk)
        push(q, 0, 1, 2)
        assert q.peek(bytearray(60)) > 0
        binascii = flash_files.binascii
        flash_files.binascii = _NoMemory()
        try:
            q.pop()
            assert len(q) == 2
            raises(MemoryError, q.peek, bytearray(60))
        finally:
            flash_files.binascii = binascii
        assert small(disk).first == 0
        assert drain(q) == [1, 2]
        assert len(small(disk)) == 0


def test_random_pushes_pops_and_restarts_give_what_a_list_gives():
    for seed in range(6):
        with Disk() as disk:
            _wander(disk, lcg(seed), 1 + seed % 4)


def _wander(disk, chance, batch):
    q = small(disk, batch, True, 64 * 6)
    waiting = []
    serial = 0
    window = bytearray(60)
    for _ in range(400):
        what = next(chance) % 20
        dropped = q.dropped
        if what < 9:
            push(q, serial)
            waiting.append(serial)
            serial += 1
        elif what < 18:
            assert len(q) == len(waiting)
            if waiting:
                n = q.peek(window)
                assert bytes(window[:n]) == reading(waiting.pop(0))
                q.pop()
        else:
            assert q.sync() and q.corrupt == 0
        del waiting[: q.dropped - dropped]
        if what == 19:
            q = small(disk, batch, True, 64 * 6)
    assert drain(q) == waiting

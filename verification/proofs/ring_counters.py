"""RING-WRAP: the arithmetic of the ring's counters, proved with z3 for every 64-bit counter and every capacity.

`head` and `tail` are 64-bit and wrap; the capacity is a power of two, from 1 to 2^63. The expressions are those
of the macro `counters!` in src/sync/ring.rs, which this script reads and compares with the ones it proves. Each
claim is proved by asking for a counterexample. The last part plants a fault in each expression and requires
that a counterexample is found: claims that cannot fail prove nothing.

Run: pip install z3-solver && python3 verification/proofs/ring_counters.py
"""

import pathlib
import re
import sys

import z3

WIDTH = 64
head, inside, other, capacity = z3.BitVecs("head inside other capacity", WIDTH)
ONE = z3.BitVecVal(1, WIDTH)
ZERO = z3.BitVecVal(0, WIDTH)

SOURCE = {
    "has_room": "tail.wrapping_sub(head) < capacity",
    "next": "counter.wrapping_add(1)",
    "slot": "number & (capacity - 1)",
}


def source_is_what_is_proved():
    text = (pathlib.Path(__file__).parents[2] / "src/sync/ring.rs").read_text()
    for name, expression in SOURCE.items():
        body = re.search(r"fn " + name + r"\([^{]*\{\s*([^}]*?)\s*\}", text)
        assert body and body.group(1) == expression, f"fn {name} of ring.rs is not {expression}"


def has_room(tail, head, capacity):
    return z3.ULT(tail - head, capacity)


def next_(counter):
    return counter + ONE


def slot(number, capacity):
    return number & (capacity - ONE)


def claims(has_room=has_room, next_=next_, slot=slot):
    """Name and statement; `inside` items are in the ring, `other` counts some of them from the oldest."""
    tail = head + inside
    valid = z3.And(capacity != ZERO, (capacity & (capacity - ONE)) == ZERO, z3.ULE(inside, capacity))
    return {
        "there is room exactly while fewer than capacity items are inside": z3.Implies(
            valid, has_room(tail, head, capacity) == z3.ULT(inside, capacity)
        ),
        "the counters are equal exactly when nothing is inside": z3.Implies(
            valid, (tail == head) == (inside == ZERO)
        ),
        "a slot is below the capacity": z3.Implies(valid, z3.ULT(slot(tail, capacity), capacity)),
        "a push goes to a slot that no item inside has": z3.Implies(
            z3.And(valid, z3.ULT(inside, capacity), z3.ULT(other, inside)),
            slot(tail, capacity) != slot(head + other, capacity),
        ),
        "a push makes one more inside": z3.Implies(
            z3.And(valid, z3.ULT(inside, capacity)), next_(tail) - head == inside + ONE
        ),
        "a pop makes one less inside": z3.Implies(
            z3.And(valid, inside != ZERO), tail - next_(head) == inside - ONE
        ),
        "an old view of head never finds room that is not there": z3.Implies(
            z3.And(valid, z3.ULE(other, inside), has_room(tail, head, capacity)),
            has_room(tail, head + other, capacity),
        ),
    }


def counterexample(claim):
    solver = z3.Solver()
    solver.add(z3.Not(claim))
    return solver.model() if solver.check() == z3.sat else None


def main():
    source_is_what_is_proved()
    for name, claim in claims().items():
        found = counterexample(claim)
        if found is not None:
            sys.exit(f"REFUTED {name}: {found}")
        print(f"proved: {name}")
    faults = {
        "has_room by <=": dict(has_room=lambda tail, head, capacity: z3.ULE(tail - head, capacity)),
        "has_room without wrapping": dict(has_room=lambda tail, head, capacity: z3.ULT(tail, head + capacity)),
        "next by two": dict(next_=lambda counter: counter + ONE + ONE),
        "slot by the capacity": dict(slot=lambda number, capacity: number & capacity),
    }
    for name, fault in faults.items():
        if all(counterexample(claim) is None for claim in claims(**fault).values()):
            sys.exit(f"NOT NOTICED: {name}")
        print(f"refuted as it should be: {name}")
    print(f"{len(claims())} passed, 0 failed")


main()

"""Whether `backward` gives one and the same tuple as dx and dr: proved from its code, for all fields and all arguments.

The engine then keeps one of the two. One sample call would prove nothing: a cell may branch on a field.
"""

from typing import Any

from ..jit import ir_of


def gives_one_tuple_twice(function: Any) -> bool:
    """True if every `return` of the function hands out one variable as first and second part, as in `return d, d, ds`.

    False where the code does not show it: then both are kept, which costs memory and changes no number.
    """
    code = ir_of(function)
    ends = [] if code is None else [block for block in code.blocks.values() if hasattr(block.body[-1], "value")]
    return bool(ends) and all(_twice(block) for block in ends)


def _twice(block: Any) -> bool:
    """Whether a block that ends in `return` builds the tuple itself, and reads one variable for its first two parts."""
    made: dict[str, Any] = {}
    for statement in block.body[:-1]:
        if hasattr(statement, "target"):
            made[statement.target.name] = statement.value
    found: Any = made.get(block.body[-1].value.name)
    while getattr(found, "op", None) == "cast":
        found = made.get(found.value.name)
    parts: Any = found.items if getattr(found, "op", None) == "build_tuple" else ()
    return len(parts) in (3, 4) and parts[0].name == parts[1].name  # four with parameters of a unit

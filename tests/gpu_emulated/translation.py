"""LLVM's text of a kernel, from what NVIDIA's compiler takes to what the CPU runs with the functions of calls.c.

What the device's instructions do is spelt in CALLS, ASSEMBLY, IN_PLACE and LIBDEVICE; any other is refused by name.
"""

from __future__ import annotations

import re
from itertools import count
from typing import Any

PLACES = {
    f"llvm.nvvm.read.ptx.sreg.{name}.{axis}": f"{name}_{axis}"
    for name in ("tid", "ctaid", "ntid", "nctaid")
    for axis in "xyz"
}
PLACES["llvm.nvvm.read.ptx.sreg.laneid"] = "laneid"
CALLS = PLACES | {
    "llvm.nvvm.barrier0": "barrier",
    "llvm.nvvm.bar.warp.sync": "warp_barrier",
    "llvm.nvvm.shfl.sync.i32": "shuffle",
}
MEETINGS = "barrier|warp_barrier|shuffle"  # convergent: not to be copied into branches
SAME = "nounwind willreturn memory(none)"  # the same whenever a thread asks
ASSEMBLY = {
    ("i32", "mov.u32 $0, %tid.x;"): "tid_x",
    ("i32", "atom.add.release.gpu.global.u32 $0, [$1], $2;"): "add_release",
    ("i32", "ld.acquire.gpu.global.u32 $0, [$1];"): "load_acquire",
    ("void", "barrier.cluster.arrive.release;"): "cluster_arrive",
    ("void", "barrier.cluster.wait.acquire;"): "cluster_wait",
    ("i32", "mapa.shared::cluster.u32 $0, $1, $2;"): "address_in_block",
    ("void", "st.shared::cluster.f32 [$0], $1;"): "store_in_cluster_float",
    ("void", "st.shared::cluster.f64 [$0], $1;"): "store_in_cluster_double",
    ("float", "rcp.approx.ftz.f32 $0, $1;"): "reciprocal_float",
    ("double", "rcp.approx.ftz.f64 $0, $1;"): "reciprocal_double",
    ("void", "cp.async.ca.shared.global [$0], [$1], 4, $2;"): "copy_4",
    ("void", "cp.async.ca.shared.global [$0], [$1], 8, $2;"): "copy_8",
    ("void", "cp.async.cg.shared.global [$0], [$1], 16, $2;"): "copy_16",
    ("void", "cp.async.commit_group;"): "copies_end_group",
    ("void", "cp.async.wait_group 0;"): "copies_wait_all",
    ("void", "cp.async.wait_group 1;"): "copies_wait_all_but_1",
}
IN_PLACE = {  # an instruction of LLVM's says the same
    r"cvt\.u32\.u64 \$0, \$1;": "trunc {arguments} to i32",
    r"ld\.global\.cg\.[bf](32|64) \$0, \[\$1\];": "load volatile {result}, {arguments}",
    r"ld\.global\.cg\.v\d\.f(32|64) \{.*\}, \[\$\d\];": "load volatile {result}, {arguments}, align 16",
}
LIBDEVICE = {
    f"__nv_{name}{kind}": f"{name}{kind}"
    for name in ("exp", "log", "tanh", "sqrt", "fabs", "fmax", "fmin", "expm1", "log1p", "fma", "pow", "sin", "cos")
    for kind in ("", "f")
}
SHARED_AT, CHECK = "shared_at", "check"
IN_C = {*CALLS.values(), *ASSEMBLY.values(), SHARED_AT, CHECK}
SIZES = {"float": 4, "double": 8, "ptr": 8, "half": 2}


class EmulationError(RuntimeError):
    """A kernel did what the device forbids, or what machine.py does not know."""


class Shared:
    """The shared arrays of a block, each as little aligned as it is declared."""

    def __init__(self) -> None:
        self.bytes = 0
        self.offsets: dict[str, int] = {}

    def add(self, name: str, bytes_: int, alignment: int) -> None:
        place = -(-self.bytes // alignment) * alignment
        if place // alignment % 2 == 0:
            place += alignment
        self.offsets[name], self.bytes = place, place + bytes_


def size_of(kind: str) -> int:
    """Bytes of a type of LLVM's text."""
    if kind.startswith("{"):
        return sum(map(size_of, kind.strip("{ }").split(", ")))
    found = re.fullmatch(r"[\[<](\d+) x (.*)[\]>]", kind)
    if found:
        return int(found[1]) * size_of(found[2])
    if kind in SIZES:
        return SIZES[kind]
    if re.fullmatch(r"i\d+", kind):
        return -(-int(kind[1:]) // 8)
    raise EmulationError(f"the size of {kind!r} is not known to the emulation")


CLUSTER = re.compile(r'!"cluster_dim_x", i32 (\d+)')
DROPPED = re.compile(r'^(target |!nvvm|@"llvm\.used").*\n', re.MULTILINE)
SHARED_ARRAY = re.compile(r'^@("[^"]+") = addrspace\(3\) global (\[.*\]) undef, align (\d+)\n', re.MULTILINE)
SHARED_USE = re.compile(r'addrspacecast \[[^\]]*\] addrspace\(3\)\* @("[^"]+") to (\S+)')
LOCAL_ARRAY = re.compile(
    r'^ *(%"_cudapy_lmem[^"]*") = alloca (\[.*\])\n *store \2 zeroinitializer, \2\* \1$', re.MULTILINE
)
INTRINSIC = re.compile(r'@"(llvm\.nvvm\.[^"]+)"')
INLINE = re.compile(r'call (\{.*?\}|\S+) asm( sideeffect)? +"([^"]*)", "([^"]*)"\(([^)]*)\)')
FUNCTION = re.compile(r'@"(__nv_[^"]+)"')


def translate(text: str, shared: Shared) -> str:
    """The code of one module for the CPU, and its shared arrays noted."""
    used: dict[str, str] = {}

    def place(found):
        shared.add(found[1], size_of(found[2]), int(found[3]))
        return ""

    def base(found):
        used[SHARED_AT] = f"declare i8* @{SHARED_AT}(i32) {SAME}\n"
        return f"call {found[2]} @{SHARED_AT}(i32 {shared.offsets[found[1]]})"

    def intrinsic(found):
        return "@" + look_up(CALLS, found[1])

    def inline(found):
        result, effect, instruction, constraints, arguments = found.groups()
        for pattern, there in IN_PLACE.items():
            if re.fullmatch(pattern, instruction):
                if instruction.startswith("ld.") and not effect:
                    raise EmulationError(f"{instruction!r} may be moved across barriers: it has to be a side effect")
                return there.format(result=result, arguments=arguments)
        name = look_up(ASSEMBLY, (result, instruction))
        operands = ", ".join(argument.split()[0] for argument in arguments.split(", ") if argument)
        attributes = "" if effect or "memory" in constraints else SAME
        declaration = f"declare {result} @{name}({operands}) {attributes}\n"
        if used.setdefault(name, declaration) != declaration:
            raise EmulationError(f"one instruction, two ways to write it: {used[name]} and {declaration}")
        return f"call {result} @{name}({arguments})"

    def poison(found):
        used["memset"] = "declare void @llvm.memset.p0.i64(i8*, i8, i64, i1)\n"
        name, kind = found.groups()
        fill = f"call void @llvm.memset.p0.i64(i8* {name}, i8 -1, i64 {size_of(kind)}, i1 false)"
        return f"  {name} = alloca {kind}\n  {fill}"

    text = DROPPED.sub("", text)
    text = SHARED_ARRAY.sub(place, text)
    text = SHARED_USE.sub(base, text)
    text = re.sub(r" ?addrspace\(\d\)", "", text.replace("addrspacecast", "bitcast"))
    text = INLINE.sub(inline, text)
    text = LOCAL_ARRAY.sub(poison, text)
    text = INTRINSIC.sub(intrinsic, text)
    text = FUNCTION.sub(lambda found: "@" + look_up(LIBDEVICE, found[1]), text)
    text = re.sub(rf"^(declare i32 @(?:{'|'.join(PLACES.values())})\(\))", rf"\1 {SAME}", text, flags=re.MULTILINE)
    text = re.sub(rf"^(define .*|declare .* @(?:{MEETINGS})\(.*\))$", r"\1 convergent", text, flags=re.MULTILINE)
    declared = set(re.findall(r"^declare .* @(\w+)\(", text, flags=re.MULTILINE))
    return text + "".join(line for name, line in used.items() if name not in declared)


def look_up(table: dict, key: Any) -> str:
    if key not in table:
        raise EmulationError(f"{key!r} is in a kernel, and the tables of translation.py do not know it")
    return table[key]


LOAD = re.compile(
    r"^( *)%\S+ = load (?:volatile )?(<[^>]*>|\{.*?\}|\S+), ptr (%\S+|@\S+), align (\d+).*$", re.MULTILINE
)
STORE = re.compile(r"^( *)store (?:volatile )?(<[^>]*>|\S+) .*, ptr (%\S+|@\S+), align (\d+).*$", re.MULTILINE)


MEETING = re.compile(rf"(call .*|declare .*)@({MEETINGS})\((.*?)\)")


def checked(text: str) -> str:
    """Optimised code with a check before every access to memory; every place where threads meet tells its number."""
    numbers = count()

    def with_number(found):
        before, name, arguments = found.groups()
        number = "i32" if before.startswith("declare") else f"i32 {next(numbers)}"
        return f"{before}@{name}({', '.join(filter(None, (arguments, number)))})"

    def with_check(found):
        indent, kind, pointer, alignment = found.groups()
        if pointer.startswith("@"):
            return found[0]
        return f"{indent}call void @{CHECK}(ptr {pointer}, i32 {size_of(kind)}, i32 {alignment})\n{found[0]}"

    text = MEETING.sub(with_number, text)
    return STORE.sub(with_check, LOAD.sub(with_check, text)) + f"\ndeclare void @{CHECK}(ptr, i32, i32)\n"


def entry(name: str, kinds: list[str]) -> str:
    """A function of one argument: where each argument of the kernel lies."""
    lines = []
    for k, kind in enumerate(kinds):
        lines += [f"%at{k} = getelementptr ptr, ptr %all, i64 {k}", f"%place{k} = load ptr, ptr %at{k}"]
        lines += [f"%value{k} = load {kind}, ptr %place{k}"]
    given = ", ".join(f"{kind} %value{k}" for k, kind in enumerate(kinds))
    body = "\n".join([*lines, f'call void @"{name}"({given})', "ret void"])
    return f'declare void @"{name}"({", ".join(kinds)})\ndefine void @machine_entry(ptr %all) {{\n{body}\n}}\n'

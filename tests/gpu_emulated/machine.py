"""Kernels run on the CPU: the LLVM code that numba-cuda hands to NVIDIA's compiler, compiled for this processor.

Types are inferred and code is made as for the device; only what follows differs. Each CUDA thread is a fibre
(machine.c). What the device's instructions do is spelt in CALLS, ASSEMBLY and LIBDEVICE; any other is refused by name.

    run(kernel, grid, threads, arguments)    one launch on NumPy arrays, which needs no driver
    install(library)                         launches of numba-cuda itself, through the stand-in for NVIDIA's driver

Every access to memory is checked: it has to lie in an argument's array, in shared memory or on the thread's stack, and
to be aligned as the code promises. Shared arrays lie where their declared alignment just allows it; they, local arrays
(which Numba fills with zeros) and what is being copied into shared memory hold NaN until they are written.
"""

from __future__ import annotations

import atexit
import ctypes
import ctypes.util
import re
import shutil
import subprocess
import tempfile
import threading
import traceback
from functools import cache, wraps
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba.cuda.dispatcher
import numpy as np
from numba.cuda import types

SEED: int | None = None  # of the scheduler; None: first come, first served
STATIC_SHARED_BYTES, MOST_THREADS = 48 * 1024, 1024  # of a block

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


# ---------------------------------------------------------------------------------------------- the code of a kernel


class Shared:
    """The shared arrays of a block, each as little aligned as it is declared."""

    def __init__(self) -> None:
        self.bytes, self.offsets = 0, {}  # type: ignore[var-annotated]

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
        raise EmulationError(f"{key!r} is in a kernel, and the tables of machine.py do not know it")
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


class Program(NamedTuple):
    """A compiled kernel."""

    address: int
    shared_bytes: int
    cluster: int  # blocks that start side by side
    engine: Any  # owns the machine code


def compiled(name: str, texts: list[str]) -> Program:
    """The kernel of this name from the code of its modules."""
    shared = Shared()
    whole = llvm.parse_assembly(translate(texts[0], shared))
    for text in texts[1:]:
        whole.link_in(llvm.parse_assembly(translate(text, shared)))
    for function in whole.functions:
        if not function.is_declaration and function.name != name:
            function.linkage = "internal"
    whole = llvm.parse_assembly(checked(str(optimised(whole))))
    kernel = whole.get_function(name)
    kinds = [str(argument.type) for argument in kernel.arguments]
    whole.link_in(llvm.parse_assembly(entry(name, kinds)))
    whole.verify()
    for function in whole.functions:
        known = function.name.startswith("llvm.") or function.name in {*IN_C, *LIBDEVICE.values()}
        if function.is_declaration and not known:
            raise EmulationError(f"{function.name!r} is called by {name}, and nobody defines it")
    c()  # its functions are known from here on
    engine = llvm.create_mcjit_compiler(whole, target_machine())
    engine.finalize_object()
    cluster = int((CLUSTER.findall(texts[0]) or [1])[0])
    return Program(engine.get_function_address("machine_entry"), shared.bytes, cluster, engine)


def entry(name: str, kinds: list[str]) -> str:
    """A function of one argument: where each argument of the kernel lies."""
    lines = []
    for k, kind in enumerate(kinds):
        lines += [f"%at{k} = getelementptr ptr, ptr %all, i64 {k}", f"%place{k} = load ptr, ptr %at{k}"]
        lines += [f"%value{k} = load {kind}, ptr %place{k}"]
    given = ", ".join(f"{kind} %value{k}" for k, kind in enumerate(kinds))
    body = "\n".join([*lines, f'call void @"{name}"({given})', "ret void"])
    return f'declare void @"{name}"({", ".join(kinds)})\ndefine void @machine_entry(ptr %all) {{\n{body}\n}}\n'


def target_machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=2, jit=True)


def optimised(module: Any) -> Any:
    machine = target_machine()
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    builder.getModulePassManager().run(module, builder)
    return module


@cache
def c() -> Any:
    """machine.c, compiled and known to the code of kernels."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise EmulationError("no C compiler: the emulated device needs one")
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    source, path = Path(__file__).with_name("machine.c"), Path(folder, "machine.so")
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE", "-shared", "-fPIC"]
    subprocess.run([compiler, *options, "-o", path, source, "-lm"], check=True)
    library = ctypes.CDLL(str(path))
    library.machine_launch.restype = ctypes.c_char_p
    llvm.load_library_permanently(ctypes.util.find_library("m"))
    for name in IN_C:
        llvm.add_symbol(name, ctypes.cast(getattr(library, name), ctypes.c_void_p).value)
    return library


# ----------------------------------------------------------------------------------------------------------- launches


class Range(ctypes.Structure):
    _fields_ = (("begin", ctypes.c_void_p), ("end", ctypes.c_void_p))


def ranges(argument_types: tuple, parameters: Any) -> list[tuple[int, int]]:
    """The memory of the arrays among a kernel's arguments, which lie one after another at `parameters`."""
    found, at = [], 0

    def number(k):
        return ctypes.cast(parameters[k], ctypes.POINTER(ctypes.c_int64))[0]

    def walk(kind):
        nonlocal at
        if isinstance(kind, types.Array):
            shape = [number(at + 5 + k) for k in range(kind.ndim)]
            strides = [number(at + 5 + kind.ndim + k) for k in range(kind.ndim)]
            reach = number(at + 3) + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
            found.append((number(at + 4), number(at + 4) + (reach if all(shape) else 0)))
            at += 5 + 2 * kind.ndim
        elif isinstance(kind, types.BaseTuple):
            for each in kind:
                walk(each)
        else:
            at += 1

    for kind in argument_types:
        walk(kind)
    return found


PROGRAMS: dict[str, Program] = {}
LAUNCHING = threading.Lock()


def launch(made: Any, grid: tuple, block: tuple, parameters: Any, together: bool) -> None:
    """Run a compiled _Kernel of numba-cuda on `parameters`, void pointers to its arguments."""
    with LAUNCHING:
        if made.entry_name not in PROGRAMS:
            PROGRAMS[made.entry_name] = compiled(made.entry_name, made._codelibrary.llvm_strs)
        program, threads = PROGRAMS[made.entry_name], int(np.prod(block))
        bound = made.launch_bounds[0] if made.launch_bounds else MOST_THREADS
        if threads > bound:
            raise EmulationError(f"{threads} threads, more than the {bound} for which the kernel was compiled")
        if program.shared_bytes > STATIC_SHARED_BYTES:
            raise EmulationError(f"{program.shared_bytes} bytes of shared memory, more than a block has")
        arrays = ranges(made.argument_types, parameters)
        places = (Range * len(arrays))(*arrays)
        sizes = [(ctypes.c_uint * 3)(*numbers) for numbers in (grid, block)]
        message = c().machine_launch(
            ctypes.c_void_p(program.address), parameters, *sizes, program.shared_bytes, int(together), program.cluster,
            ctypes.c_uint64(0 if SEED is None else SEED + 1), places, len(arrays),
        )  # fmt: skip
    if message:
        raise EmulationError(f"{made.py_func.__name__}: {message.decode()}")


# --------------------------------------------------------------------------------- launches that come from a driver

KERNELS: dict[str, Any] = {}
FAILURES: list[Exception] = []  # a driver hands on no more than a number
HOOK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_char_p, *(ctypes.c_uint,) * 7, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p)
)


@HOOK
def on_launch(name, gx, gy, gz, bx, by, bz, shared_bytes, together, parameters):
    try:
        if shared_bytes:
            raise EmulationError("shared memory whose size the launch says is not emulated")
        launch(KERNELS[name.decode()], (gx, gy, gz), (bx, by, bz), parameters, bool(together))
    except Exception as error:
        FAILURES.append(error)
        traceback.print_exc()
        return 1
    return 0


def install(library: Any) -> None:
    """Every kernel that numba-cuda makes from now on runs here when `library`, a driver's stand-in, launches it."""
    make = numba.cuda.dispatcher._Kernel.__init__

    @wraps(make)
    def noted(self, *arguments, **options):
        make(self, *arguments, **options)
        KERNELS[self.entry_name] = self

    numba.cuda.dispatcher._Kernel.__init__ = noted
    library.emulated_set_launch(on_launch)


# -------------------------------------------------------------------------------------------- launches without one

MADE: dict[tuple, Any] = {}


def run(kernel: Any, grid: tuple[int, int, int], threads: int, arguments: tuple) -> None:
    """Launch a kernel on NumPy arrays."""
    kinds = tuple(kernel.typeof_pyval(value) for value in arguments)
    if (kernel, kinds) not in MADE:
        MADE[kernel, kinds] = numba.cuda.dispatcher._Kernel(kernel.py_func, kinds, **kernel.targetoptions)
    made, flat = MADE[kernel, kinds], []

    def flatten(kind, value):
        if isinstance(kind, types.Array):
            flat.extend((0, 0, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides))
        elif isinstance(kind, types.BaseTuple):
            for one, each in zip(kind, value, strict=True):
                flatten(one, each)
        else:
            made._prepare_args(kind, value, 0, [], flat)

    for kind, value in zip(kinds, arguments, strict=True):
        flatten(kind, value)
    values = [ctypes.c_int64(value) if isinstance(value, int) else value for value in flat]
    pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
    launch(made, grid, (threads, 1, 1), pointers, made.cooperative)

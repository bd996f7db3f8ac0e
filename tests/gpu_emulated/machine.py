"""Kernels run on the CPU: the LLVM code that numba-cuda hands to NVIDIA's compiler, compiled for this processor.

Types are inferred and code is made as for the device; only what follows differs (translation.py). Each CUDA thread is
a fibre (machine.c).

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
import shutil
import subprocess
import tempfile
import threading
import traceback
from functools import cache, wraps
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba.cuda.dispatcher
import numpy as np
from numba.cuda import types
from translation import CLUSTER, IN_C, LIBDEVICE, EmulationError, Shared, checked, entry, translate

SEED: int | None = None  # of the scheduler; None: first come, first served
STATIC_SHARED_BYTES, MOST_THREADS = 48 * 1024, 1024  # of a block


# ---------------------------------------------------------------------------------------------- the code of a kernel


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
    """machine.c and calls.c, compiled and known to the code of kernels."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise EmulationError("no C compiler: the emulated device needs one")
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    sources, path = [Path(__file__).with_name(name) for name in ("machine.c", "calls.c")], Path(folder, "machine.so")
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-Wl,-Bsymbolic"]
    subprocess.run([compiler, *options, "-o", path, *sources, "-lm"], check=True)
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
        bounds = getattr(made, "launch_bounds", None)  # what comes from the disk has none
        bound = bounds[0] if bounds else MOST_THREADS
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
        raise EmulationError(f"{made.entry_name}: {message.decode()}")


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

    kept = numba.cuda.dispatcher._Kernel._rebuild

    def noted_from_disk(**state):
        found = kept(**state)
        KERNELS[found.entry_name] = found
        return found

    numba.cuda.dispatcher._Kernel.__init__ = noted
    numba.cuda.dispatcher._Kernel._rebuild = staticmethod(noted_from_disk)
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

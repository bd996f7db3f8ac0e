/* What a cubin, an ELF file, says of its kernels: sections .nv.info, .nv.info.NAME and .nv.shared.NAME. */

#include "emulated.h"
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 0x05, PARAMETER = 0x17, REGISTERS = 0x2f, CLUSTER = 0x3d, WITH_SIZE = 4, ENTRY = 0x10 };

typedef struct {
    const char *file;
    const Elf64_Shdr *sections;
    const char *names;
    int count;
} Elf;

static const Elf64_Shdr *section(const Elf *elf, const char *kind, const char *name) {
    char wanted[1100];
    snprintf(wanted, sizeof wanted, "%s%s", kind, name);
    for (int i = 0; i < elf->count; i++)
        if (!strcmp(elf->names + elf->sections[i].sh_name, wanted)) return &elf->sections[i];
    return NULL;
}

/* The attributes in a section that say something about a kernel. */
static void attributes(const Elf *elf, const Elf64_Shdr *info, int symbol, Kernel *kernel) {
    const char *p = elf->file + info->sh_offset, *end = p + info->sh_size;
    while (p < end) {
        uint8_t format = (uint8_t)p[0], attribute = (uint8_t)p[1];
        uint16_t size;
        uint32_t values[3] = {0};
        memcpy(&size, p + 2, sizeof size);
        p += 4;
        if (format != WITH_SIZE) continue;
        memcpy(values, p, size < sizeof values ? size : sizeof values);
        if (attribute == MAX_THREADS) kernel->most_threads = (int)(values[0] * values[1] * values[2]);
        if (attribute == CLUSTER) memcpy(kernel->cluster, values, sizeof kernel->cluster);
        if (attribute == REGISTERS && (int)values[0] == symbol) kernel->registers = (int)values[1];
        int ordinal = values[1] & 0xFFFF;
        if (attribute == PARAMETER && ordinal < PARAMETERS) { /* index; ordinal, offset; size from bit 18 on */
            kernel->sizes[ordinal] = (unsigned short)(values[2] >> 18);
            if (ordinal >= kernel->parameters) kernel->parameters = ordinal + 1;
        }
        p += size;
    }
}

int read_cubin(const void *image, Kernel **kernels) {
    const char *file = image;
    const Elf64_Ehdr *head = image;
    if (memcmp(head->e_ident, ELFMAG, SELFMAG)) return -1;
    Elf elf = {.file = file, .sections = (const void *)(file + head->e_shoff), .count = head->e_shnum};
    elf.names = file + elf.sections[head->e_shstrndx].sh_offset;
    const Elf64_Shdr *table = section(&elf, ".symtab", ""), *all = section(&elf, ".nv.info", "");
    if (!table || !all) return -1;
    const Elf64_Sym *symbols = (const void *)(file + table->sh_offset);
    int found = 0, count = (int)(table->sh_size / sizeof *symbols);
    *kernels = NULL;
    for (int i = 0; i < count; i++) {
        if (!(symbols[i].st_other & ENTRY)) continue;
        const char *name = file + elf.sections[table->sh_link].sh_offset + symbols[i].st_name;
        const Elf64_Shdr *own = section(&elf, ".nv.info.", name), *shared = section(&elf, ".nv.shared.", name);
        *kernels = realloc(*kernels, (size_t)(found + 1) * sizeof **kernels);
        Kernel *kernel = &(*kernels)[found++];
        memset(kernel, 0, sizeof *kernel);
        kernel->cluster[0] = kernel->cluster[1] = kernel->cluster[2] = 1;
        snprintf(kernel->name, sizeof kernel->name, "%s", name);
        kernel->shared = shared ? (int)shared->sh_size : 0;
        attributes(&elf, all, i, kernel);
        if (own) attributes(&elf, own, i, kernel);
    }
    return found;
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
// Starts a program in whose family the kernel refuses some calls, as the filters of containers do:
//     refuse CALL... -- PROGRAM [ARGUMENT...]
// CALL is process_vm_readv, process_vm_writev or memfd_create. They answer EPERM. Not an MPI
// program.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "which architecture is this?"
#endif

static const struct {
    const char *name;
    int number;
} calls[] = {
    {"process_vm_readv", SYS_process_vm_readv},
    {"process_vm_writev", SYS_process_vm_writev},
    {"memfd_create", SYS_memfd_create},
};

#define CALLS (sizeof calls / sizeof *calls)

static int number_of(const char *name) {
    for (size_t i = 0; i < CALLS; i++)
        if (strcmp(calls[i].name, name) == 0) return calls[i].number;
    fprintf(stderr, "refuse: no call '%s' here\n", name);
    exit(2);
}

int main(int argc, char **argv) {
    struct sock_filter text[16];
    int length = 0, at = 1;
    // Another architecture's calls have other numbers: let them be.
    text[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                                  offsetof(struct seccomp_data, arch));
    text[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    text[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    text[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                                  offsetof(struct seccomp_data, nr));
    for (; at < argc && strcmp(argv[at], "--") != 0 && length < 12; at++) {
        int number = number_of(argv[at]);
        text[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1);
        text[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    }
    text[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    if (at + 1 >= argc) {
        fprintf(stderr, "usage: refuse CALL... -- PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    struct sock_fprog program = {.len = (unsigned short)length, .filter = text};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) {
        perror("refuse: the kernel takes no filter");
        return 3;
    }
    execvp(argv[at + 1], argv + at + 1);
    perror(argv[at + 1]);
    return 127;
}

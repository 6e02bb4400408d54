// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The texts that the installed tree holds beside binaries: compiler wrappers, pkg-config files.
//!
//! Invariant: no text contains the prefix. Each finds its tree from its own place, so that the
//! tree works after `mv`.

/// `bin/mpicc` and `bin/mpicxx`. `variable` names the environment variable that replaces the
/// compiler, `compiler` is what is used without it.
pub fn compiler(variable: &str, compiler: &str) -> String {
    COMPILER.replace("@VARIABLE@", variable).replace("@COMPILER@", compiler)
}

/// `lib/pkgconfig/NAME.pc`.
pub fn pkg_config(name: &str, version: &str) -> String {
    PKG_CONFIG.replace("@NAME@", name).replace("@VERSION@", version)
}

const COMPILER: &str = r#"#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# Compiles and links an MPI program against the standard ABI of this Strait tree.
# The tree is found from this file's own place, so it may be moved as a whole.
#   -show             print the command instead of running it
#   -compile-info     print only what compiling needs     (also -showme:compile)
#   -link-info        print only what linking needs       (also -showme:link)
#   @VARIABLE@=NAME   use another compiler
self=$(readlink -f -- "$0") || exit 1
prefix=${self%/bin/*}
compiler=${@VARIABLE@:-@COMPILER@}
include="-I$prefix/include"
library="-L$prefix/lib -Wl,-rpath,$prefix/lib -Wl,--enable-new-dtags -lmpi_abi"
show=no
link=yes
input=no
for word do
    shift
    case $word in
        -show | -showme) show=all; continue ;;
        -compile-info | -compile_info | -showme:compile | --showme:compile)
            show=compile; continue ;;
        -link-info | -link_info | -showme:link | --showme:link)
            show=link; continue ;;
        -showme:version | --showme:version) echo "Strait"; exit 0 ;;
        -c | -S | -E | -M | -MM | -fsyntax-only) link=no ;;
        -v | --version | -dumpversion | -dumpmachine | -print-*) ;;
        *) input=yes ;;
    esac
    set -- "$@" "$word"
done
case $show in
    compile) printf '%s\n' "$include"; exit 0 ;;
    link) printf '%s\n' "$library"; exit 0 ;;
    all) printf '%s' "$compiler $include"; [ $# -eq 0 ] || printf ' %s' "$@"
         [ $link = no ] || printf ' %s' "$library"; printf '\n'; exit 0 ;;
esac
# A bare `mpicc -v` asks the compiler something; there is nothing to link.
[ $input = yes ] || exec $compiler "$@"
if [ $link = no ]; then
    exec $compiler "-I$prefix/include" "$@"
fi
exec $compiler "-I$prefix/include" "$@" \
    "-L$prefix/lib" "-Wl,-rpath,$prefix/lib" -Wl,--enable-new-dtags -lmpi_abi
"#;

const PKG_CONFIG: &str = r#"# SPDX-License-Identifier: Apache-2.0 OR MIT
prefix=${pcfiledir}/../..
includedir=${prefix}/include
libdir=${prefix}/lib

Name: @NAME@
Description: Strait, an MPI library, behind the standard MPI ABI
Version: @VERSION@
Cflags: -I${includedir}
Libs: -L${libdir} -lmpi_abi
"#;

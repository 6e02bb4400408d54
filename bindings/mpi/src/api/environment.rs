// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a program may ask about the library and its host: versions, names, time, memory
//! (MPI-5.0 chapter 9).
//!
//! Versions, time and addresses may be asked at any time; they touch no runtime and no lock.

use crate::abi::{Abi, HandleKind};
use crate::api::arguments::{handle, out, put_string};
use crate::api::info::info_argument;
use crate::entry::{any_time, on_process};
use crate::error::{Result, class, error};
use crate::object::info::InfoData;
use std::ffi::{c_char, c_int, c_void};

/// The version of the standard that both faces speak.
const VERSION: (c_int, c_int) = (5, 0);

/// Alignment of MPI_Alloc_mem: a cache line, and enough for any vector instruction.
const ALIGNMENT: usize = 64;

pub unsafe fn MPI_Get_version<A: Abi>(version: *mut c_int, subversion: *mut c_int) -> c_int {
    any_time::<A>("MPI_Get_version", |_| {
        // SAFETY: writable, says the caller.
        unsafe {
            *out(version, "version")? = VERSION.0;
            *out(subversion, "subversion")? = VERSION.1;
        }
        Ok(())
    })
}

/// Programs (mpi4py among them) look for the names of other libraries in this text: it has none.
fn library_version<A: Abi>() -> String {
    let (version, library) = (env!("CARGO_PKG_VERSION"), A::SONAME);
    format!("Strait {version} ({library}, {})", std::env::consts::ARCH)
}

pub unsafe fn MPI_Get_library_version<A: Abi>(
    version: *mut c_char,
    resultlen: *mut c_int,
) -> c_int {
    any_time::<A>("MPI_Get_library_version", |_| {
        let text = library_version::<A>();
        // SAFETY: the caller's array is as long as its mpi.h says.
        unsafe {
            let length = put_string(&text, out(version, "version")?, A::LIMITS.library_version);
            *out(resultlen, "resultlen")? = length;
        }
        Ok(())
    })
}

fn host_name() -> String {
    let mut name = [0u8; 256];
    // SAFETY: the buffer is as long as said; one byte is kept as a terminator.
    let result = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let length = name.iter().position(|byte| *byte == 0).unwrap_or(0);
    match result {
        0 => String::from_utf8_lossy(&name[..length]).into_owned(),
        _ => "localhost".to_string(),
    }
}

pub unsafe fn MPI_Get_processor_name<A: Abi>(name: *mut c_char, resultlen: *mut c_int) -> c_int {
    any_time::<A>("MPI_Get_processor_name", |entry| {
        let host = entry.map_or_else(host_name, |entry| entry.job.host.to_string());
        // SAFETY: the caller's array is as long as its mpi.h says.
        unsafe {
            let length = put_string(&host, out(name, "name")?, A::LIMITS.processor_name);
            *out(resultlen, "resultlen")? = length;
        }
        Ok(())
    })
}

fn seconds(clock: unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable; the monotonic clock exists on every Linux.
    unsafe { clock(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

pub unsafe fn MPI_Wtime<A: Abi>() -> f64 {
    seconds(libc::clock_gettime)
}

pub unsafe fn MPI_Wtick<A: Abi>() -> f64 {
    seconds(libc::clock_getres)
}

/// Profilers give it a meaning; the library has none for it.
pub unsafe fn MPI_Pcontrol<A: Abi>(level: c_int) -> c_int {
    let _ = level;
    0
}

/// What the key `mpi_minimum_memory_alignment` asks for.
fn alignment(info: &InfoData) -> Result<usize> {
    let Some(text) = info.get("mpi_minimum_memory_alignment") else { return Ok(ALIGNMENT) };
    match text.parse::<usize>() {
        Ok(bytes) if bytes.is_power_of_two() => Ok(bytes.max(ALIGNMENT)),
        _ => error(
            class::INFO_VALUE,
            format!("mpi_minimum_memory_alignment is {text:?}; it must be a power of two"),
        ),
    }
}

pub unsafe fn MPI_Alloc_mem<A: Abi>(size: isize, info: A::Handle, baseptr: *mut c_void) -> c_int {
    on_process::<A>("MPI_Alloc_mem", |entry| {
        let Ok(bytes) = usize::try_from(size) else {
            return error(class::ARG, format!("the size is {size}; it must not be negative"));
        };
        let alignment = match info_argument::<A>(entry, info)? {
            Some(data) => alignment(&data)?,
            None => ALIGNMENT,
        };
        let place = out(baseptr.cast::<*mut c_void>(), "baseptr")?;
        let mut memory = std::ptr::null_mut();
        // SAFETY: the alignment is a power of two and a multiple of a pointer's size.
        if unsafe { libc::posix_memalign(&mut memory, alignment, bytes.max(1)) } != 0 {
            return error(class::NO_MEM, format!("the system has no {bytes} bytes of memory"));
        }
        // SAFETY: writable, says the caller.
        unsafe { *place = memory };
        Ok(())
    })
}

pub unsafe fn MPI_Free_mem<A: Abi>(base: *mut c_void) -> c_int {
    // SAFETY: it came from MPI_Alloc_mem (or is NULL), says the caller.
    unsafe { libc::free(base) };
    0
}

/// One kind of hardware is known to be shared by what a process talks to: its memory.
pub unsafe fn MPI_Get_hw_resource_info<A: Abi>(hw_info: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Get_hw_resource_info", |entry| {
        let place = out(hw_info, "hw_info")?;
        let mut data = InfoData::default();
        data.set("mpi_shared_memory", "true");
        let code = entry.infos.insert(data);
        // SAFETY: writable, says the caller.
        unsafe { *place = handle::<A>(HandleKind::Info, code)? };
        Ok(())
    })
}

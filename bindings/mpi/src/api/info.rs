// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Info objects (MPI-5.0 chapter 10), and MPI_INFO_ENV, which is made anew each time it is read.

use crate::abi::{Abi, Code, HandleKind};
use crate::api::arguments::{handle, out, put_string, string};
use crate::entry::{Entry, on_process};
use crate::error::{Result, advise, class, error};
use crate::object::info::InfoData;
use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_int};

/// Code of MPI_INFO_NULL.
pub const INFO_NULL: Code = 0x130;
/// Code of MPI_INFO_ENV.
pub const INFO_ENV: Code = 0x131;

/// Longest key in both ABIs, terminator not included.
const MAX_KEY: usize = 255;

/// The object of an info argument that must be one.
fn existing<A: Abi>(entry: &Entry, info: A::Handle) -> Result<Cow<'_, InfoData>> {
    let code = A::handle_in(HandleKind::Info, info);
    if code == INFO_ENV {
        return Ok(Cow::Owned(environment(entry)));
    }
    match entry.infos.get(code) {
        Some(data) => Ok(Cow::Borrowed(data)),
        None => bad_info(code),
    }
}

/// The same to be changed.
fn changeable<A: Abi>(entry: &mut Entry, info: A::Handle) -> Result<&mut InfoData> {
    let code = A::handle_in(HandleKind::Info, info);
    match entry.infos.get_mut(code) {
        Some(data) => Ok(data),
        None => bad_info(code),
    }
}

/// An info argument that may be MPI_INFO_NULL.
pub fn info_argument<A: Abi>(entry: &Entry, info: A::Handle) -> Result<Option<Cow<'_, InfoData>>> {
    match A::handle_in(HandleKind::Info, info) {
        INFO_NULL => Ok(None),
        _ => existing::<A>(entry, info).map(Some),
    }
}

#[cold]
fn bad_info<T>(code: Code) -> Result<T> {
    match code {
        INFO_NULL => error(class::INFO, "the info object is MPI_INFO_NULL"),
        INFO_ENV => error(class::INFO, "MPI_INFO_ENV can be read only"),
        _ => Err(advise(
            class::INFO,
            format!("{code:#x} is not an info object"),
            "it may have been freed, or come from another MPI library's mpi.h",
        )),
    }
}

/// What MPI_INFO_ENV says of this process.
fn environment(entry: &Entry) -> InfoData {
    let mut words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let mut data = InfoData::default();
    let mut set = |key: &str, value: &str| {
        if !value.is_empty() {
            data.set(key, value);
        }
    };
    set("command", &words.next().unwrap_or_default());
    set("argv", &words.collect::<Vec<_>>().join(" "));
    set("maxprocs", &entry.job.size.to_string());
    set("host", &entry.job.host);
    set("arch", std::env::consts::ARCH);
    let folder = std::env::current_dir().unwrap_or_default();
    set("wdir", &folder.to_string_lossy());
    set("thread_level", level_name(entry.thread_level));
    data
}

/// How info objects name a canonical thread level.
pub fn level_name(level: c_int) -> &'static str {
    match level {
        0 => "MPI_THREAD_SINGLE",
        1024 => "MPI_THREAD_FUNNELED",
        2048 => "MPI_THREAD_SERIALIZED",
        _ => "MPI_THREAD_MULTIPLE",
    }
}

/// A key argument.
///
/// # Safety
/// `key` is NULL or a C string.
unsafe fn key_argument(key: *const c_char) -> Result<String> {
    // SAFETY: the caller's promise.
    let text = unsafe { string(key) }?;
    match text.len() {
        0 => error(class::INFO_KEY, "the key is empty"),
        1..=MAX_KEY => Ok(text),
        length => error(
            class::INFO_KEY,
            format!("the key has {length} characters; {MAX_KEY} is the most"),
        ),
    }
}

pub unsafe fn MPI_Info_create<A: Abi>(info: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Info_create", |entry| give::<A>(entry, info, InfoData::default()))
}

fn give<A: Abi>(entry: &mut Entry, info: *mut A::Handle, data: InfoData) -> Result {
    let place = out(info, "info")?;
    let code = entry.infos.insert(data);
    // SAFETY: writable, says the caller.
    unsafe { *place = handle::<A>(HandleKind::Info, code)? };
    Ok(())
}

pub unsafe fn MPI_Info_create_env<A: Abi>(
    argc: c_int,
    argv: *mut *mut c_char,
    info: *mut A::Handle,
) -> c_int {
    on_process::<A>("MPI_Info_create_env", |entry| {
        let mut data = environment(entry);
        let mut words = Vec::new();
        for i in 0..usize::try_from(argc).unwrap_or(0) {
            if argv.is_null() {
                break;
            }
            // SAFETY: `argc` strings, or fewer and NULL, says the caller.
            let word = unsafe { *argv.add(i) };
            if word.is_null() {
                break;
            }
            // SAFETY: as above.
            words.push(unsafe { CStr::from_ptr(word) }.to_string_lossy().into_owned());
        }
        if let Some((command, arguments)) = words.split_first() {
            data.set("command", command);
            data.set("argv", &arguments.join(" "));
        }
        give::<A>(entry, info, data)
    })
}

pub unsafe fn MPI_Info_free<A: Abi>(info: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Info_free", |entry| {
        let place = out(info, "info")?;
        // SAFETY: readable, says the caller.
        let code = A::handle_in(HandleKind::Info, unsafe { *place });
        if entry.infos.remove(code).is_none() {
            return bad_info(code);
        }
        // SAFETY: writable, says the caller.
        unsafe { *place = A::handle_out(HandleKind::Info, INFO_NULL) };
        Ok(())
    })
}

pub unsafe fn MPI_Info_dup<A: Abi>(info: A::Handle, newinfo: *mut A::Handle) -> c_int {
    on_process::<A>("MPI_Info_dup", |entry| {
        let data = existing::<A>(entry, info)?.into_owned();
        give::<A>(entry, newinfo, data)
    })
}

pub unsafe fn MPI_Info_set<A: Abi>(
    info: A::Handle,
    key: *const c_char,
    value: *const c_char,
) -> c_int {
    on_process::<A>("MPI_Info_set", |entry| {
        let data = changeable::<A>(entry, info)?;
        // SAFETY: both are C strings, says the caller.
        let (key, value) = unsafe { (key_argument(key)?, string(value)?) };
        let most = A::LIMITS.info_value - 1;
        if value.len() > most {
            let length = value.len();
            let text = format!("the value of {key} has {length} characters; {most} is the most");
            return error(class::INFO_VALUE, text);
        }
        data.set(&key, &value);
        Ok(())
    })
}

pub unsafe fn MPI_Info_delete<A: Abi>(info: A::Handle, key: *const c_char) -> c_int {
    on_process::<A>("MPI_Info_delete", |entry| {
        let data = changeable::<A>(entry, info)?;
        // SAFETY: a C string, says the caller.
        let key = unsafe { key_argument(key) }?;
        match data.remove(&key) {
            true => Ok(()),
            false => error(class::INFO_NOKEY, format!("the info object has no key {key}")),
        }
    })
}

/// Reads the value of a key, writes whether it is there.
unsafe fn look_up<A: Abi>(
    name: &'static str,
    info: A::Handle,
    key: *const c_char,
    flag: *mut c_int,
    found: impl FnOnce(&str) -> Result,
) -> c_int {
    on_process::<A>(name, |entry| {
        let data = existing::<A>(entry, info)?;
        // SAFETY: a C string, says the caller.
        let key = unsafe { key_argument(key) }?;
        let flag = out(flag, "flag")?;
        let value = data.get(&key);
        // SAFETY: writable, says the caller.
        unsafe { *flag = c_int::from(value.is_some()) };
        value.map_or(Ok(()), found)
    })
}

pub unsafe fn MPI_Info_get<A: Abi>(
    info: A::Handle,
    key: *const c_char,
    valuelen: c_int,
    value: *mut c_char,
    flag: *mut c_int,
) -> c_int {
    let found = |text: &str| {
        let Ok(most) = usize::try_from(valuelen) else {
            return error(class::ARG, format!("valuelen is {valuelen}; it must not be negative"));
        };
        // SAFETY: `valuelen` bytes and a terminator, says the caller.
        unsafe { put_string(text, out(value, "value")?, most + 1) };
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { look_up::<A>("MPI_Info_get", info, key, flag, found) }
}

pub unsafe fn MPI_Info_get_valuelen<A: Abi>(
    info: A::Handle,
    key: *const c_char,
    valuelen: *mut c_int,
    flag: *mut c_int,
) -> c_int {
    let found = |text: &str| {
        // SAFETY: writable, says the caller.
        unsafe { *out(valuelen, "valuelen")? = text.len() as c_int };
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { look_up::<A>("MPI_Info_get_valuelen", info, key, flag, found) }
}

pub unsafe fn MPI_Info_get_string<A: Abi>(
    info: A::Handle,
    key: *const c_char,
    buflen: *mut c_int,
    value: *mut c_char,
    flag: *mut c_int,
) -> c_int {
    let found = |text: &str| {
        let place = out(buflen, "buflen")?;
        // SAFETY: readable, says the caller.
        let room = unsafe { *place };
        let Ok(room) = usize::try_from(room) else {
            return error(class::ARG, format!("buflen is {room}; it must not be negative"));
        };
        if room > 0 {
            // SAFETY: `buflen` bytes are writable, says the caller.
            unsafe { put_string(text, out(value, "value")?, room) };
        }
        // SAFETY: writable, says the caller.
        unsafe { *place = text.len() as c_int + 1 };
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { look_up::<A>("MPI_Info_get_string", info, key, flag, found) }
}

pub unsafe fn MPI_Info_get_nkeys<A: Abi>(info: A::Handle, nkeys: *mut c_int) -> c_int {
    on_process::<A>("MPI_Info_get_nkeys", |entry| {
        let count = existing::<A>(entry, info)?.len();
        // SAFETY: writable, says the caller.
        unsafe { *out(nkeys, "nkeys")? = count as c_int };
        Ok(())
    })
}

pub unsafe fn MPI_Info_get_nthkey<A: Abi>(info: A::Handle, n: c_int, key: *mut c_char) -> c_int {
    on_process::<A>("MPI_Info_get_nthkey", |entry| {
        let data = existing::<A>(entry, info)?;
        match usize::try_from(n).ok().and_then(|n| data.key(n)) {
            // SAFETY: room for the longest key, says the caller.
            Some(text) => unsafe { put_string(text, out(key, "key")?, MAX_KEY + 1) },
            None => {
                let text = format!("the key number is {n}, but there are {} keys", data.len());
                return error(class::ARG, text);
            }
        };
        Ok(())
    })
}

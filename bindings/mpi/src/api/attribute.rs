// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Attribute caching on communicators and datatypes (MPI-5.0 section 7.7). Windows get theirs with
//! one-sided communication.

use crate::abi::{Abi, Code, CopyFunction, Family, HandleKind};
use crate::api::arguments::{TAG_UB, out};
use crate::entry::{Entry, on_comm, on_process};
use crate::error::{Result, class, error, make};
use crate::object::attribute::{Attribute, AttributeTable, Keyval};
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::rc::Rc;
use strait_transport::bootstrap::contract::ENV_PROGRAM;

type CopyFn<H> =
    unsafe extern "C" fn(H, c_int, *mut c_void, *mut c_void, *mut c_void, *mut c_int) -> c_int;
type DeleteFn<H> = unsafe extern "C" fn(H, c_int, *mut c_void, *mut c_void) -> c_int;

fn failed<T>(what: &str, code: c_int) -> Result<T> {
    Err(make(code, format!("the {what} callback of an attribute returned {code}")))
}

/// Calls the delete callback of an attribute.
fn call_delete<A: Abi>(
    entry: &mut Entry,
    kind: HandleKind,
    object: Code,
    attribute: &Attribute,
) -> Result {
    let function = attribute.keyval.delete;
    if function.is_null() {
        return Ok(());
    }
    // SAFETY: the user passed a function of this type to MPI_*_create_keyval.
    let function = unsafe { std::mem::transmute::<*const c_void, DeleteFn<A::Handle>>(function) };
    let (handle, keyval) = (A::handle_out(kind, object), attribute.keyval_code);
    let (value, extra) = (attribute.value, attribute.keyval.extra_state);
    // SAFETY: as the user asked; the lock is not held.
    match entry.outside(|| unsafe { function(handle, keyval, value, extra) }) {
        0 => Ok(()),
        code => failed("delete", A::error_in(code)),
    }
}

/// Deletes all attributes of an object that is going away, the one set last first.
pub(crate) fn delete_all<A: Abi>(
    entry: &mut Entry,
    kind: HandleKind,
    object: Code,
    attributes: &RefCell<AttributeTable>,
) -> Result {
    loop {
        let Some(last) = attributes.borrow().last() else {
            return Ok(());
        };
        call_delete::<A>(entry, kind, object, &last)?;
        attributes.borrow_mut().remove(last.keyval_code);
    }
}

/// Copies the attributes of a duplicated object as their callbacks say.
pub(crate) fn copy_all<A: Abi>(
    entry: &mut Entry,
    kind: HandleKind,
    object: Code,
    from: &RefCell<AttributeTable>,
    to: &RefCell<AttributeTable>,
) -> Result {
    let all = from.borrow().all();
    for mut attribute in all {
        match attribute.keyval.copy {
            CopyFunction::Null => continue,
            CopyFunction::Dup => {}
            CopyFunction::User(function) => {
                // SAFETY: the user passed a function of this type to MPI_*_create_keyval.
                let function =
                    unsafe { std::mem::transmute::<*const c_void, CopyFn<A::Handle>>(function) };
                let (handle, keyval) = (A::handle_out(kind, object), attribute.keyval_code);
                let (extra, old) = (attribute.keyval.extra_state, attribute.value);
                let (mut new, mut keep) = (std::ptr::null_mut::<c_void>(), 0);
                let place: *mut c_void = (&raw mut new).cast();
                // SAFETY: as the user asked; the pointers are to live locals; the lock is not held.
                let code = entry
                    .outside(|| unsafe { function(handle, keyval, extra, old, place, &mut keep) });
                if code != 0 {
                    return failed("copy", A::error_in(code));
                }
                if keep == 0 {
                    continue;
                }
                attribute.value = new;
            }
        }
        to.borrow_mut().set(attribute);
    }
    Ok(())
}

pub(crate) unsafe fn create_keyval<A: Abi>(
    entry: &mut Entry,
    kind: HandleKind,
    (copy, delete): (*const c_void, *const c_void),
    keyval: *mut c_int,
    extra_state: *mut c_void,
) -> Result {
    let code = entry.next_keyval;
    entry.next_keyval += 1;
    let copy = A::copy_function(copy);
    let new = Keyval { kind, copy, delete, extra_state, freed: Cell::new(false) };
    entry.keyvals.insert(code, Rc::new(new));
    // SAFETY: checked not to be null; writable, says the caller.
    unsafe { *out(keyval, "keyval")? = code };
    Ok(())
}

pub(crate) unsafe fn free_keyval<A: Abi>(
    entry: &mut Entry,
    kind: HandleKind,
    keyval: *mut c_int,
) -> Result {
    // SAFETY: readable, says the caller.
    let code = unsafe { *out(keyval, "keyval")? };
    let known = lookup(entry, kind, code)?;
    known.freed.set(true);
    entry.keyvals.remove(&code);
    // SAFETY: writable, says the caller.
    unsafe { *keyval = A::constant_out(Family::Keyval, 0) };
    Ok(())
}

fn lookup(entry: &Entry, kind: HandleKind, code: c_int) -> Result<Rc<Keyval>> {
    match entry.keyvals.get(&code) {
        Some(keyval) if keyval.kind == kind => Ok(keyval.clone()),
        Some(keyval) => {
            error(class::KEYVAL, format!("the keyval is for a {:?}, not a {kind:?}", keyval.kind))
        }
        None => error(class::KEYVAL, format!("{code} is not a keyval of the user's")),
    }
}

pub(crate) fn set_attribute<A: Abi>(
    entry: &mut Entry,
    (kind, object): (HandleKind, Code),
    attributes: &RefCell<AttributeTable>,
    code: c_int,
    value: *mut c_void,
) -> Result {
    let keyval = lookup(entry, kind, code)?;
    let old = attributes.borrow().get(code).cloned();
    if let Some(old) = old {
        call_delete::<A>(entry, kind, object, &old)?;
    }
    attributes.borrow_mut().set(Attribute { keyval_code: code, keyval, value });
    Ok(())
}

pub(crate) fn delete_attribute<A: Abi>(
    entry: &mut Entry,
    (kind, object): (HandleKind, Code),
    attributes: &RefCell<AttributeTable>,
    code: c_int,
) -> Result {
    lookup(entry, kind, code)?;
    let old = attributes.borrow().get(code).cloned();
    let Some(old) = old else {
        // mpi4py and others delete what is not there; the standard leaves it open.
        return Ok(());
    };
    call_delete::<A>(entry, kind, object, &old)?;
    attributes.borrow_mut().remove(code);
    Ok(())
}

pub(crate) unsafe fn get_attribute(
    entry: &Entry,
    kind: HandleKind,
    attributes: &RefCell<AttributeTable>,
    code: c_int,
    value: *mut c_void,
    flag: *mut c_int,
) -> Result {
    let found = attributes.borrow().get(code).map(|a| a.value);
    if found.is_none() {
        lookup(entry, kind, code)?;
    }
    // SAFETY: `value` points to a pointer and both are writable, says the caller.
    unsafe {
        if let Some(found) = found {
            *(value as *mut *mut c_void) = found;
        }
        *out(flag, "flag")? = c_int::from(found.is_some());
    }
    Ok(())
}

/// Values behind predefined attributes: calls give pointers to them.
static PREDEFINED: Predefined = Predefined {
    tag_ub: TAG_UB,
    universe_size: StaticInt(Cell::new(0)),
    last_used_code: StaticInt(Cell::new(0)),
    wtime_is_global: 0,
    io: StaticInt(Cell::new(0)),
    host: StaticInt(Cell::new(0)),
    appnum: StaticInt(Cell::new(0)),
};

struct Predefined {
    tag_ub: c_int,
    universe_size: StaticInt,
    last_used_code: StaticInt,
    wtime_is_global: c_int,
    io: StaticInt,
    host: StaticInt,
    appnum: StaticInt,
}

/// A C int that is written with the entry lock held, and read by users through its address.
struct StaticInt(Cell<c_int>);
// SAFETY: written only with the entry lock held; every write stores the same value again, except
// for the last used code, which the user's own calls change.
unsafe impl Sync for StaticInt {}

impl StaticInt {
    fn with(&'static self, value: c_int) -> *const c_int {
        self.0.set(value);
        self.0.as_ptr()
    }
}

/// The value of a predefined attribute of MPI_COMM_WORLD; `None` if the keyval is not one.
fn predefined<A: Abi>(entry: &Entry, code: c_int) -> Option<*const c_int> {
    const ANY_SOURCE: c_int = -1;
    const PROC_NULL: c_int = -3;
    let attribute: *const c_int = match A::constant_in(Family::Keyval, code) {
        501 => &PREDEFINED.tag_ub,
        // Every process may do input and output.
        502 => PREDEFINED.io.with(A::rank_out(ANY_SOURCE)),
        503 => PREDEFINED.host.with(A::rank_out(PROC_NULL)),
        504 => &PREDEFINED.wtime_is_global,
        505 => PREDEFINED.appnum.with(app_number()),
        506 => PREDEFINED.last_used_code.with(A::error_out(entry.user_errors.last_used())),
        507 => PREDEFINED.universe_size.with(universe_size(entry)),
        _ => return None,
    };
    Some(attribute)
}

/// How many processes there may usefully be: on one host those that there are, or one for each
/// processor if these are more.
fn universe_size(entry: &Entry) -> c_int {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let is_one_host = entry.job.local_size == entry.job.size;
    (entry.job.size as c_int).max(if is_one_host { processors as c_int } else { 0 })
}

/// Which of mpiexec's programs this is (`:` starts the next one).
fn app_number() -> c_int {
    std::env::var(ENV_PROGRAM).ok().and_then(|n| n.parse().ok()).unwrap_or(0)
}

pub unsafe fn MPI_Comm_create_keyval<A: Abi>(
    comm_copy_attr_fn: *const c_void,
    comm_delete_attr_fn: *const c_void,
    comm_keyval: *mut c_int,
    extra_state: *mut c_void,
) -> c_int {
    on_process::<A>("MPI_Comm_create_keyval", |entry| {
        let functions = (comm_copy_attr_fn, comm_delete_attr_fn);
        // SAFETY: this function's own conditions.
        unsafe { create_keyval::<A>(entry, HandleKind::Comm, functions, comm_keyval, extra_state) }
    })
}

pub unsafe fn MPI_Comm_free_keyval<A: Abi>(comm_keyval: *mut c_int) -> c_int {
    on_process::<A>("MPI_Comm_free_keyval", |entry| {
        // SAFETY: this function's own conditions.
        unsafe { free_keyval::<A>(entry, HandleKind::Comm, comm_keyval) }
    })
}

pub unsafe fn MPI_Comm_set_attr<A: Abi>(
    comm: A::Handle,
    comm_keyval: c_int,
    attribute_val: *mut c_void,
) -> c_int {
    on_comm::<A>("MPI_Comm_set_attr", comm, |entry, comm| {
        let object = (HandleKind::Comm, comm.code.get());
        set_attribute::<A>(entry, object, &comm.attributes, comm_keyval, attribute_val)
    })
}

pub unsafe fn MPI_Comm_get_attr<A: Abi>(
    comm: A::Handle,
    comm_keyval: c_int,
    attribute_val: *mut c_void,
    flag: *mut c_int,
) -> c_int {
    on_comm::<A>("MPI_Comm_get_attr", comm, |entry, comm| {
        if let Some(value) = predefined::<A>(entry, comm_keyval) {
            // SAFETY: `attribute_val` points to a pointer, says the caller.
            unsafe {
                *(attribute_val as *mut *const c_int) = value;
                *out(flag, "flag")? = 1;
            }
            return Ok(());
        }
        let (kind, table) = (HandleKind::Comm, &comm.attributes);
        // SAFETY: this function's own conditions.
        unsafe { get_attribute(entry, kind, table, comm_keyval, attribute_val, flag) }
    })
}

pub unsafe fn MPI_Comm_delete_attr<A: Abi>(comm: A::Handle, comm_keyval: c_int) -> c_int {
    on_comm::<A>("MPI_Comm_delete_attr", comm, |entry, comm| {
        let object = (HandleKind::Comm, comm.code.get());
        delete_attribute::<A>(entry, object, &comm.attributes, comm_keyval)
    })
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Windows as objects: making, freeing, naming (MPI-5.0 sections 12.2 and 7.8).
//!
//! Memory of MPI_Win_allocate and MPI_Win_allocate_shared is one mapping that all members share
//! when they are on one host; MPI_Win_allocate falls back to private memory. What the members
//! decide together goes through `Circle::settle`: nobody is left waiting because one of them
//! refused.
//!
//! Not here: accesses (rma.rs) and their epochs (window_sync.rs).

use crate::abi::{Abi, CountOut, Family, HandleKind};
use crate::agreement::Circle;
use crate::api::arguments::{PROC_NULL, handle, out, put_string, string};
use crate::api::attribute::delete_all;
use crate::api::communicator::{MAX_OBJECT_NAME, agree, give_group, info_of};
use crate::api::errhandler::{acquire, describe, let_go};
use crate::entry::{Entry, on_comm, on_process, on_win};
use crate::error::{Result, class, error, make};
use crate::object::comm::{Comm, CommRef};
use crate::object::errhandler::ErrhandlerRef;
use crate::object::info::InfoData;
use crate::object::shared_memory::Mapping;
use crate::object::window::{Facts, Flavor, Region, UNIFIED, WIN_NULL, Win, WinRef, lay_out};
use crate::rma::control::Control;
use crate::rma::{network, origin};
use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int, c_void};
use std::rc::Rc;
use strait_transport::envelope::Peer;

/// Regions of MPI_Win_allocate, and of shared windows that may have gaps, begin at multiples of it:
/// two cache lines, since processors fetch them in pairs.
const REGION_ALIGNMENT: usize = 128;

/// What one member asks for.
struct Wish {
    flavor: Flavor,
    /// The user's memory, of MPI_Win_create.
    base: *mut c_void,
    bytes: isize,
    unit: i64,
    info: Result<InfoData>,
}

impl Wish {
    /// Refuses what no window can be.
    fn check(self, comm: &CommRef) -> Result<InfoData> {
        let Wish { flavor, base, bytes, unit, info } = self;
        if comm.is_inter() {
            return error(class::COMM, "a window needs an intracommunicator");
        }
        if bytes < 0 {
            return error(class::SIZE, format!("the size is {bytes}; it must not be negative"));
        }
        if unit <= 0 {
            return error(class::DISP, format!("disp_unit is {unit}; it must be positive"));
        }
        if flavor == Flavor::Create && base.is_null() && bytes > 0 {
            return error(class::BASE, format!("the base is NULL but the size is {bytes}"));
        }
        info
    }
}

/// Memory of a window that is about to be made.
struct Place {
    base: *mut c_void,
    memory: Option<Mapping>,
    shared: bool,
}

/// Makes the memory of a window that brings its own.
fn allocate(
    entry: &mut Entry,
    circle: &Circle,
    must_share: bool,
    one_host: bool,
    regions: &[Region],
    total: usize,
) -> Result<Place> {
    let mine = regions[circle.me];
    if must_share && !one_host {
        let text = "shared windows need all ranks on one host";
        let mut error = make(class::RMA_SHARED, text);
        error.help = "split the communicator with MPI_Comm_split_type(MPI_COMM_TYPE_SHARED) first";
        return Err(error);
    }
    if total == 0 {
        return Ok(Place { base: std::ptr::null_mut(), memory: None, shared: false });
    }
    if one_host {
        match circle.share(entry, total) {
            Ok(memory) => {
                let base = memory.base().wrapping_add(mine.offset).cast();
                return Ok(Place { base, memory: Some(memory), shared: true });
            }
            Err(error) if must_share => return Err(error),
            Err(_) => {}
        }
    }
    let bytes = mine.bytes.max(1);
    let memory = Mapping::private(bytes).map_err(|problem| {
        make(class::NO_MEM, format!("the system has no {bytes} bytes of memory: {problem}"))
    });
    let (memory, _) = circle.settle(entry, memory, [])?;
    Ok(Place { base: memory.base().cast(), memory: Some(memory), shared: false })
}

/// What the members know of each other's memory once it is there.
struct Ties {
    control: Control,
    /// Address of each member's region.
    addresses: Vec<u64>,
    /// All members reach the memory of all others of their hosts through the kernel.
    kernel: bool,
}

/// Makes the locks that members of a host share, and tells the others where the memory is.
/// `places`: of each member its place among those of this host.
fn tie(
    entry: &mut Entry,
    comm: &CommRef,
    circle: &Circle,
    places: &[Option<u32>],
    base: u64,
) -> Result<Ties> {
    let members = &comm.group.members;
    let near: Vec<_> = members
        .iter()
        .zip(places)
        .filter(|(_, place)| place.is_some())
        .map(|(peer, _)| peer)
        .collect();
    let me = places[circle.me].expect("a process is on its own host") as usize;
    // All members take the tag, whatever their hosts do.
    let tag = comm.next_collective_tag();
    let memory = match near.len() {
        1 => Mapping::private(Control::bytes(1)).map_err(|problem| {
            make(
                class::NO_MEM,
                format!("the system has no memory for the locks of a window: {problem}"),
            )
        }),
        _ => {
            let host = Circle::new(near.clone(), me, comm.collective_context(), tag);
            host.share(entry, Control::bytes(near.len()))
        }
    };
    let others = near.iter().filter(|peer| **peer != entry.me());
    let kernel =
        others.copied().collect::<Vec<_>>().into_iter().all(|peer| entry.worker.can_read(peer));
    let (memory, said) = circle.settle(entry, memory, [base.cast_signed(), i64::from(kernel)])?;
    let first = entry.job.first_local_rank;
    let local_ranks = near.iter().map(|peer| peer.0 - first).collect();
    Ok(Ties {
        control: Control::new(memory, me, local_ranks, entry.job.node.clone()),
        addresses: said.iter().map(|words| words[0].cast_unsigned()).collect(),
        kernel: said.iter().all(|words| words[1] != 0),
    })
}

/// Of each member its place among those that are on this host, by what lane they are reached.
fn places_of(entry: &Entry, comm: &CommRef, hosts: impl Iterator<Item = i64>) -> Vec<Option<u32>> {
    let mine = i64::from(entry.host_word(&comm.group.members.to_vec()));
    let mut next = 0;
    let place = |(peer, host): (Peer, i64)| {
        let shares = || peer == entry.me() || entry.worker.shares_memory_with(peer);
        (host == mine && shares()).then(|| {
            next += 1;
            next - 1
        })
    };
    comm.group.members.iter().zip(hosts).map(place).collect()
}

/// Whether the hints allow gaps between the regions of a shared window.
fn may_have_gaps(info: &Result<InfoData>) -> bool {
    info.as_ref().is_ok_and(|info| info.get("alloc_shared_noncontig") == Some("true"))
}

/// Makes a window with the others.
fn make_together<A: Abi>(entry: &mut Entry, comm: &CommRef, wish: Wish) -> Result<Win> {
    let Wish { flavor, base, bytes, unit, .. } = wish;
    let circle = Circle::of_comm(comm);
    let gaps = i64::from(flavor != Flavor::Shared || may_have_gaps(&wish.info));
    let words = [bytes as i64, unit, entry.host_word(&circle.members).into(), gaps];
    let (info, said) = circle.settle(entry, wish.check(comm), words)?;
    let context = agree(entry, &circle)?;
    let alignment = if said.iter().all(|words| words[3] != 0) { REGION_ALIGNMENT } else { 1 };
    let sizes: Vec<usize> = said.iter().map(|words| words[0] as usize).collect();
    let own = matches!(flavor, Flavor::Allocate | Flavor::Shared);
    let (offsets, total) = match lay_out(&sizes, alignment) {
        Some(layout) => layout,
        None if own => return error(class::SIZE, "the sizes of all ranks are too large together"),
        None => (vec![0; sizes.len()], 0),
    };
    let places = places_of(entry, comm, said.iter().map(|words| words[2]));
    let region = |((words, &offset), &place): ((&[i64; 4], &usize), &Option<u32>)| Region {
        bytes: words[0] as usize,
        unit: words[1],
        offset,
        address: 0,
        place,
    };
    let mut regions: Vec<Region> = said.iter().zip(&offsets).zip(&places).map(region).collect();
    let place = if own {
        let one_host = said.iter().all(|words| words[2] == said[0][2]);
        allocate(entry, &circle, flavor == Flavor::Shared, one_host, &regions, total)?
    } else {
        Place { base, memory: None, shared: false }
    };
    let ties = tie(entry, comm, &circle, &places, place.base.addr() as u64)?;
    regions.iter_mut().zip(ties.addresses).for_each(|(region, at)| region.address = at);
    Ok(Win {
        code: Cell::new(WIN_NULL),
        comm: Comm::new(context, comm.group.clone(), None, ErrhandlerRef::Return),
        flavor,
        base: place.base,
        regions,
        memory: place.memory,
        shared: place.shared,
        kernel: ties.kernel,
        control: ties.control,
        epochs: RefCell::default(),
        origin: RefCell::default(),
        is_origin: Cell::new(false),
        target: RefCell::default(),
        exposed: RefCell::default(),
        idle_calls: Cell::new(0),
        attached: RefCell::default(),
        facts: Box::new(Facts {
            bytes,
            unit: c_int::try_from(unit).unwrap_or(c_int::MAX),
            flavor: A::constant_out(Family::WinFlavor, flavor as c_int),
            model: A::constant_out(Family::WinModel, UNIFIED),
        }),
        name: RefCell::default(),
        info: RefCell::new(info),
        errhandler: RefCell::new(ErrhandlerRef::Fatal),
        attributes: RefCell::default(),
    })
}

/// Registers a new window and writes its handle.
unsafe fn give<A: Abi>(entry: &mut Entry, win: Win, place: *mut A::Handle) -> Result<WinRef> {
    if win.is_served() {
        // What others want of this window must not wait until we call MPI.
        crate::progress_thread::start(entry)?;
    }
    let win = Rc::new(win);
    let code = entry.windows.insert(win.clone());
    if win.is_served() {
        entry.served.push(win.clone());
    }
    // SAFETY: writable, says the caller.
    unsafe { *place = handle::<A>(HandleKind::Win, code)? };
    win.code.set(code.unwrap_or(WIN_NULL));
    Ok(win)
}

pub unsafe fn MPI_Win_create<A: Abi>(
    base: *mut c_void,
    size: isize,
    disp_unit: i64,
    info: A::Handle,
    comm: A::Handle,
    win: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Win_create", comm, |entry, comm| {
        let place = out(win, "win")?;
        let info = info_of::<A>(entry, info);
        let wish = Wish { flavor: Flavor::Create, base, bytes: size, unit: disp_unit, info };
        let new = make_together::<A>(entry, comm, wish)?;
        // SAFETY: this function's own conditions.
        unsafe { give::<A>(entry, new, place)? };
        Ok(())
    })
}

/// The two functions that bring memory.
unsafe fn with_memory<A: Abi>(
    name: &'static str,
    flavor: Flavor,
    (bytes, unit, info): (isize, i64, A::Handle),
    comm: A::Handle,
    baseptr: *mut c_void,
    win: *mut A::Handle,
) -> c_int {
    on_comm::<A>(name, comm, |entry, comm| {
        let place = out(win, "win")?;
        let baseptr = out(baseptr.cast::<*mut c_void>(), "baseptr")?;
        let wish = Wish {
            flavor,
            base: std::ptr::null_mut(),
            bytes,
            unit,
            info: info_of::<A>(entry, info),
        };
        let new = make_together::<A>(entry, comm, wish)?;
        // SAFETY: this function's own conditions.
        let new = unsafe { give::<A>(entry, new, place)? };
        // SAFETY: writable, says the caller.
        unsafe { *baseptr = new.base };
        Ok(())
    })
}

pub unsafe fn MPI_Win_allocate<A: Abi>(
    size: isize,
    disp_unit: i64,
    info: A::Handle,
    comm: A::Handle,
    baseptr: *mut c_void,
    win: *mut A::Handle,
) -> c_int {
    let what = (size, disp_unit, info);
    let name = "MPI_Win_allocate";
    // SAFETY: this function's own conditions.
    unsafe { with_memory::<A>(name, Flavor::Allocate, what, comm, baseptr, win) }
}

pub unsafe fn MPI_Win_allocate_shared<A: Abi>(
    size: isize,
    disp_unit: i64,
    info: A::Handle,
    comm: A::Handle,
    baseptr: *mut c_void,
    win: *mut A::Handle,
) -> c_int {
    let what = (size, disp_unit, info);
    let name = "MPI_Win_allocate_shared";
    // SAFETY: this function's own conditions.
    unsafe { with_memory::<A>(name, Flavor::Shared, what, comm, baseptr, win) }
}

pub unsafe fn MPI_Win_create_dynamic<A: Abi>(
    info: A::Handle,
    comm: A::Handle,
    win: *mut A::Handle,
) -> c_int {
    on_comm::<A>("MPI_Win_create_dynamic", comm, |entry, comm| {
        let place = out(win, "win")?;
        let info = info_of::<A>(entry, info);
        let base = std::ptr::null_mut();
        let wish = Wish { flavor: Flavor::Dynamic, base, bytes: 0, unit: 1, info };
        let new = make_together::<A>(entry, comm, wish)?;
        // SAFETY: this function's own conditions.
        unsafe { give::<A>(entry, new, place)? };
        Ok(())
    })
}

fn dynamic(win: &Win) -> Result {
    match win.flavor {
        Flavor::Dynamic => Ok(()),
        _ => error(
            class::RMA_FLAVOR,
            format!("{} was not made by MPI_Win_create_dynamic", win.describe()),
        ),
    }
}

pub unsafe fn MPI_Win_attach<A: Abi>(win: A::Handle, base: *mut c_void, size: isize) -> c_int {
    on_win::<A>("MPI_Win_attach", win, |_, win| {
        dynamic(win)?;
        let Ok(bytes) = usize::try_from(size) else {
            return error(class::SIZE, format!("the size is {size}; it must not be negative"));
        };
        let start = base.addr();
        let Some(end) = start.checked_add(bytes) else {
            return error(class::RMA_ATTACH, format!("{size} bytes from {base:p} are no memory"));
        };
        let mut attached = win.attached.borrow_mut();
        let overlaps = |&(from, length): &(usize, usize)| from < end && start < from + length;
        if attached.iter().any(overlaps) {
            let text = "the memory overlaps memory that is attached already";
            return error(class::RMA_ATTACH, text);
        }
        attached.push((start, bytes));
        Ok(())
    })
}

pub unsafe fn MPI_Win_detach<A: Abi>(win: A::Handle, base: *const c_void) -> c_int {
    on_win::<A>("MPI_Win_detach", win, |_, win| {
        dynamic(win)?;
        let mut attached = win.attached.borrow_mut();
        match attached.iter().position(|(start, _)| *start == base.addr()) {
            Some(at) => attached.swap_remove(at),
            None => return error(class::RMA_ATTACH, format!("{base:p} is not attached")),
        };
        Ok(())
    })
}

pub unsafe fn MPI_Win_shared_query<A: Abi>(
    win: A::Handle,
    rank: c_int,
    size: *mut isize,
    disp_unit: CountOut,
    baseptr: *mut c_void,
) -> c_int {
    on_win::<A>("MPI_Win_shared_query", win, |_, win| {
        let place = out(baseptr.cast::<*mut c_void>(), "baseptr")?;
        let size = out(size, "size")?;
        if disp_unit.is_null() {
            return error(class::ARG, "the argument disp_unit is NULL");
        }
        if win.flavor == Flavor::Dynamic {
            let text = format!("{} has no memory of its own: it is dynamic", win.describe());
            return error(class::RMA_FLAVOR, text);
        }
        let members = win.regions.len();
        let rank = match usize::try_from(rank) {
            Ok(rank) if rank < members => rank,
            _ if A::rank_in(rank) == PROC_NULL => {
                win.regions.iter().position(|region| region.bytes > 0).unwrap_or(0)
            }
            _ => {
                let text = format!("the rank is {rank}, but the window has {members} ranks");
                return error(class::RANK, text);
            }
        };
        // What this process cannot reach is shown as nothing.
        let nothing = Region { bytes: 0, ..win.regions[rank] };
        let (base, region) = win.reachable(rank).unwrap_or((std::ptr::null_mut(), nothing));
        // SAFETY: checked not to be null; writable, says the caller.
        unsafe {
            *place = base;
            *size = region.bytes as isize;
            disp_unit.set(region.unit);
        }
        Ok(())
    })
}

pub unsafe fn MPI_Win_free<A: Abi>(win: *mut A::Handle) -> c_int {
    // SAFETY: readable, says the caller.
    on_win::<A>("MPI_Win_free", unsafe { *win }, |entry, object| {
        object.epochs.borrow().check_closed()?;
        delete_all::<A>(entry, HandleKind::Win, object.code.get(), &object.attributes)?;
        // Memory may go away only when nobody uses it any more.
        origin::settle(entry, object);
        Circle::of_comm(&object.comm).barrier(entry)?;
        entry.wait_until(|runtime| {
            origin::poll(runtime, object);
            object.target.borrow().is_quiet()
        });
        network::end(entry, object);
        entry.served.retain(|served| !Rc::ptr_eq(served, object));
        entry.windows.remove(object.code.get());
        let handler = object.errhandler.replace(ErrhandlerRef::Fatal);
        let_go(entry, &handler);
        // SAFETY: writable, says the caller.
        unsafe { *win = A::handle_out(HandleKind::Win, WIN_NULL) };
        Ok(())
    })
}

pub unsafe fn MPI_Win_get_group<A: Abi>(win: A::Handle, group: *mut A::Handle) -> c_int {
    on_win::<A>("MPI_Win_get_group", win, |entry, win| {
        // SAFETY: this function's own conditions.
        unsafe { give_group::<A>(entry, win.comm.group.clone(), group) }
    })
}

pub unsafe fn MPI_Win_set_name<A: Abi>(win: A::Handle, win_name: *const c_char) -> c_int {
    on_win::<A>("MPI_Win_set_name", win, |_, win| {
        // SAFETY: a C string, says the caller.
        *win.name.borrow_mut() = unsafe { string(win_name)? };
        Ok(())
    })
}

pub unsafe fn MPI_Win_get_name<A: Abi>(
    win: A::Handle,
    win_name: *mut c_char,
    resultlen: *mut c_int,
) -> c_int {
    let put = |name: &str| {
        let (text, length) = (out(win_name, "win_name")?, out(resultlen, "resultlen")?);
        // SAFETY: the array has MPI_MAX_OBJECT_NAME bytes, says the caller.
        unsafe { *length = put_string(name, text, MAX_OBJECT_NAME) };
        Ok(())
    };
    // The standard gives the null handle a name.
    if A::handle_in(HandleKind::Win, win) == WIN_NULL {
        return on_process::<A>("MPI_Win_get_name", |_| put("MPI_WIN_NULL"));
    }
    on_win::<A>("MPI_Win_get_name", win, |_, win| put(&win.name.borrow()))
}

pub unsafe fn MPI_Win_set_info<A: Abi>(win: A::Handle, info: A::Handle) -> c_int {
    on_win::<A>("MPI_Win_set_info", win, |entry, win| {
        let hints = info_of::<A>(entry, info)?;
        let mut kept = win.info.borrow_mut();
        hints.iter().for_each(|(key, value)| kept.set(key, value));
        Ok(())
    })
}

pub unsafe fn MPI_Win_get_info<A: Abi>(win: A::Handle, info_used: *mut A::Handle) -> c_int {
    on_win::<A>("MPI_Win_get_info", win, |entry, win| {
        let place = out(info_used, "info_used")?;
        let code = entry.infos.insert(win.info.borrow().clone());
        // SAFETY: writable, says the caller.
        unsafe { *place = handle::<A>(HandleKind::Info, code)? };
        Ok(())
    })
}

pub unsafe fn MPI_Win_set_errhandler<A: Abi>(win: A::Handle, errhandler: A::Handle) -> c_int {
    on_win::<A>("MPI_Win_set_errhandler", win, |entry, win| {
        let new = acquire::<A>(entry, HandleKind::Win, errhandler)?;
        let old = win.errhandler.replace(new);
        let_go(entry, &old);
        Ok(())
    })
}

pub unsafe fn MPI_Win_get_errhandler<A: Abi>(win: A::Handle, errhandler: *mut A::Handle) -> c_int {
    on_win::<A>("MPI_Win_get_errhandler", win, |_, win| {
        let place = out(errhandler, "errhandler")?;
        let handler = win.errhandler.borrow();
        handler.hold();
        // SAFETY: writable, says the caller.
        unsafe { *place = A::handle_out(HandleKind::Errhandler, handler.code()) };
        Ok(())
    })
}

pub unsafe fn MPI_Win_call_errhandler<A: Abi>(win: A::Handle, errorcode: c_int) -> c_int {
    let canonical = A::error_in(errorcode);
    let mut found = false;
    let result = on_win::<A>("MPI_Win_call_errhandler", win, |entry, _| {
        found = true;
        Err(make(canonical, describe(Some(entry), canonical)))
    });
    // The handler was called: that is success.
    if found { 0 } else { result }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The objects of libfabric that a lane has: fabric, domain, endpoint, queue of completions, table
//! of addresses, and registered memory.
//!
//! Invariants:
//! 1. Objects are closed once, those that use others first ([`Objects`]'s drop).
//! 2. One thread at a time uses them: the caller holds the worker (FI_THREAD_DOMAIN).
//! 3. Memory of an operation stays valid until its completion was read, or the endpoint is closed:
//!    the lane owns it, or who posted the transfer promised it.

use super::library::{Library, refused};
use super::provider::{Info, Wanted, at_address, choose, tells_of_delivery};
use super::sys::{self, fid, fid_av, fid_cq, fid_domain, fid_ep, fid_fabric, fid_mr};
use crate::error::{Error, Kind, Result};
use crate::lane::tcp::ports::Ports;
use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;
use std::ptr;

/// Room for completions: more than operations of ours can be under way.
const QUEUE_ENTRIES: usize = 1024;
/// Longest address of an endpoint.
pub const NAME_BYTES_MAX: usize = 56;
/// What it takes to write memory of others, and to let them.
const WRITES: u64 = sys::FI_WRITE | sys::FI_REMOTE_WRITE;
/// Longest message ...
const FRAME_BYTES: usize = 64 * 1024 + 64;
/// ... and where one provider lies above another, or cuts messages itself: below the 16 KiB up to
/// which `ofi_rxm` sends at once, its own headers included.
const FRAME_BYTES_LAYERED: usize = 16 * 1024 - 128;

/// What the provider can do.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Name of the provider.
    pub provider: String,
    /// Its device or interface.
    pub domain: String,
    /// Data is moved by hardware.
    pub hardware: bool,
    /// Messages up to here are copied by the call that sends them.
    pub inject_bytes: usize,
    /// Longest transfer of one call.
    pub message_bytes_max: usize,
    /// Longest message of ours.
    pub frame_bytes: usize,
    /// FI_MR_* bits.
    pub memory_mode: c_int,
    /// One buffer takes many messages.
    pub multi_receive: bool,
    /// Memory of a peer can be read.
    pub reads: bool,
    /// It can be written.
    pub writes: bool,
    /// Lost packets are sent again by whoever polls: a process with unanswered sends may not sleep.
    pub needs_polls: bool,
}

/// The objects.
pub struct Objects {
    pub(super) library: Library,
    info: Info,
    pub(super) fabric: *mut fid_fabric,
    domain: *mut fid_domain,
    pub(super) queue: *mut fid_cq,
    addresses: *mut fid_av,
    pub(super) endpoint: *mut fid_ep,
    pub(super) wait: Option<RawFd>,
    next_key: u64,
    /// Whether it tells when a write is done at its target, once somebody asked.
    tells: Option<bool>,
    /// What it can do.
    pub facts: Facts,
}

/// Whether somebody has the address already.
fn is_taken(error: &Error) -> bool {
    matches!(&*error.0, Kind::System { errno: libc::EADDRINUSE, .. })
}

/// A piece of memory that the provider knows; closed by [`Objects::forget`], or leaked.
#[derive(Debug)]
pub struct Registration(*mut fid_mr);

impl Registration {
    /// The descriptor for operations on this memory.
    pub fn descriptor(&self) -> *mut c_void {
        // SAFETY: the registration is open as long as this exists.
        unsafe { (*self.0).mem_desc }
    }

    /// The key for peers.
    pub fn key(&self) -> u64 {
        // SAFETY: as above.
        unsafe { (*self.0).key }
    }
}

/// A completion.
pub type Completion = sys::fi_cq_data_entry;

/// A failed operation.
pub struct Failure {
    /// Its context.
    pub context: *mut c_void,
    /// Why, in the library's words.
    pub reason: String,
}

/// What a look at the queue found.
pub enum Seen {
    /// So many completions.
    Some(usize),
    /// An operation failed.
    Failed(Failure),
    /// The queue itself is broken.
    Broken(String),
}

impl Objects {
    /// Opens the best provider.
    ///
    /// # Errors
    /// None fits, or one of its objects cannot be made: the message names provider and call.
    pub fn open(library: Library, wanted: &Wanted) -> Result<Objects> {
        Objects::make(library, choose(library, wanted)?)
    }

    /// The same; software over IP listens on one of these ports.
    ///
    /// # Errors
    /// None of them is free, too.
    pub fn open_within(library: Library, wanted: &Wanted, ports: Ports) -> Result<Objects> {
        let chosen = choose(library, wanted)?;
        let Some(ip) = wanted.ip.filter(|_| ports != Ports::ANY && chosen.is_ip_software()) else {
            return Objects::make(library, chosen);
        };
        let name = chosen.provider();
        for port in ports.from(std::process::id() as u16) {
            let Some(info) = at_address(library, &name, Some(ip), Some(port))? else {
                return Err(refused(format!("libfabric's {name} cannot listen on a chosen port")));
            };
            match Objects::make(library, info) {
                Err(error) if is_taken(&error) => {}
                made => return made,
            }
        }
        Err(ports.all_taken(ip))
    }

    fn make(library: Library, info: Info) -> Result<Objects> {
        let facts = facts(&info);
        let mut fabric = Objects {
            library,
            info,
            fabric: ptr::null_mut(),
            domain: ptr::null_mut(),
            queue: ptr::null_mut(),
            addresses: ptr::null_mut(),
            endpoint: ptr::null_mut(),
            wait: None,
            next_key: 1,
            tells: None,
            facts,
        };
        fabric.open_domain()?;
        fabric.open_queue()?;
        fabric.open_endpoint()?;
        Ok(fabric)
    }

    fn check(&self, what: &str, result: c_int) -> Result<()> {
        if result >= 0 {
            return Ok(());
        }
        let Facts { provider, domain, .. } = &self.facts;
        if result == -libc::EADDRINUSE {
            let what = format!("libfabric's {provider} on {domain}: {what} failed");
            return Err(Error::system(what, libc::EADDRINUSE));
        }
        let why = self.library.words(result as isize);
        Err(refused(format!("libfabric's {provider} on {domain}: {what} failed: {why}")))
    }

    fn open_domain(&mut self) -> Result<()> {
        let info = self.info.raw();
        // SAFETY: the description is the library's; it fills in the object, which drop closes.
        let result = unsafe {
            (self.library.fabric)((*info).fabric_attr, &mut self.fabric, ptr::null_mut())
        };
        self.check("fi_fabric", result)?;
        // SAFETY: the fabric is open and has its table.
        let result = unsafe {
            let ops = &*(*self.fabric).ops;
            (ops.domain)(self.fabric, info, &mut self.domain, ptr::null_mut())
        };
        self.check("fi_domain", result)
    }

    fn open_queue(&mut self) -> Result<()> {
        // SAFETY: the domain is open and has its table, here and below.
        let ops = unsafe { &*(*self.domain).ops };
        let mut attributes = sys::fi_cq_attr {
            size: QUEUE_ENTRIES,
            format: sys::FI_CQ_FORMAT_DATA,
            wait_obj: sys::FI_WAIT_FD,
            ..sys::fi_cq_attr::default()
        };
        // SAFETY: the library reads the attributes and fills in the object, which drop closes.
        let mut open = |attributes: &mut sys::fi_cq_attr| unsafe {
            (ops.cq_open)(self.domain, attributes, &mut self.queue, ptr::null_mut())
        };
        let mut result = open(&mut attributes);
        if result < 0 {
            // Nothing to sleep on: then this process looks and yields.
            attributes.wait_obj = sys::FI_WAIT_NONE;
            result = open(&mut attributes);
        } else {
            let mut wait: c_int = -1;
            // SAFETY: a queue with a wait object of this kind answers with a descriptor.
            let got = unsafe {
                let queue = &mut (*self.queue).fid;
                ((*queue.ops).control)(queue, sys::FI_GETWAIT, (&raw mut wait).cast())
            };
            self.wait = (got == 0 && wait >= 0).then_some(wait);
        }
        self.check("fi_cq_open", result)?;
        let mut attributes =
            sys::fi_av_attr { r#type: sys::FI_AV_TABLE, ..sys::fi_av_attr::default() };
        // SAFETY: as for the queue.
        let result = unsafe {
            (ops.av_open)(self.domain, &mut attributes, &mut self.addresses, ptr::null_mut())
        };
        self.check("fi_av_open", result)
    }

    fn open_endpoint(&mut self) -> Result<()> {
        // SAFETY: the domain is open; the description is the one it was opened with.
        let result = unsafe {
            let ops = &*(*self.domain).ops;
            (ops.endpoint)(self.domain, self.info.raw(), &mut self.endpoint, ptr::null_mut())
        };
        self.check("fi_endpoint", result)?;
        // SAFETY: all objects are open; binding keeps references that drop's order respects.
        let results = unsafe {
            let endpoint = &raw mut (*self.endpoint).fid;
            let bind = (*(*endpoint).ops).bind;
            let addresses = bind(endpoint, &raw mut (*self.addresses).fid, 0);
            let flags = sys::FI_TRANSMIT | sys::FI_RECV;
            let queue = bind(endpoint, &raw mut (*self.queue).fid, flags);
            if self.facts.multi_receive {
                let (level, name) = (sys::FI_OPT_ENDPOINT, sys::FI_OPT_MIN_MULTI_RECV);
                let value = (&raw const self.facts.frame_bytes).cast();
                let set = (*(*self.endpoint).ops).setopt;
                let size = size_of::<usize>();
                self.facts.multi_receive = set(endpoint, level, name, value, size) >= 0;
            }
            let enable = ((*(*endpoint).ops).control)(endpoint, sys::FI_ENABLE, ptr::null_mut());
            [addresses, queue, enable]
        };
        for (what, result) in ["fi_ep_bind", "fi_ep_bind", "fi_enable"].iter().zip(results) {
            self.check(what, result)?;
        }
        // SAFETY: the endpoint is open; a table of remote memory is there or null.
        self.facts.reads &= unsafe { !(*self.endpoint).rma.is_null() };
        self.facts.writes &= self.facts.reads;
        Ok(())
    }

    /// The address of the endpoint, for peers.
    ///
    /// # Errors
    /// The provider does not tell, or it is longer than [`NAME_BYTES_MAX`].
    pub fn name(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0_u8; 256];
        let mut count = bytes.len();
        // SAFETY: the buffer has `count` bytes; the endpoint is open.
        let result = unsafe {
            let endpoint = &raw mut (*self.endpoint).fid;
            ((*(*self.endpoint).cm).getname)(endpoint, bytes.as_mut_ptr().cast(), &mut count)
        };
        self.check("fi_getname", result)?;
        if count > NAME_BYTES_MAX {
            let what = format!("its address has {count} bytes, and {NAME_BYTES_MAX} fit");
            return Err(refused(format!("libfabric's {}: {what}", self.facts.provider)));
        }
        bytes.truncate(count);
        Ok(bytes)
    }

    /// Enters a peer's address; its number in the table.
    ///
    /// # Errors
    /// In the library's words.
    pub fn enter(&mut self, name: &[u8]) -> std::result::Result<u64, String> {
        // Providers read as many bytes as their addresses have, so there are some more.
        let mut padded = [0_u8; NAME_BYTES_MAX + 72];
        padded[..name.len()].copy_from_slice(name);
        let mut number = sys::FI_ADDR_UNSPEC;
        // SAFETY: one address is read from `padded`, one number written.
        let entered = unsafe {
            let insert = (*(*self.addresses).ops).insert;
            insert(self.addresses, padded.as_ptr().cast(), 1, &mut number, 0, ptr::null_mut())
        };
        match entered {
            1 => Ok(number),
            result => Err(self.library.words(result as isize)),
        }
    }

    /// Makes memory known to the provider, for local operations or for reads by peers.
    ///
    /// # Safety
    /// The memory stays until the registration is forgotten, or the endpoint closed.
    ///
    /// # Errors
    /// In the library's words.
    pub unsafe fn register(
        &mut self,
        base: *const u8,
        bytes: usize,
        access: u64,
    ) -> std::result::Result<Registration, String> {
        let wanted = self.next_key;
        self.next_key += 1;
        let mut raw: *mut fid_mr = ptr::null_mut();
        // SAFETY: the domain is open; the memory is as the caller says.
        let result = unsafe {
            let domain = &raw mut (*self.domain).fid;
            let register = (*(*self.domain).mr).reg;
            let (offset, flags) = (0, 0);
            let base = base.cast();
            register(domain, base, bytes, access, offset, wanted, flags, &mut raw, ptr::null_mut())
        };
        if result < 0 {
            return Err(self.library.words(result as isize));
        }
        let registration = Registration(raw);
        if self.facts.memory_mode & sys::FI_MR_ENDPOINT != 0 {
            // SAFETY: registration and endpoint are open.
            let result = unsafe {
                let memory = &raw mut (*raw).fid;
                let bound = ((*(*memory).ops).bind)(memory, &raw mut (*self.endpoint).fid, 0);
                let enable = (*(*memory).ops).control;
                if bound < 0 { bound } else { enable(memory, sys::FI_ENABLE, ptr::null_mut()) }
            };
            if result < 0 {
                self.forget(registration);
                return Err(self.library.words(result as isize));
            }
        }
        Ok(registration)
    }

    /// Whether the provider tells when a write is done in the memory of its target. Asked for the
    /// first window: the answer is dear.
    pub fn tells_of_delivery(&mut self) -> bool {
        let (library, info) = (self.library, &self.info);
        *self.tells.get_or_insert_with(|| tells_of_delivery(library, info))
    }

    /// Ends a registration.
    pub fn forget(&mut self, registration: Registration) {
        // SAFETY: it is open, and consumed here.
        unsafe { close(&raw mut (*registration.0).fid) };
    }

    /// Ends all operations: nothing works on memory of ours afterwards, and nothing can be posted.
    pub(super) fn close_endpoint(&mut self) {
        let endpoint = std::mem::replace(&mut self.endpoint, ptr::null_mut());
        // SAFETY: it is open or null, and closed once.
        unsafe { close(endpoint.cast()) };
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        self.close_endpoint();
        // SAFETY: each is open or null, and closed once; what uses others goes first.
        unsafe {
            close(self.queue.cast());
            close(self.addresses.cast());
            close(self.domain.cast());
            close(self.fabric.cast());
        }
    }
}

/// # Safety
/// `object` is open and not used afterwards, or null.
unsafe fn close(object: *mut fid) {
    if !object.is_null() {
        // SAFETY: every object begins with a `fid` that has its table; the rest is the caller's.
        unsafe { ((*(*object).ops).close)(object) };
    }
}

/// Longest message over this provider.
fn frame_bytes_max(provider: &str) -> usize {
    let layered = provider.contains(';') || provider == "shm";
    if layered { FRAME_BYTES_LAYERED } else { FRAME_BYTES }
}

fn facts(info: &Info) -> Facts {
    let raw = info.get();
    // SAFETY: libfabric fills in the attributes of what it lists.
    let (tx, ep, domain) = unsafe { (&*raw.tx_attr, &*raw.ep_attr, &*raw.domain_attr) };
    let provider = info.provider();
    Facts {
        domain: info.domain(),
        hardware: info.is_hardware(),
        inject_bytes: tx.inject_size,
        message_bytes_max: ep.max_msg_size,
        frame_bytes: frame_bytes_max(&provider),
        memory_mode: domain.mr_mode,
        // shm: 1.17 wants to hear the least room of a buffer after it was enabled and crashes
        // before, 2.5 wants to hear it before, and reads messages into no room at all otherwise.
        multi_receive: raw.caps & sys::FI_MULTI_RECV != 0 && provider != "shm",
        reads: raw.caps & sys::FI_RMA != 0,
        writes: raw.caps & WRITES == WRITES,
        needs_polls: provider.ends_with("ofi_rxd"),
        provider,
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A provider of libfabric in Rust, all of it in this process, that is strict: it wants what the
//! FI_MR_* bits of its mode say, and writes down whoever does otherwise.
//!
//! Its objects are numbered; the tables of functions are libfabric's, so the lane cannot tell it
//! from a real one. It refuses posts now and then (FI_EAGAIN), and can be told to fail.
#![allow(dead_code)]

mod operations;

use operations::{inject, look, look_at_error, read_memory, recv, recvmsg, send, write_memory};
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use strait_transport::lane::ofi::library::{API, Library};
use strait_transport::lane::ofi::sys::*;

/// What the provider is like, of all endpoints that are opened afterwards.
#[derive(Clone, Copy, Default)]
pub struct Character {
    pub memory_mode: c_int,
    pub multi_receive: bool,
    /// Every so many posts are refused (0: none).
    pub again_one_in: u32,
    /// Reads are refused when they are posted, or fail later.
    pub reads_refused: bool,
    pub reads_fail: bool,
    /// Writes fail later.
    pub writes_fail: bool,
    /// The provider does not tell when a write is done at its target.
    pub tells_nothing: bool,
    pub inject_bytes: usize,
    /// Its cards: domain, network, bus number.
    pub cards: &'static [(&'static CStr, &'static CStr, u8)],
}

/// A write that is under way: it is done when its target looks.
struct Write {
    from: usize,
    into: usize,
    bytes: usize,
    context: usize,
    origin: usize,
}

struct Memory {
    base: usize,
    bytes: usize,
    access: u64,
    key: u64,
    domain: usize,
    endpoint: Option<usize>,
    enabled: bool,
    open: bool,
}

struct Posted {
    base: usize,
    bytes: usize,
    used: usize,
    context: usize,
}

#[derive(Default)]
struct Endpoint {
    open: bool,
    domain: usize,
    inbox: VecDeque<Vec<u8>>,
    writes: VecDeque<Write>,
    posted: VecDeque<Posted>,
    done: VecDeque<fi_cq_data_entry_copy>,
    failed: VecDeque<(usize, c_int)>,
    least: usize,
}

/// As `fi_cq_data_entry`, with numbers for pointers.
#[allow(non_camel_case_types)]
struct fi_cq_data_entry_copy {
    context: usize,
    flags: u64,
    len: usize,
    buf: usize,
}

#[derive(Default)]
struct State {
    character: Character,
    memories: Vec<Memory>,
    endpoints: Vec<Endpoint>,
    domains: usize,
    posts: u32,
    open_objects: isize,
    faults: Vec<String>,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);
/// One test at a time.
static TURN: Mutex<()> = Mutex::new(());

fn with<T>(use_it: impl FnOnce(&mut State) -> T) -> T {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    use_it(state.get_or_insert_default())
}

/// A fresh provider; hold the answer as long as it is used.
pub fn begin(character: Character) -> Turn {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    with(|state| *state = State { character, ..State::default() });
    Turn(turn)
}

pub struct Turn(#[allow(unused)] MutexGuard<'static, ()>);

impl Turn {
    /// What the lanes did wrong, and objects they left open. Drop the lanes before.
    pub fn faults(&self) -> Vec<String> {
        with(|state| {
            let mut faults = std::mem::take(&mut state.faults);
            if state.open_objects != 0 {
                faults.push(format!("{} objects are open", state.open_objects));
            }
            faults
        })
    }

    /// A message that nobody of the job has sent arrives at an endpoint.
    pub fn stranger(&self, endpoint: usize, message: Vec<u8>) {
        with(|state| state.endpoints[endpoint].inbox.push_back(message));
    }

    /// Registrations that are open for peers.
    pub fn loans(&self) -> usize {
        with(|state| {
            let of_peers = FI_REMOTE_READ | FI_REMOTE_WRITE;
            state.memories.iter().filter(|m| m.open && m.access & of_peers != 0).count()
        })
    }
}

/// Its functions.
pub fn library() -> Library {
    Library { version: fake_version, getinfo, freeinfo, dupinfo, fabric: open_fabric, strerror }
}

extern "C" fn fake_version() -> u32 {
    API
}

extern "C" fn strerror(_code: c_int) -> *const c_char {
    c"the fake says no".as_ptr()
}

unsafe extern "C" fn dupinfo(of: *const fi_info) -> *mut fi_info {
    // SAFETY: zeros are valid for all these structures; they are leaked, as the test ends soon.
    unsafe {
        let info: &mut fi_info = Box::leak(Box::new(std::mem::zeroed()));
        info.tx_attr = Box::leak(Box::new(std::mem::zeroed()));
        info.rx_attr = Box::leak(Box::new(std::mem::zeroed()));
        info.ep_attr = Box::leak(Box::new(std::mem::zeroed()));
        info.domain_attr = Box::leak(Box::new(std::mem::zeroed()));
        info.fabric_attr = Box::leak(Box::new(std::mem::zeroed()));
        if let Some(of) = of.as_ref() {
            info.caps = of.caps;
            info.mode = of.mode;
            *info.tx_attr = ptr::read(of.tx_attr);
            *info.rx_attr = ptr::read(of.rx_attr);
            *info.ep_attr = ptr::read(of.ep_attr);
            *info.domain_attr = ptr::read(of.domain_attr);
            *info.fabric_attr = ptr::read(of.fabric_attr);
            info.nic = of.nic;
        }
        info
    }
}

extern "C" fn freeinfo(_info: *mut fi_info) {}

unsafe extern "C" fn getinfo(
    version: u32,
    _node: *const c_char,
    _service: *const c_char,
    _flags: u64,
    hints: *const fi_info,
    info: *mut *mut fi_info,
) -> c_int {
    let character = with(|state| state.character);
    // SAFETY: the lane's hints came from `dupinfo`, and `info` is where it wants the answer.
    unsafe {
        let wanted = (*(*hints).domain_attr).mr_mode;
        let name = (*(*hints).fabric_attr).prov_name;
        let is_ours = name.is_null() || CStr::from_ptr(name) == c"fake";
        let delivery = (*(*hints).tx_attr).op_flags & FI_DELIVERY_COMPLETE != 0;
        let cannot = character.memory_mode & !wanted != 0 || (delivery && character.tells_nothing);
        if version != API || !is_ours || cannot {
            return -61;
        }
        let found = dupinfo(hints);
        let multi = if character.multi_receive { FI_MULTI_RECV } else { 0 };
        (*found).caps = ((*hints).caps | multi) & !if multi == 0 { FI_MULTI_RECV } else { 0 };
        (*(*found).domain_attr).mr_mode = character.memory_mode;
        (*(*found).domain_attr).name = c"nowhere".as_ptr().cast_mut();
        (*(*found).fabric_attr).prov_name = c"fake".as_ptr().cast_mut();
        (*(*found).ep_attr).max_msg_size = 100_000;
        (*(*found).tx_attr).inject_size = character.inject_bytes;
        let mut list = ptr::null_mut();
        for (domain, fabric, bus) in character.cards.iter().rev() {
            let card = dupinfo(found);
            (*(*card).domain_attr).name = domain.as_ptr().cast_mut();
            (*(*card).fabric_attr).name = fabric.as_ptr().cast_mut();
            (*card).nic = nic(*bus);
            (*card).next = list;
            list = card;
        }
        *info = if list.is_null() { found } else { list };
    }
    0
}

/// A card at this bus; leaked, as the test ends soon.
fn nic(bus_id: u8) -> *mut fid_nic {
    let attr = fi_pci_attr { domain_id: 0, bus_id, device_id: 0, function_id: 0 };
    let bus = Box::leak(Box::new(fi_bus_attr { bus_type: FI_BUS_PCI, attr }));
    let head = fid { fclass: 0, context: ptr::null_mut(), ops: &OPS };
    let nic = fid_nic { fid: head, device_attr: ptr::null(), bus_attr: bus };
    Box::leak(Box::new(nic))
}

/// An object of any kind: its structure, and after it what is its number.
#[repr(C)]
struct Object<T> {
    head: T,
    number: usize,
    second: usize,
}

fn make<T>(class: usize, ops: &'static fi_ops, number: usize, second: usize) -> *mut T {
    with(|state| state.open_objects += 1);
    // SAFETY: zeros are valid for all objects of libfabric.
    let mut object: Box<Object<T>> = Box::new(unsafe { std::mem::zeroed() });
    (object.number, object.second) = (number, second);
    let raw = Box::into_raw(object).cast::<T>();
    // SAFETY: every object begins with a `fid`.
    unsafe { *raw.cast::<fid>() = fid { fclass: class, context: ptr::null_mut(), ops } };
    raw
}

/// # Safety
/// `object` was made here with this type.
unsafe fn numbers<T>(object: *mut T) -> (usize, usize) {
    let object = object.cast::<Object<T>>();
    // SAFETY: the caller's promise.
    unsafe { ((*object).number, (*object).second) }
}

const MEMORY: usize = 12;

unsafe extern "C" fn close(object: *mut fid) -> c_int {
    // SAFETY: the lane closes what was made here; a registration is told by its class.
    unsafe {
        if (*object).fclass == MEMORY {
            let (number, _) = numbers(object.cast::<fid_mr>());
            with(|state| {
                if !std::mem::replace(&mut state.memories[number].open, false) {
                    state.faults.push(format!("registration {number} is closed twice"));
                }
            });
        }
        if (*object).fclass == 3 {
            let (number, _) = numbers(object.cast::<fid_ep>());
            with(|state| state.endpoints[number].open = false);
        }
    }
    with(|state| state.open_objects -= 1);
    0
}

unsafe extern "C" fn bind(object: *mut fid, to: *mut fid, _flags: u64) -> c_int {
    // SAFETY: both were made here.
    unsafe {
        if (*object).fclass == MEMORY {
            let (number, _) = numbers(object.cast::<fid_mr>());
            let (endpoint, _) = numbers(to.cast::<fid_ep>());
            with(|state| state.memories[number].endpoint = Some(endpoint));
        }
    }
    0
}

unsafe extern "C" fn control(object: *mut fid, command: c_int, _argument: *mut c_void) -> c_int {
    if command == FI_GETWAIT {
        return -38;
    }
    // SAFETY: it was made here.
    unsafe {
        if (*object).fclass == MEMORY {
            let (number, _) = numbers(object.cast::<fid_mr>());
            with(|state| state.memories[number].enabled = true);
        }
    }
    0
}

static OPS: fi_ops = fi_ops { size: size_of::<fi_ops>(), close, bind, control };

unsafe extern "C" fn open_fabric(
    _attr: *mut fi_fabric_attr,
    into: *mut *mut fid_fabric,
    _context: *mut c_void,
) -> c_int {
    static TABLE: Shared<fi_ops_fabric> = Shared(fi_ops_fabric {
        size: size_of::<fi_ops_fabric>(),
        domain: open_domain,
        passive_ep: ptr::null(),
        eq_open: ptr::null(),
        wait_open: ptr::null(),
        trywait,
    });
    let fabric: *mut fid_fabric = make(1, &OPS, 0, 0);
    // SAFETY: it was made a moment ago; `into` is the lane's.
    unsafe {
        (*fabric).ops = &TABLE.0;
        *into = fabric;
    }
    0
}

/// Tables hold pointers that are null, which threads may share.
struct Shared<T>(T);
// SAFETY: the tables are constants.
unsafe impl<T> Sync for Shared<T> {}

extern "C" fn trywait(_fabric: *mut fid_fabric, _fids: *mut *mut fid, _count: c_int) -> c_int {
    0
}

unsafe extern "C" fn open_domain(
    _fabric: *mut fid_fabric,
    _info: *mut fi_info,
    into: *mut *mut fid_domain,
    _context: *mut c_void,
) -> c_int {
    static TABLE: fi_ops_domain =
        fi_ops_domain { size: size_of::<fi_ops_domain>(), av_open, cq_open, endpoint };
    static MR: fi_ops_mr = fi_ops_mr { size: size_of::<fi_ops_mr>(), reg: register };
    let number = with(|state| {
        state.domains += 1;
        state.domains
    });
    let domain: *mut fid_domain = make(2, &OPS, number, 0);
    // SAFETY: as for the fabric.
    unsafe {
        (*domain).ops = &TABLE;
        (*domain).mr = &MR;
        *into = domain;
    }
    0
}

unsafe extern "C" fn av_open(
    _domain: *mut fid_domain,
    _attr: *mut fi_av_attr,
    into: *mut *mut fid_av,
    _context: *mut c_void,
) -> c_int {
    static TABLE: fi_ops_av = fi_ops_av { size: size_of::<fi_ops_av>(), insert };
    let av: *mut fid_av = make(11, &OPS, 0, 0);
    // SAFETY: as for the fabric.
    unsafe {
        (*av).ops = &TABLE;
        *into = av;
    }
    0
}

unsafe extern "C" fn insert(
    _av: *mut fid_av,
    address: *const c_void,
    count: usize,
    into: *mut u64,
    _flags: u64,
    _context: *mut c_void,
) -> c_int {
    assert_eq!(count, 1);
    // SAFETY: an address of this provider has eight bytes.
    unsafe { *into = ptr::read_unaligned(address.cast::<u64>()) };
    1
}

unsafe extern "C" fn cq_open(
    domain: *mut fid_domain,
    attr: *mut fi_cq_attr,
    into: *mut *mut fid_cq,
    _context: *mut c_void,
) -> c_int {
    static TABLE: Shared<fi_ops_cq> = Shared(fi_ops_cq {
        size: size_of::<fi_ops_cq>(),
        read: look,
        readfrom: ptr::null(),
        readerr: look_at_error,
    });
    // SAFETY: as for the fabric. The endpoint of this domain will have the domain's number.
    unsafe {
        assert_eq!((*attr).format, FI_CQ_FORMAT_DATA);
        if (*attr).wait_obj == FI_WAIT_FD {
            return -38;
        }
        let (number, _) = numbers(domain);
        let queue: *mut fid_cq = make(14, &OPS, number - 1, 0);
        (*queue).ops = &TABLE.0;
        *into = queue;
    }
    0
}

unsafe extern "C" fn endpoint(
    domain: *mut fid_domain,
    _info: *mut fi_info,
    into: *mut *mut fid_ep,
    _context: *mut c_void,
) -> c_int {
    static EP: Shared<fi_ops_ep> =
        Shared(fi_ops_ep { size: size_of::<fi_ops_ep>(), cancel, getopt: ptr::null(), setopt });
    static CM: Shared<fi_ops_cm> =
        Shared(fi_ops_cm { size: size_of::<fi_ops_cm>(), setname: ptr::null(), getname });
    static MSG: Shared<fi_ops_msg> = Shared(fi_ops_msg {
        size: size_of::<fi_ops_msg>(),
        recv,
        recvv: ptr::null(),
        recvmsg,
        send,
        sendv: ptr::null(),
        sendmsg: ptr::null(),
        inject,
    });
    static RMA: Shared<fi_ops_rma> = Shared(fi_ops_rma {
        size: size_of::<fi_ops_rma>(),
        read: read_memory,
        readv: ptr::null(),
        readmsg: ptr::null(),
        write: ptr::null(),
        writev: ptr::null(),
        writemsg: write_memory,
    });
    // SAFETY: as for the fabric.
    unsafe {
        let (domain, _) = numbers(domain);
        let number = with(|state| {
            let endpoint = Endpoint { open: true, domain, ..Endpoint::default() };
            state.endpoints.push(endpoint);
            state.endpoints.len() - 1
        });
        assert_eq!(number, domain - 1, "one endpoint a domain");
        let endpoint: *mut fid_ep = make(3, &OPS, number, domain);
        (*endpoint).ops = &EP.0;
        (*endpoint).cm = &CM.0;
        (*endpoint).msg = &MSG.0;
        (*endpoint).rma = &RMA.0;
        *into = endpoint;
    }
    0
}

unsafe extern "C" fn setopt(
    endpoint: *mut fid,
    _level: c_int,
    name: c_int,
    value: *const c_void,
    _bytes: usize,
) -> c_int {
    assert_eq!(name, FI_OPT_MIN_MULTI_RECV);
    // SAFETY: the option is one size.
    unsafe {
        let (number, _) = numbers(endpoint.cast::<fid_ep>());
        with(|state| state.endpoints[number].least = *value.cast::<usize>());
    }
    0
}

unsafe extern "C" fn getname(endpoint: *mut fid, into: *mut c_void, bytes: *mut usize) -> c_int {
    // SAFETY: the lane's buffer is longer than eight bytes.
    unsafe {
        let (number, _) = numbers(endpoint.cast::<fid_ep>());
        assert!(*bytes >= 8);
        ptr::write_unaligned(into.cast::<u64>(), number as u64);
        *bytes = 8;
    }
    0
}

extern "C" fn cancel(_endpoint: *mut fid, _context: *mut c_void) -> isize {
    0
}

unsafe extern "C" fn register(
    domain: *mut fid,
    base: *const c_void,
    bytes: usize,
    access: u64,
    offset: u64,
    wanted_key: u64,
    _flags: u64,
    into: *mut *mut fid_mr,
    _context: *mut c_void,
) -> c_int {
    // SAFETY: the domain was made here; `into` is the lane's.
    unsafe {
        let (domain, _) = numbers(domain.cast::<fid_domain>());
        let (number, key) = with(|state| {
            let number = state.memories.len();
            let chosen = state.character.memory_mode & FI_MR_PROV_KEY != 0;
            let key = if chosen { 0xab00_0000 + 7 * number as u64 } else { wanted_key };
            let same = |m: &Memory| m.open && m.domain == domain && m.key == key;
            if state.memories.iter().any(same) {
                state.faults.push(format!("key {key} is used twice"));
            }
            if bytes == 0 || offset != 0 {
                state.faults.push("an empty registration, or one at an offset".into());
            }
            let enabled = state.character.memory_mode & FI_MR_ENDPOINT == 0;
            let (endpoint, open, base) = (None, true, base.addr());
            let memory = Memory { base, bytes, access, key, domain, endpoint, enabled, open };
            state.memories.push(memory);
            (number, key)
        });
        let memory: *mut fid_mr = make(MEMORY, &OPS, number, 0);
        (*memory).mem_desc = ptr::without_provenance_mut(0x1000 + number);
        (*memory).key = key;
        *into = memory;
    }
    0
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which provider of libfabric is used.
//!
//! libfabric lists what could serve us; a table says what is best. Providers over hardware are used
//! without being asked for; those in software are slower than our own TCP lane, and are used when
//! `STRAIT_LANES` or `STRAIT_OFI_PROVIDER` wants them.

use super::library::{API, Library, refused};
use super::sys::{
    FI_AV_TABLE, FI_BUS_PCI, FI_CONTEXT, FI_CONTEXT2, FI_DELIVERY_COMPLETE, FI_EP_RDM,
    FI_MR_ALLOCATED, FI_MR_ENDPOINT, FI_MR_LOCAL, FI_MR_PROV_KEY, FI_MR_VIRT_ADDR, FI_MSG,
    FI_MULTI_RECV, FI_NUMERICHOST, FI_ORDER_SAS, FI_READ, FI_REMOTE_READ, FI_REMOTE_WRITE, FI_RMA,
    FI_SOCKADDR_IN, FI_SOURCE, FI_THREAD_DOMAIN, FI_WRITE, fi_info,
};
use crate::error::Result;
use crate::topology::CoreSet;
use crate::topology::card::{self, PciAddress};
use std::ffi::{CStr, CString, c_char};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::ptr;

/// A provider that we know.
struct Known {
    name: &'static str,
    /// Over hardware that moves the data.
    hardware: bool,
}

/// The best first. What is not here is used only if it is asked for by name.
const PREFERENCE: &[Known] = &[
    Known { name: "cxi", hardware: true },
    Known { name: "efa", hardware: true },
    Known { name: "verbs;ofi_rxm", hardware: true },
    Known { name: "psm3", hardware: true },
    Known { name: "opx", hardware: true },
    Known { name: "psm2", hardware: true },
    Known { name: "tcp", hardware: false },
    Known { name: "tcp;ofi_rxm", hardware: false },
    Known { name: "udp;ofi_rxd", hardware: false },
];

/// What the lane wants.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// `STRAIT_OFI_PROVIDER`.
    pub provider: Option<String>,
    /// Only what moves data in hardware will do.
    pub hardware: bool,
    /// The address of this host that the job uses.
    pub ip: Option<Ipv4Addr>,
    /// Where this process is, for the choice among several cards.
    pub here: Here,
}

/// Where a process is on its host.
#[derive(Clone, Debug)]
pub struct Here {
    /// The cores it may use.
    pub cores: CoreSet,
    /// Its number among the processes of the host.
    pub place: u32,
    /// Where the kernel tells of devices.
    pub sysfs: PathBuf,
}

impl Default for Here {
    fn default() -> Here {
        Here { cores: CoreSet::allowed(), place: 0, sysfs: card::SYSFS.into() }
    }
}

/// A description that libfabric gave us; freed by it.
pub struct Info {
    library: Library,
    raw: *mut fi_info,
}

impl Drop for Info {
    fn drop(&mut self) {
        // SAFETY: libfabric allocated it, and nobody else frees it.
        unsafe { (self.library.freeinfo)(self.raw) }
    }
}

impl Info {
    /// For calls of the library.
    pub fn raw(&self) -> *mut fi_info {
        self.raw
    }

    /// Its own description. The fields that we know are there in every version.
    pub fn get(&self) -> &fi_info {
        // SAFETY: libfabric filled it in, and it lives until we free it.
        unsafe { &*self.raw }
    }

    /// Name of the provider.
    pub fn provider(&self) -> String {
        provider_of(self.get())
    }

    /// Name of the domain: the device or interface.
    pub fn domain(&self) -> String {
        domain_of(self.get())
    }

    /// Whether it is software over IP: it has an address and a port.
    pub fn is_ip_software(&self) -> bool {
        self.get().addr_format == FI_SOCKADDR_IN && !self.is_hardware()
    }

    /// Whether it moves data in hardware.
    pub fn is_hardware(&self) -> bool {
        is_hardware(&self.provider())
    }
}

fn text(name: *const c_char) -> String {
    match name.is_null() {
        true => String::new(),
        // SAFETY: names are strings that end with zero.
        false => unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned(),
    }
}

fn domain_of(info: &fi_info) -> String {
    // SAFETY: libfabric fills in the attributes of what it lists.
    text(unsafe { (*info.domain_attr).name })
}

fn fabric_of(info: &fi_info) -> String {
    // SAFETY: as above.
    text(unsafe { (*info.fabric_attr).name })
}

fn provider_of(info: &fi_info) -> String {
    // SAFETY: libfabric fills in the attributes of what it lists.
    text(unsafe { (*info.fabric_attr).prov_name })
}

/// Its place in the table.
fn place_of(name: &str) -> Option<usize> {
    PREFERENCE.iter().position(|known| known.name == name)
}

/// The names in a list, each once.
fn names_in(found: &Info) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in each(found.raw).map(provider_of) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Whether this provider moves data in hardware.
pub fn is_hardware(name: &str) -> bool {
    place_of(name).is_some_and(|at| PREFERENCE[at].hardware)
}

/// Every provider that libfabric lists for reliable messages, the best first.
///
/// # Errors
/// It lists none.
pub fn names(library: Library) -> Result<Vec<String>> {
    let mut names = names_in(&list(library, &None, None, None)?);
    names.sort_by_key(|name| place_of(name).unwrap_or(PREFERENCE.len()));
    Ok(names)
}

/// How good a provider is; `None`: not wanted.
fn rank_of(name: &str, wanted: &Wanted) -> Option<usize> {
    match &wanted.provider {
        Some(asked) if name == asked => Some(0),
        // `tcp` stands for `tcp;ofi_rxm` where there is nothing simpler of that name.
        Some(asked) => {
            name.strip_prefix(asked.as_str()).is_some_and(|rest| rest.starts_with(';')).then_some(1)
        }
        None => place_of(name)
            .filter(|at| PREFERENCE[*at].hardware || !wanted.hardware)
            .map(|at| at + 2),
    }
}

/// The provider to use.
///
/// # Errors
/// There is none that fits: the message lists those that libfabric has.
pub fn choose(library: Library, wanted: &Wanted) -> Result<Info> {
    let found = list(library, &wanted.provider, None, None)?;
    // Of equally good ones the first, or the card that is nearest.
    let ranked =
        each(found.raw).filter_map(|info| Some((rank_of(&provider_of(info), wanted)?, info)));
    let Some((_, best)) = ranked.min_by_key(|(rank, _)| *rank) else {
        return Err(none_fits(library, wanted, &names_in(&found)));
    };
    let best = nearest(&found, best, &wanted.here);
    // SAFETY: it is an element of the list that `found` owns; the copy is ours.
    let chosen = Info { library, raw: unsafe { (library.dupinfo)(best) } };
    if chosen.raw.is_null() {
        return Err(refused("libfabric has no memory for a description".into()));
    }
    // Software over IP: bound to the address that the job uses, not to the first interface.
    if chosen.is_ip_software()
        && wanted.ip.is_some()
        && let Some(same) = at_address(library, &chosen.provider(), wanted.ip, None)?
    {
        return Ok(same);
    }
    Ok(chosen)
}

/// The same provider on the card that is nearest to this process, among cards of one network.
fn nearest<'a>(found: &'a Info, best: &'a fi_info, here: &Here) -> &'a fi_info {
    if pci_of(best).is_none() {
        return best;
    }
    let (provider, fabric) = (provider_of(best), fabric_of(best));
    let mut cards: Vec<&fi_info> = Vec::new();
    for info in each(found.raw) {
        let fits = provider_of(info) == provider && fabric_of(info) == fabric;
        if fits && !cards.iter().any(|known| domain_of(known) == domain_of(info)) {
            cards.push(info);
        }
    }
    let places: Vec<Option<PciAddress>> = cards.iter().map(|info| pci_of(info)).collect();
    let chosen = card::choose(&places, &here.sysfs, &here.cores, here.place);
    chosen.map_or(best, |at| cards[at])
}

/// Where the card of a description is on the bus, if it is one and libfabric tells.
fn pci_of(info: &fi_info) -> Option<PciAddress> {
    // SAFETY: libfabric fills in what it knows, null pointers else; all of it lives as long as the
    // description.
    let bus = unsafe { info.nic.as_ref()?.bus_attr.as_ref()? };
    let pci = bus.attr;
    let (domain, bus_id, device) = (pci.domain_id, pci.bus_id, pci.device_id);
    let address = PciAddress { domain, bus: bus_id, device, function: pci.function_id };
    (bus.bus_type == FI_BUS_PCI).then_some(address)
}

/// The provider of this name, bound to an address and a port, or to any.
///
/// # Errors
/// libfabric does not list it.
pub fn at_address(
    library: Library,
    name: &str,
    ip: Option<Ipv4Addr>,
    port: Option<u16>,
) -> Result<Option<Info>> {
    let at = list(library, &Some(name.to_owned()), ip, port)?;
    let Some(same) = each(at.raw).find(|info| provider_of(info) == name) else { return Ok(None) };
    // SAFETY: it is an element of the list that `at` owns; the copy is ours.
    let raw = unsafe { (library.dupinfo)(same) };
    Ok((!raw.is_null()).then_some(Info { library, raw }))
}

#[cold]
fn none_fits(library: Library, wanted: &Wanted, names: &[String]) -> crate::error::Error {
    let all = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let what = match &wanted.provider {
        Some(name) => format!("STRAIT_OFI_PROVIDER is {name}, which is not among them"),
        None => "Strait chooses none of these by itself; STRAIT_OFI_PROVIDER can name one".into(),
    };
    refused(format!(
        "libfabric {} has no provider for this job. Usable here: {all}. {what}; or leave ofi out \
         of STRAIT_LANES",
        library.version_text()
    ))
}

fn each<'a>(first: *mut fi_info) -> impl Iterator<Item = &'a fi_info> {
    let mut next = first;
    std::iter::from_fn(move || {
        // SAFETY: the list ends with a null pointer, and its owner outlives the iteration.
        let info = unsafe { next.as_ref()? };
        next = info.next;
        Some(info)
    })
}

/// What libfabric lists. With an address: only what is bound to it.
fn list(
    library: Library,
    provider: &Option<String>,
    ip: Option<Ipv4Addr>,
    port: Option<u16>,
) -> Result<Info> {
    let service = port.map(|port| CString::new(port.to_string()).expect("digits"));
    let service = service.as_ref().map_or(ptr::null(), |service| service.as_ptr());
    let node = ip.map(|ip| CString::new(ip.to_string()).expect("digits and dots"));
    let flags = if node.is_some() { FI_SOURCE | FI_NUMERICHOST } else { 0 };
    let node = node.as_ref().map_or(ptr::null(), |node| node.as_ptr());
    let mut first_error = None;
    // Access to remote memory and buffers for many messages are welcome, and not needed.
    let reads = FI_MSG | FI_RMA | FI_READ | FI_REMOTE_READ | FI_MULTI_RECV;
    for caps in [reads | FI_WRITE | FI_REMOTE_WRITE, reads, FI_MSG] {
        let hints = hints(library, caps, provider.as_deref())?;
        let mut raw = ptr::null_mut();
        // SAFETY: hints were made by this library; it fills in `raw`, which we free.
        let result = unsafe { (library.getinfo)(API, node, service, flags, hints.raw, &mut raw) };
        if result == 0 && !raw.is_null() {
            return Ok(Info { library, raw });
        }
        first_error.get_or_insert(result);
    }
    let why = library.words(first_error.unwrap_or(0) as isize);
    let what = provider.as_ref().map_or(String::new(), |name| format!(" named {name}"));
    Err(refused(format!(
        "libfabric {} has no provider{what} for reliable messages: {why}. `fi_info -t FI_EP_RDM` \
         lists what it has; STRAIT_OFI_PROVIDER names one, or leave ofi out of STRAIT_LANES",
        library.version_text()
    )))
}

/// Whether the provider can tell when a write is done in the memory of its target.
pub fn tells_of_delivery(library: Library, chosen: &Info) -> bool {
    let name = chosen.provider();
    let caps = FI_MSG | FI_RMA | FI_WRITE | FI_REMOTE_WRITE;
    let Ok(hints) = hints(library, caps, Some(&name)) else { return false };
    // SAFETY: the hints are ours alone until the library reads them.
    unsafe { (*(*hints.raw).tx_attr).op_flags = FI_DELIVERY_COMPLETE };
    let mut raw = ptr::null_mut();
    // SAFETY: hints were made by this library; it fills in `raw`, which we free.
    let result =
        unsafe { (library.getinfo)(API, ptr::null(), ptr::null(), 0, hints.raw, &mut raw) };
    if result != 0 || raw.is_null() {
        return false;
    }
    let found = Info { library, raw };
    each(found.raw).any(|info| provider_of(info) == name)
}

/// What we ask for: made and freed by the library, whose structures may be longer than ours.
fn hints(library: Library, caps: u64, provider: Option<&str>) -> Result<Info> {
    // SAFETY: a copy of nothing is an empty description with all its attributes.
    let raw = unsafe { (library.dupinfo)(ptr::null()) };
    if raw.is_null() {
        return Err(refused("libfabric has no memory for a description".into()));
    }
    let hints = Info { library, raw };
    // SAFETY: it is ours alone until the library reads it; its attributes were allocated with it.
    unsafe {
        (*raw).caps = caps;
        (*raw).mode = FI_CONTEXT | FI_CONTEXT2;
        (*(*raw).ep_attr).r#type = FI_EP_RDM;
        (*(*raw).tx_attr).msg_order = FI_ORDER_SAS;
        (*(*raw).rx_attr).msg_order = FI_ORDER_SAS;
        let domain = &mut *(*raw).domain_attr;
        domain.threading = FI_THREAD_DOMAIN;
        domain.av_type = FI_AV_TABLE;
        domain.mr_mode =
            FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT;
        if let Some(name) = provider {
            let name = CString::new(name)
                .map_err(|_| refused("STRAIT_OFI_PROVIDER holds a zero byte".into()))?;
            // The library frees it, so it is made by the C library.
            (*(*raw).fabric_attr).prov_name = libc::strdup(name.as_ptr());
        }
    }
    Ok(hints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_comes_first_and_a_name_decides() {
        let best = |names: &[&str], wanted: &Wanted| {
            let ranked = names.iter().filter_map(|name| Some((rank_of(name, wanted)?, *name)));
            ranked.min().map(|(_, name)| name.to_owned())
        };
        let all = ["udp;ofi_rxd", "tcp;ofi_rxm", "shm", "net", "verbs;ofi_rxm", "efa"];
        let any = Wanted::default();
        assert_eq!(best(&all, &any).as_deref(), Some("efa"));
        assert_eq!(best(&all[..4], &any).as_deref(), Some("tcp;ofi_rxm"));
        assert_eq!(best(&["shm", "net", "sockets"], &any), None, "only by name");
        let hardware = Wanted { hardware: true, ..Wanted::default() };
        assert_eq!(best(&all[..4], &hardware), None);
        let named = |name: &str| Wanted { provider: Some(name.into()), ..Wanted::default() };
        assert_eq!(best(&all, &named("tcp")).as_deref(), Some("tcp;ofi_rxm"));
        assert_eq!(best(&["tcp;ofi_rxm", "tcp"], &named("tcp")).as_deref(), Some("tcp"));
        assert_eq!(best(&all, &named("shm")).as_deref(), Some("shm"));
        assert_eq!(best(&all, &named("tc")), None);
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A machine as hwloc sees it: this one, or that of an XML file which `lstopo` wrote elsewhere.
//!
//! Invariant: a [`Topology`] owns what the library made; references to objects live no longer.
//!
//! Not here: what is done about cards of this host, of which sysfs tells more (state, speed).
#![expect(unsafe_code, reason = "hwloc is a C library")]

mod library;
pub mod sys;

pub use library::{Library, Missing, SONAME};

use super::{Cache, Device, DeviceKind, Machine, NumaNode, Processor};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use sys::{hwloc_bitmap_s, hwloc_obj, hwloc_topology};

impl Library {
    /// This host.
    ///
    /// # Errors
    /// hwloc could not find out.
    pub fn this_host(&self) -> Result<Machine, String> {
        let topology = Topology::load(self, None)?;
        // SAFETY: the topology is loaded.
        match unsafe { (self.topology_is_thissystem)(topology.handle) } {
            0 => Err("hwloc's variables (HWLOC_XMLFILE...) name another machine".to_owned()),
            _ => Ok(topology.machine()),
        }
    }

    /// The machine of a file.
    ///
    /// # Errors
    /// It is not there, or no topology.
    pub fn file(&self, path: &Path) -> Result<Machine, String> {
        let text =
            CString::new(path.as_os_str().as_bytes()).map_err(|_| "a NUL byte".to_owned())?;
        Ok(Topology::load(self, Some(&text))?.machine())
    }
}

struct Topology<'a> {
    library: &'a Library,
    handle: *mut hwloc_topology,
}

impl Drop for Topology<'_> {
    fn drop(&mut self) {
        // SAFETY: made by topology_init, and destroyed here only.
        unsafe { (self.library.topology_destroy)(self.handle) };
    }
}

/// An object, as long as its topology.
#[derive(Clone, Copy)]
struct Object<'a> {
    object: &'a hwloc_obj,
}

impl<'a> Topology<'a> {
    fn load(library: &'a Library, file: Option<&CString>) -> Result<Topology<'a>, String> {
        let mut handle = ptr::null_mut();
        // SAFETY: writes one pointer.
        if unsafe { (library.topology_init)(&raw mut handle) } != 0 {
            return Err("hwloc could not begin".to_owned());
        }
        let topology = Topology { library, handle };
        let flag = sys::HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED;
        let filter = sys::HWLOC_TYPE_FILTER_KEEP_IMPORTANT;
        // SAFETY: the topology was initialised and not loaded.
        let mut result = unsafe { (library.topology_set_flags)(handle, flag) };
        // SAFETY: as above.
        result |= unsafe { (library.topology_set_io_types_filter)(handle, filter) };
        if let Some(path) = file {
            // SAFETY: as above.
            result |= unsafe { library.set_xml(handle, path) };
        }
        if result != 0 {
            return Err("hwloc cannot read it".to_owned());
        }
        // SAFETY: as above; whatever it answers, the topology may be destroyed.
        match unsafe { (library.topology_load)(handle) } {
            0 => Ok(topology),
            _ => Err("hwloc finds no topology in it".to_owned()),
        }
    }

    /// The objects of a level.
    fn level(&self, depth: c_int) -> impl Iterator<Item = Object<'_>> {
        (0..).map_while(move |index| {
            // SAFETY: the topology is loaded; any depth and index are answered, if by null.
            let object = unsafe { (self.library.get_obj_by_depth)(self.handle, depth, index) };
            // SAFETY: null, or an object that lives as long as the topology and is not changed.
            Some(Object { object: unsafe { object.as_ref() }? })
        })
    }

    /// The numbers of a set; none for a null one.
    fn numbers(&self, set: *const hwloc_bitmap_s) -> Vec<u32> {
        let mut numbers = Vec::new();
        let mut last = -1;
        while !set.is_null() {
            // SAFETY: a set of the topology; -1 and members of it are where to go on from.
            last = unsafe { (self.library.bitmap_next)(set, last) };
            let Ok(number) = u32::try_from(last) else { break };
            numbers.push(number);
        }
        numbers
    }

    fn machine(&self) -> Machine {
        // SAFETY: the topology is loaded.
        let allowed = unsafe { (self.library.topology_get_allowed_cpuset)(self.handle) };
        let allowed: BTreeSet<u32> = self.numbers(allowed).into_iter().collect();
        let mut nodes: Vec<NumaNode> = self
            .level(sys::HWLOC_TYPE_DEPTH_NUMANODE)
            .map(|node| NumaNode {
                number: node.object.os_index,
                bytes: node.first_attribute().unwrap_or(0),
                processors: self.numbers(node.object.cpuset),
                distances: Vec::new(),
            })
            .collect();
        nodes.sort_by_key(|node| node.number);
        // SAFETY: the topology is loaded.
        let deepest = unsafe { (self.library.topology_get_depth)(self.handle) } - 1;
        let mut processors: Vec<Processor> =
            self.level(deepest).map(|thread| self.processor(thread, &nodes, &allowed)).collect();
        processors.sort_by_key(|processor| processor.number);
        let mut devices: Vec<Device> =
            self.level(sys::HWLOC_TYPE_DEPTH_OS_DEVICE).filter_map(|d| self.device(d)).collect();
        devices.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        let mut machine = Machine { processors, nodes, devices };
        machine.place_devices();
        machine
    }

    fn processor(
        &self,
        thread: Object<'_>,
        nodes: &[NumaNode],
        allowed: &BTreeSet<u32>,
    ) -> Processor {
        let number = thread.object.os_index;
        let node = nodes.iter().find(|node| node.processors.contains(&number));
        let mut processor = Processor {
            number,
            package: 0,
            core: vec![number],
            node: node.map(|node| node.number),
            caches: Vec::new(),
            allowed: allowed.contains(&number),
        };
        for object in thread.ancestors() {
            let kind = object.object.r#type;
            match kind {
                sys::HWLOC_OBJ_CORE => processor.core = self.numbers(object.object.cpuset),
                sys::HWLOC_OBJ_PACKAGE => {
                    let (number, index) = (object.object.os_index, object.object.logical_index);
                    processor.package =
                        if number == sys::HWLOC_UNKNOWN_INDEX { index } else { number };
                }
                sys::HWLOC_OBJ_L1CACHE..=sys::HWLOC_OBJ_L5CACHE => processor.caches.push(Cache {
                    level: (kind - sys::HWLOC_OBJ_L1CACHE + 1).unsigned_abs(),
                    bytes: object.first_attribute().unwrap_or(0),
                    processors: self.numbers(object.object.cpuset),
                }),
                _ => {}
            }
        }
        processor.caches.sort_by_key(|cache| cache.level);
        processor
    }

    fn device(&self, device: Object<'_>) -> Option<Device> {
        // The union's member is one C enumeration here.
        let kind = match device.first_attribute::<c_int>()? {
            sys::HWLOC_OBJ_OSDEV_NETWORK => DeviceKind::Network,
            sys::HWLOC_OBJ_OSDEV_OPENFABRICS => DeviceKind::Fabric,
            _ => return None,
        };
        let place = device.ancestors().find(|above| !above.object.cpuset.is_null());
        let near = place.map(|place| self.numbers(place.object.cpuset)).unwrap_or_default();
        Some(Device {
            name: device.name()?,
            kind,
            state: None,
            megabits: None,
            node: None,
            package: None,
            near,
            interfaces: Vec::new(),
        })
    }
}

/// What the union of attributes may begin with.
trait Attribute: Copy {}
impl Attribute for u64 {}
impl Attribute for c_int {}

impl<'a> Object<'a> {
    /// What is above, nearest first.
    fn ancestors(self) -> impl Iterator<Item = Object<'a>> {
        let parent = |object: Object<'a>| {
            // SAFETY: null at the top, or an object of the same topology.
            let object = unsafe { object.object.parent.as_ref() }?;
            Some(Object { object })
        };
        std::iter::successors(parent(self), move |object| parent(*object))
    }

    /// The first member of the attributes, for kinds whose first member is of this type: bytes of a
    /// cache or a NUMA node, the kind of a device.
    fn first_attribute<T: Attribute>(self) -> Option<T> {
        let attribute = self.object.attr.cast_const().cast::<T>();
        // SAFETY: null, or attributes of this object, which begin with such a number (sys.rs).
        unsafe { attribute.as_ref() }.copied()
    }

    fn name(self) -> Option<String> {
        let name = self.object.name;
        // SAFETY: if it is not null, it is a string that ends with zero and is not changed.
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
    }
}

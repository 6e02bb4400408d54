// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The part of libfabric's C interface that the lane uses, from its headers (`rdma/fabric.h`,
//! `fi_domain.h`, `fi_endpoint.h`, `fi_eq.h`, `fi_rma.h`), version 1.17.
//!
//! libfabric appends to its structures and never moves a field, so this one set serves 1.17 to 2.x.
//! Structures that the library allocates (`fi_info` and what it points to, all `fid_*`) end here
//! with the last field that we read: they are never made, copied or measured by us. A table of
//! functions begins with its size; a slot beyond it is not there.
//! `tests/ofi_layout.rs` compares every offset with the headers where those are installed.
#![allow(missing_docs, non_camel_case_types)]

use std::ffi::{c_char, c_int, c_void};

pub const fn fi_version(major: u32, minor: u32) -> u32 {
    major << 16 | minor
}

pub const FI_MSG: u64 = 1 << 1;
pub const FI_RMA: u64 = 1 << 2;
pub const FI_READ: u64 = 1 << 8;
pub const FI_WRITE: u64 = 1 << 9;
pub const FI_RECV: u64 = 1 << 10;
pub const FI_SEND: u64 = 1 << 11;
pub const FI_TRANSMIT: u64 = FI_SEND;
pub const FI_REMOTE_READ: u64 = 1 << 12;
pub const FI_REMOTE_WRITE: u64 = 1 << 13;
pub const FI_MULTI_RECV: u64 = 1 << 16;
pub const FI_COMPLETION: u64 = 1 << 24;
pub const FI_DELIVERY_COMPLETE: u64 = 1 << 28;
pub const FI_NUMERICHOST: u64 = 1 << 55;
pub const FI_SOURCE: u64 = 1 << 57;

pub const FI_CONTEXT: u64 = 1 << 59;
pub const FI_CONTEXT2: u64 = 1 << 52;

pub const FI_MR_LOCAL: c_int = 1 << 2;
pub const FI_MR_VIRT_ADDR: c_int = 1 << 4;
pub const FI_MR_ALLOCATED: c_int = 1 << 5;
pub const FI_MR_PROV_KEY: c_int = 1 << 6;
pub const FI_MR_ENDPOINT: c_int = 1 << 9;

pub const FI_ORDER_SAS: u64 = 1 << 8;

pub const FI_THREAD_DOMAIN: c_int = 3;
pub const FI_AV_TABLE: c_int = 2;
pub const FI_EP_RDM: c_int = 3;
pub const FI_SOCKADDR_IN: u32 = 2;

pub const FI_WAIT_NONE: c_int = 0;
pub const FI_WAIT_FD: c_int = 3;
pub const FI_CQ_FORMAT_DATA: c_int = 3;

pub const FI_GETWAIT: c_int = 5;
pub const FI_ENABLE: c_int = 6;
pub const FI_OPT_ENDPOINT: c_int = 0;
pub const FI_OPT_MIN_MULTI_RECV: c_int = 0;

pub const FI_EAGAIN: isize = 11;
pub const FI_EAVAIL: isize = 259;

pub const FI_BUS_PCI: c_int = 1;

pub const FI_ADDR_UNSPEC: u64 = u64::MAX;

#[repr(C)]
pub struct fi_tx_attr {
    pub caps: u64,
    pub mode: u64,
    pub op_flags: u64,
    pub msg_order: u64,
    pub comp_order: u64,
    pub inject_size: usize,
    pub size: usize,
}

#[repr(C)]
pub struct fi_rx_attr {
    pub caps: u64,
    pub mode: u64,
    pub op_flags: u64,
    pub msg_order: u64,
    pub comp_order: u64,
    pub total_buffered_recv: usize,
    pub size: usize,
}

#[repr(C)]
pub struct fi_ep_attr {
    pub r#type: c_int,
    pub protocol: u32,
    pub protocol_version: u32,
    pub max_msg_size: usize,
}

#[repr(C)]
pub struct fi_domain_attr {
    pub domain: *mut fid_domain,
    pub name: *mut c_char,
    pub threading: c_int,
    pub control_progress: c_int,
    pub data_progress: c_int,
    pub resource_mgmt: c_int,
    pub av_type: c_int,
    pub mr_mode: c_int,
}

#[repr(C)]
pub struct fi_fabric_attr {
    pub fabric: *mut fid_fabric,
    pub name: *mut c_char,
    pub prov_name: *mut c_char,
    pub prov_version: u32,
    pub api_version: u32,
}

#[repr(C)]
pub struct fi_info {
    pub next: *mut fi_info,
    pub caps: u64,
    pub mode: u64,
    pub addr_format: u32,
    pub src_addrlen: usize,
    pub dest_addrlen: usize,
    pub src_addr: *mut c_void,
    pub dest_addr: *mut c_void,
    pub handle: *mut fid,
    pub tx_attr: *mut fi_tx_attr,
    pub rx_attr: *mut fi_rx_attr,
    pub ep_attr: *mut fi_ep_attr,
    pub domain_attr: *mut fi_domain_attr,
    pub fabric_attr: *mut fi_fabric_attr,
    pub nic: *mut fid_nic,
}

#[repr(C)]
pub struct fid_nic {
    pub fid: fid,
    pub device_attr: *const c_void,
    pub bus_attr: *const fi_bus_attr,
}

/// `attr` is a union; a card on another bus than PCI has none of these numbers.
#[repr(C)]
pub struct fi_bus_attr {
    pub bus_type: c_int,
    pub attr: fi_pci_attr,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct fi_pci_attr {
    pub domain_id: u16,
    pub bus_id: u8,
    pub device_id: u8,
    pub function_id: u8,
}

/// What every object of libfabric begins with.
#[repr(C)]
pub struct fid {
    pub fclass: usize,
    pub context: *mut c_void,
    pub ops: *const fi_ops,
}

#[repr(C)]
pub struct fi_ops {
    pub size: usize,
    pub close: unsafe extern "C" fn(*mut fid) -> c_int,
    pub bind: unsafe extern "C" fn(*mut fid, *mut fid, u64) -> c_int,
    pub control: unsafe extern "C" fn(*mut fid, c_int, *mut c_void) -> c_int,
}

#[repr(C)]
pub struct fid_fabric {
    pub fid: fid,
    pub ops: *const fi_ops_fabric,
}

#[repr(C)]
pub struct fi_ops_fabric {
    pub size: usize,
    pub domain: unsafe extern "C" fn(
        *mut fid_fabric,
        *mut fi_info,
        *mut *mut fid_domain,
        *mut c_void,
    ) -> c_int,
    pub passive_ep: *const c_void,
    pub eq_open: *const c_void,
    pub wait_open: *const c_void,
    pub trywait: unsafe extern "C" fn(*mut fid_fabric, *mut *mut fid, c_int) -> c_int,
}

#[repr(C)]
pub struct fid_domain {
    pub fid: fid,
    pub ops: *const fi_ops_domain,
    pub mr: *const fi_ops_mr,
}

#[repr(C)]
pub struct fi_ops_domain {
    pub size: usize,
    pub av_open: unsafe extern "C" fn(
        *mut fid_domain,
        *mut fi_av_attr,
        *mut *mut fid_av,
        *mut c_void,
    ) -> c_int,
    pub cq_open: unsafe extern "C" fn(
        *mut fid_domain,
        *mut fi_cq_attr,
        *mut *mut fid_cq,
        *mut c_void,
    ) -> c_int,
    pub endpoint:
        unsafe extern "C" fn(*mut fid_domain, *mut fi_info, *mut *mut fid_ep, *mut c_void) -> c_int,
}

#[repr(C)]
pub struct fi_ops_mr {
    pub size: usize,
    pub reg: unsafe extern "C" fn(
        *mut fid,
        *const c_void,
        usize,
        u64,
        u64,
        u64,
        u64,
        *mut *mut fid_mr,
        *mut c_void,
    ) -> c_int,
}

#[repr(C)]
pub struct fid_mr {
    pub fid: fid,
    pub mem_desc: *mut c_void,
    pub key: u64,
}

#[repr(C)]
#[derive(Default)]
pub struct fi_av_attr {
    pub r#type: c_int,
    pub rx_ctx_bits: c_int,
    pub count: usize,
    pub ep_per_node: usize,
    pub name: usize,
    pub map_addr: usize,
    pub flags: u64,
}

#[repr(C)]
pub struct fid_av {
    pub fid: fid,
    pub ops: *const fi_ops_av,
}

#[repr(C)]
pub struct fi_ops_av {
    pub size: usize,
    pub insert: unsafe extern "C" fn(
        *mut fid_av,
        *const c_void,
        usize,
        *mut u64,
        u64,
        *mut c_void,
    ) -> c_int,
}

#[repr(C)]
#[derive(Default)]
pub struct fi_cq_attr {
    pub size: usize,
    pub flags: u64,
    pub format: c_int,
    pub wait_obj: c_int,
    pub signaling_vector: c_int,
    pub wait_cond: c_int,
    pub wait_set: usize,
}

#[repr(C)]
pub struct fid_cq {
    pub fid: fid,
    pub ops: *const fi_ops_cq,
}

#[repr(C)]
pub struct fi_ops_cq {
    pub size: usize,
    pub read: unsafe extern "C" fn(*mut fid_cq, *mut c_void, usize) -> isize,
    pub readfrom: *const c_void,
    pub readerr: unsafe extern "C" fn(*mut fid_cq, *mut fi_cq_err_entry, u64) -> isize,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct fi_cq_data_entry {
    pub op_context: *mut c_void,
    pub flags: u64,
    pub len: usize,
    pub buf: *mut c_void,
    pub data: u64,
}

/// Longer than the library's (80 bytes in 1.17, 88 in 2.x), which may grow.
#[repr(C)]
pub struct fi_cq_err_entry {
    pub op_context: *mut c_void,
    pub flags: u64,
    pub len: usize,
    pub buf: *mut c_void,
    pub data: u64,
    pub tag: u64,
    pub olen: usize,
    pub err: c_int,
    pub prov_errno: c_int,
    pub err_data: *mut c_void,
    pub err_data_size: usize,
    pub room: [u64; 8],
}

#[repr(C)]
pub struct fid_ep {
    pub fid: fid,
    pub ops: *const fi_ops_ep,
    pub cm: *const fi_ops_cm,
    pub msg: *const fi_ops_msg,
    pub rma: *const fi_ops_rma,
}

#[repr(C)]
pub struct fi_ops_ep {
    pub size: usize,
    pub cancel: unsafe extern "C" fn(*mut fid, *mut c_void) -> isize,
    pub getopt: *const c_void,
    pub setopt: unsafe extern "C" fn(*mut fid, c_int, c_int, *const c_void, usize) -> c_int,
}

#[repr(C)]
pub struct fi_ops_cm {
    pub size: usize,
    pub setname: *const c_void,
    pub getname: unsafe extern "C" fn(*mut fid, *mut c_void, *mut usize) -> c_int,
}

#[repr(C)]
pub struct fi_ops_msg {
    pub size: usize,
    pub recv: unsafe extern "C" fn(
        *mut fid_ep,
        *mut c_void,
        usize,
        *mut c_void,
        u64,
        *mut c_void,
    ) -> isize,
    pub recvv: *const c_void,
    pub recvmsg: unsafe extern "C" fn(*mut fid_ep, *const fi_msg, u64) -> isize,
    pub send: unsafe extern "C" fn(
        *mut fid_ep,
        *const c_void,
        usize,
        *mut c_void,
        u64,
        *mut c_void,
    ) -> isize,
    pub sendv: *const c_void,
    pub sendmsg: *const c_void,
    pub inject: unsafe extern "C" fn(*mut fid_ep, *const c_void, usize, u64) -> isize,
}

#[repr(C)]
pub struct fi_ops_rma {
    pub size: usize,
    pub read: unsafe extern "C" fn(
        *mut fid_ep,
        *mut c_void,
        usize,
        *mut c_void,
        u64,
        u64,
        u64,
        *mut c_void,
    ) -> isize,
    pub readv: *const c_void,
    pub readmsg: *const c_void,
    pub write: *const c_void,
    pub writev: *const c_void,
    pub writemsg: unsafe extern "C" fn(*mut fid_ep, *const fi_msg_rma, u64) -> isize,
}

#[repr(C)]
pub struct fi_rma_iov {
    pub addr: u64,
    pub len: usize,
    pub key: u64,
}

#[repr(C)]
pub struct fi_msg_rma {
    pub msg_iov: *const libc::iovec,
    pub desc: *mut *mut c_void,
    pub iov_count: usize,
    pub addr: u64,
    pub rma_iov: *const fi_rma_iov,
    pub rma_iov_count: usize,
    pub context: *mut c_void,
    pub data: u64,
}

#[repr(C)]
pub struct fi_msg {
    pub msg_iov: *const libc::iovec,
    pub desc: *mut *mut c_void,
    pub iov_count: usize,
    pub addr: u64,
    pub context: *mut c_void,
    pub data: u64,
}

/// `struct` name, field name, offset: what the layout test compares.
pub const OFFSETS: &[(&str, &str, usize)] = {
    use std::mem::offset_of as at;
    macro_rules! rows {
        ($($of:ident: $field:tt);+ $(;)?) => { &[$(rows!(@one $of $field)),+] };
        (@one $of:ident type) => { (stringify!($of), "type", at!($of, r#type)) };
        (@one $of:ident $name:ident) => { (stringify!($of), stringify!($name), at!($of, $name)) };
    }
    rows! {
        fi_tx_attr: inject_size; fi_tx_attr: msg_order; fi_tx_attr: size;
        fi_rx_attr: msg_order; fi_rx_attr: size;
        fi_ep_attr: type; fi_ep_attr: max_msg_size;
        fi_domain_attr: name; fi_domain_attr: threading; fi_domain_attr: data_progress;
        fi_domain_attr: resource_mgmt; fi_domain_attr: av_type; fi_domain_attr: mr_mode;
        fi_fabric_attr: name; fi_fabric_attr: prov_name; fi_fabric_attr: prov_version;
        fi_info: next; fi_info: caps; fi_info: mode; fi_info: addr_format;
        fi_info: src_addrlen; fi_info: src_addr; fi_info: tx_attr; fi_info: rx_attr;
        fi_info: ep_attr; fi_info: domain_attr; fi_info: fabric_attr; fi_info: nic;
        fid_nic: fid; fid_nic: bus_attr; fi_bus_attr: bus_type; fi_bus_attr: attr;
        fi_pci_attr: domain_id; fi_pci_attr: bus_id; fi_pci_attr: device_id;
        fi_pci_attr: function_id;
        fid: ops;
        fi_ops: close; fi_ops: bind; fi_ops: control;
        fid_fabric: ops; fi_ops_fabric: domain; fi_ops_fabric: trywait;
        fid_domain: ops; fid_domain: mr;
        fi_ops_domain: av_open; fi_ops_domain: cq_open; fi_ops_domain: endpoint;
        fi_ops_mr: reg; fid_mr: mem_desc; fid_mr: key;
        fi_av_attr: type; fi_av_attr: count; fi_av_attr: flags;
        fid_av: ops; fi_ops_av: insert;
        fi_cq_attr: size; fi_cq_attr: format; fi_cq_attr: wait_obj; fi_cq_attr: wait_set;
        fid_cq: ops; fi_ops_cq: read; fi_ops_cq: readerr;
        fi_cq_data_entry: op_context; fi_cq_data_entry: flags; fi_cq_data_entry: len;
        fi_cq_data_entry: buf; fi_cq_data_entry: data;
        fi_cq_err_entry: op_context; fi_cq_err_entry: err; fi_cq_err_entry: prov_errno;
        fi_cq_err_entry: err_data; fi_cq_err_entry: err_data_size;
        fid_ep: ops; fid_ep: cm; fid_ep: msg; fid_ep: rma;
        fi_ops_ep: cancel; fi_ops_ep: setopt; fi_ops_cm: getname;
        fi_ops_msg: recv; fi_ops_msg: recvmsg; fi_ops_msg: send; fi_ops_msg: inject;
        fi_ops_rma: read; fi_ops_rma: writemsg;
        fi_rma_iov: addr; fi_rma_iov: len; fi_rma_iov: key;
        fi_msg_rma: msg_iov; fi_msg_rma: desc; fi_msg_rma: iov_count; fi_msg_rma: addr;
        fi_msg_rma: rma_iov; fi_msg_rma: rma_iov_count; fi_msg_rma: context; fi_msg_rma: data;
        fi_msg: msg_iov; fi_msg: desc; fi_msg: iov_count; fi_msg: addr; fi_msg: context;
    }
};

/// Constant name, value: compared in the same way.
pub const VALUES: &[(&str, u64)] = {
    macro_rules! values {
        ($($name:ident),+ $(,)?) => { &[$((stringify!($name), $name as u64)),+] };
    }
    values![
        FI_MSG,
        FI_RMA,
        FI_READ,
        FI_WRITE,
        FI_RECV,
        FI_SEND,
        FI_REMOTE_READ,
        FI_REMOTE_WRITE,
        FI_MULTI_RECV,
        FI_COMPLETION,
        FI_DELIVERY_COMPLETE,
        FI_NUMERICHOST,
        FI_SOURCE,
        FI_CONTEXT,
        FI_CONTEXT2,
        FI_MR_LOCAL,
        FI_MR_VIRT_ADDR,
        FI_MR_ALLOCATED,
        FI_MR_PROV_KEY,
        FI_MR_ENDPOINT,
        FI_ORDER_SAS,
        FI_THREAD_DOMAIN,
        FI_AV_TABLE,
        FI_EP_RDM,
        FI_SOCKADDR_IN,
        FI_WAIT_NONE,
        FI_WAIT_FD,
        FI_CQ_FORMAT_DATA,
        FI_GETWAIT,
        FI_ENABLE,
        FI_OPT_ENDPOINT,
        FI_OPT_MIN_MULTI_RECV,
        FI_EAGAIN,
        FI_EAVAIL,
        FI_BUS_PCI,
    ]
};

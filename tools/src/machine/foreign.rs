// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `STRAIT_TOPOLOGY`: another machine than this one, to look at, and to see where ranks would go
//! there. Nothing is ever bound by it.
#![forbid(unsafe_code)]

use super::hwloc::{Library, Missing, SONAME};
use super::{Detail, Machine, synthetic, sysfs};
use std::path::Path;

/// The variable.
pub const VARIABLE: &str = "STRAIT_TOPOLOGY";

/// Where a machine was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Foreign {
    /// The machine.
    pub machine: Machine,
    /// In words, such as `file cluster.xml, by hwloc (interface 2.8.0)`.
    pub from: String,
}

/// Reads what the variable says: an XML file of hwloc, a copy of /sys, or a synthetic string.
/// `library` is `STRAIT_HWLOC_LIBRARY`.
///
/// # Errors
/// A sentence that names the variable.
pub fn read(text: &str, library: Option<&str>) -> Result<Foreign, String> {
    let path = Path::new(text);
    let wrong = |why: String| format!("{VARIABLE} is '{text}': {why}");
    if path.is_dir() {
        let sys = if path.join("sys").is_dir() { path.join("sys") } else { path.to_path_buf() };
        let machine = copy_of_sysfs(&sys).map_err(wrong)?;
        return Ok(Foreign { machine, from: format!("a copy of sysfs in {text}") });
    }
    let is_file = path.is_file() || text.ends_with(".xml") || text.contains('/');
    if !is_file {
        let machine = synthetic::parse(text).map_err(wrong)?;
        return Ok(Foreign { machine, from: format!("the synthetic string '{text}'") });
    }
    if !path.is_file() {
        return Err(wrong("there is no such file".to_owned()));
    }
    let library = Library::open(library).map_err(|missing| match missing {
        Missing::Absent => wrong(format!(
            "files are read by hwloc, which is not installed here ({SONAME}; Debian: libhwloc15)"
        )),
        Missing::Refused(why) => wrong(why),
    })?;
    let machine = library.file(path).map_err(wrong)?;
    if machine.processors.is_empty() {
        return Err(wrong("no processor is in it".to_owned()));
    }
    Ok(Foreign {
        machine,
        from: format!("file {text}, by hwloc (interface {})", library.version()),
    })
}

fn copy_of_sysfs(sys: &Path) -> Result<Machine, String> {
    let online = sysfs::list(&sys.join("devices/system/cpu/online"));
    let online = online.ok_or("the directory has no devices/system/cpu/online, as /sys has")?;
    Ok(Machine::read(sys, &online, Detail::All))
}

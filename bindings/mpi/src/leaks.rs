// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a program did not free, told at MPI_Finalize if `STRAIT_CHECK=handles` asks for it.

use crate::entry::Entry;
use crate::error::{Result, advise, class};
use crate::runtime::Runtime;
use strait_transport::config;

/// Names of objects that are listed at most.
const NAMES_MAX: usize = 5;

/// Whether `STRAIT_CHECK` asks for it.
///
/// # Errors
/// It asks for something that there is not.
pub fn is_asked() -> Result<bool> {
    let asked = config::text("CHECK")?.unwrap_or_default();
    for word in asked.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        if word != "handles" {
            let text = format!("STRAIT_CHECK is {asked}, but there is no check called '{word}'");
            return Err(advise(class::OTHER, text, "the only one is: handles"));
        }
    }
    Ok(!asked.is_empty())
}

/// At MPI_Finalize: writes what was not freed to standard error, at once.
pub fn tell(entry: &Entry) {
    if !is_asked().unwrap_or(false) {
        return;
    }
    if let Some(what) = listed(entry) {
        use std::io::Write;
        let text = format!(
            "strait: note: rank {} ends with handles that were not freed: {what}\n",
            entry.job.world_rank
        );
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

/// The list; `None` if all was freed.
fn listed(runtime: &Runtime) -> Option<String> {
    let comms: Vec<String> = runtime.comms.iter().map(|(_, comm)| comm.describe()).collect();
    let windows: Vec<String> = runtime.windows.iter().map(|(_, win)| win.describe()).collect();
    let files: Vec<String> = runtime.files.iter().map(|(_, file)| file.describe()).collect();
    // Requests that the user freed go by themselves.
    let requests = runtime.requests.live().saturating_sub(runtime.orphans.len());
    let parts = [
        some(requests, "request", &[]),
        some(comms.len(), "communicator", &comms),
        some(runtime.datatypes.live(), "datatype", &[]),
        some(windows.len(), "window", &windows),
        some(files.len(), "file", &files),
        some(runtime.groups.live(), "group", &[]),
        some(runtime.ops.live(), "operation", &[]),
        some(runtime.infos.live(), "info object", &[]),
        some(runtime.errhandlers.live(), "error handler", &[]),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// So many objects of a kind, with some names.
fn some(count: usize, kind: &str, names: &[String]) -> Option<String> {
    let plural = if count == 1 { "" } else { "s" };
    let mut text = match count {
        0 => return None,
        _ => format!("{count} {kind}{plural}"),
    };
    if !names.is_empty() {
        let more = if names.len() > NAMES_MAX { ", ..." } else { "" };
        text += &format!(" ({}{more})", names[..names.len().min(NAMES_MAX)].join(", "));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::some;

    #[test]
    fn counts_and_names() {
        assert_eq!(some(0, "window", &[]), None);
        assert_eq!(some(1, "request", &[]).unwrap(), "1 request");
        let names: Vec<String> = (0..7).map(|n| n.to_string()).collect();
        assert_eq!(some(7, "file", &names).unwrap(), "7 files (0, 1, 2, 3, 4, ...)");
    }
}

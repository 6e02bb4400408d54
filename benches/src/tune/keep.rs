// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The file of a run: always a whole record, an older or a newer one, whenever the run is ended.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use strait_collectives::select::tuning::{Record, VERSION};

/// Writes a record in the place of an older one.
pub fn save(path: &Path, record: &Record) -> Result<(), String> {
    let refused = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside).map_err(refused)?;
    let text = serde_json::to_string(record).map_err(|error| error.to_string())?;
    file.write_all(text.as_bytes()).map_err(refused)?;
    file.sync_all().map_err(refused)?;
    fs::rename(&beside, path).map_err(refused)
}

/// Reads one.
pub fn load(path: &Path) -> Result<Record, String> {
    let name = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let record: Record = serde_json::from_str(&text)
        .map_err(|error| format!("{name} is not the record of a tuning run: {error}"))?;
    match record.version {
        VERSION => Ok(record),
        other => Err(format!("{name} has version {other}; this build reads {VERSION}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_collectives::kind::Kind;
    use strait_collectives::select::tuning::Cell;
    use strait_collectives::select::{Hosts, Measured};

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let directory = std::env::temp_dir().join(format!("strait-keep-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("run.json");
        let cells = vec![Cell::new(Kind::Bcast, 4, Hosts::One, 8)];
        let mut record = Record { version: VERSION, measured: Measured::default(), cells };
        record.cells[0].candidates[0].samples = vec![1.5, 0.1 + 0.2];
        save(&path, &record).unwrap();
        save(&path, &record).unwrap();
        assert_eq!(load(&path).unwrap(), record);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing else stays");
        fs::write(&path, "{}").unwrap();
        assert!(load(&path).unwrap_err().contains("not the record"));
        fs::remove_dir_all(&directory).unwrap();
    }
}

// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The shared file pointer of a file, in etypes: a word in memory that all members map, or, where
//! they share none, eight bytes of a file beside the data, under a lock.
//!
//! The file's name is removed as soon as all have opened it, so that nothing is left behind when
//! somebody dies. Only over NFS, whose servers forget open files without a name, it stays until the
//! close.

use crate::object::file_transfer::{Direction, RangeLock};
use crate::object::shared_memory::Mapping;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

const WORD_BYTES: usize = size_of::<AtomicI64>();

/// The file pointer that all members move.
pub enum SharedPosition {
    /// Of a group of one.
    Own(AtomicI64),
    /// In memory.
    Memory(Mapping),
    /// In a file.
    Beside(PointerFile),
}

/// A file that holds a position.
pub struct PointerFile {
    file: File,
    /// Threads of this process share the file's lock: they take turns here.
    turn: Mutex<()>,
    /// Who made it removes it.
    name: Option<PathBuf>,
}

impl PointerFile {
    /// Its name beside a file: number and process make it the only one.
    pub fn name(data: &Path, [process, number]: [i64; 2]) -> PathBuf {
        let name = data.file_name().unwrap_or_default().to_string_lossy();
        data.with_file_name(format!(".{name}.{process}.{number}.position"))
    }

    /// Makes one that stands at zero.
    pub fn create(name: &Path) -> io::Result<PointerFile> {
        let options = File::options().read(true).write(true).create_new(true).mode(0o600).clone();
        let file = options.open(name)?;
        file.write_all_at(&[0; WORD_BYTES], 0)?;
        Ok(PointerFile { file, turn: Mutex::new(()), name: Some(name.into()) })
    }

    /// Opens one that another process made.
    pub fn open(name: &Path) -> io::Result<PointerFile> {
        let file = File::options().read(true).write(true).open(name)?;
        Ok(PointerFile { file, turn: Mutex::new(()), name: None })
    }

    /// All have opened it: its name goes, unless the file system needs it.
    pub fn all_have_it(&mut self) {
        // SAFETY: all zeros is a valid statfs, and the descriptor is open.
        let kind = unsafe {
            let mut facts: libc::statfs = std::mem::zeroed();
            libc::fstatfs(self.file.as_raw_fd(), &raw mut facts);
            facts.f_type
        };
        if kind != libc::NFS_SUPER_MAGIC {
            self.remove();
        }
    }

    fn remove(&mut self) {
        if let Some(name) = self.name.take() {
            // It may be gone with its folder: then there is nothing to do.
            let _ = std::fs::remove_file(name);
        }
    }

    /// Changes the position; what it was.
    fn update(&self, change: impl FnOnce(i64) -> i64) -> io::Result<i64> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let _lock = RangeLock::take(&self.file, Direction::Write, 0, WORD_BYTES as i64)?;
        let mut word = [0; WORD_BYTES];
        self.file.read_exact_at(&mut word, 0)?;
        let old = i64::from_le_bytes(word);
        let new = change(old);
        if new != old {
            self.file.write_all_at(&new.to_le_bytes(), 0)?;
        }
        Ok(old)
    }
}

impl Drop for PointerFile {
    fn drop(&mut self) {
        self.remove();
    }
}

impl SharedPosition {
    /// Bytes of memory that it needs.
    pub const BYTES: usize = WORD_BYTES;

    /// At zero, of this process alone.
    pub fn own() -> SharedPosition {
        SharedPosition::Own(AtomicI64::new(0))
    }

    /// In memory the word; only the number counts: the file's bytes are ordered by the file system.
    fn word(&self) -> Result<&AtomicI64, &PointerFile> {
        match self {
            SharedPosition::Memory(memory) => {
                // SAFETY: the mapping begins at a page, has `BYTES` bytes and lives as long as
                // `self`; all processes use the word as an atomic only.
                Ok(unsafe { AtomicI64::from_ptr(memory.base().cast()) })
            }
            SharedPosition::Own(own) => Ok(own),
            SharedPosition::Beside(file) => Err(file),
        }
    }

    /// Where it stands.
    pub fn load(&self) -> io::Result<i64> {
        match self.word() {
            Ok(word) => Ok(word.load(Ordering::Relaxed)),
            Err(file) => file.update(|old| old),
        }
    }

    /// Puts it somewhere.
    pub fn store(&self, position: i64) -> io::Result<()> {
        match self.word() {
            Ok(word) => word.store(position, Ordering::Relaxed),
            Err(file) => drop(file.update(|_| position)?),
        }
        Ok(())
    }

    /// Moves it on and tells where it stood: nobody else gets the same etypes.
    pub fn advance(&self, etypes: i64) -> io::Result<i64> {
        match self.word() {
            Ok(word) => Ok(word.fetch_add(etypes, Ordering::Relaxed)),
            Err(file) => file.update(|old| old.wrapping_add(etypes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_each_step_once_and_leaves_no_name() {
        const STEPS: i64 = 200;
        let data = std::env::temp_dir().join("strait-shared-position");
        let name = PointerFile::name(&data, [std::process::id().into(), 7]);
        let mut made = PointerFile::create(&name).unwrap();
        assert!(PointerFile::create(&name).is_err());
        let others: Vec<_> = (0..3).map(|_| PointerFile::open(&name).unwrap()).collect();
        made.all_have_it();
        assert!(!name.exists());
        let all = others.into_iter().chain([made]);
        let threads: Vec<_> = all
            .map(|position| {
                std::thread::spawn(move || {
                    (0..STEPS).map(|_| position.update(|old| old + 2).unwrap()).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut seen: Vec<i64> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        seen.sort();
        assert_eq!(seen, (0..4 * STEPS).map(|i| 2 * i).collect::<Vec<_>>());
    }
}

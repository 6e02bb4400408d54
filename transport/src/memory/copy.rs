// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Copies of a few bytes without a call.
//!
//! A call of the C library's memcpy costs more than the copy of a small message: its dispatch,
//! and the registers that the caller must save around it.

/// Up to here [`copy_few`] is the cheaper copy: two slots of a ring.
pub const FEW_BYTES: usize = 128;

/// Copies `bytes` bytes: in pieces of 16 whose last one overlaps the one before.
///
/// # Safety
/// `from` is readable and `into` writable for `bytes` bytes; they do not overlap.
#[inline(always)]
pub unsafe fn copy_few(from: *const u8, into: *mut u8, bytes: usize) {
    /// One unaligned piece of type `T` at `at`.
    #[inline(always)]
    unsafe fn piece<T: Copy>(from: *const u8, into: *mut u8, at: usize) {
        // SAFETY: the caller of `copy_few` lends the range, and the pieces lie inside it.
        unsafe {
            into.add(at).cast::<T>().write_unaligned(from.add(at).cast::<T>().read_unaligned())
        }
    }
    // SAFETY: each piece ends at most at `bytes`.
    unsafe {
        if bytes >= 16 {
            let mut at = 0;
            while at + 16 < bytes {
                piece::<u128>(from, into, at);
                at += 16;
            }
            piece::<u128>(from, into, bytes - 16);
        } else if bytes >= 8 {
            piece::<u64>(from, into, 0);
            piece::<u64>(from, into, bytes - 8);
        } else if bytes >= 4 {
            piece::<u32>(from, into, 0);
            piece::<u32>(from, into, bytes - 4);
        } else if bytes > 0 {
            piece::<u8>(from, into, 0);
            piece::<u8>(from, into, bytes / 2);
            piece::<u8>(from, into, bytes - 1);
        }
    }
}

/// Asks the processor to fetch a line for writing. Only a hint: any address will do.
#[inline(always)]
pub fn prefetch_for_writing(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads and writes nothing that can be seen; processors that do not know it
    // take it for a no-operation.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags, readonly))
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Asks the processor to hand a line that was just written to the cache that all cores share, from
/// where another core reads it sooner than from ours. Only a hint: any address will do.
#[inline(always)]
pub fn demote(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a demotion reads and writes nothing that can be seen; processors that do not know it
    // take it for a no-operation.
    unsafe {
        std::arch::asm!("cldemote [{}]", in(reg) line, options(nostack, preserves_flags, readonly))
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_up_to_two_slots() {
        let from: Vec<u8> = (0..256).map(|i| i as u8 ^ 0x5a).collect();
        for bytes in 0..=240 {
            for shift in [0, 1, 7] {
                let mut into = [0xee_u8; 256];
                // SAFETY: both hold `shift + bytes` bytes and are distinct.
                unsafe { copy_few(from.as_ptr().add(shift), into.as_mut_ptr().add(1), bytes) };
                assert_eq!(into[1..=bytes], from[shift..shift + bytes], "{bytes} from {shift}");
                assert!(into[0] == 0xee && into[bytes + 1..].iter().all(|b| *b == 0xee));
            }
        }
    }
}

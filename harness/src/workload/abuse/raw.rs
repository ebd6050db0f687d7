// SPDX-License-Identifier: GPL-2.0

//! Sends malformed ioctls: wrong numbers, addresses and lengths.

use crate::{
    device::{
        Errno,
        raw_ioctl,
        request, //
    },
    errno::Name,
    oracle::Violation,
    target::Target,
};

/// The bits of a request number that are the argument's length.
const LENGTH_SHIFT: u32 = 16;
const LENGTH_MASK: u32 = 0x3fff << LENGTH_SHIFT;

/// A buffer that is longer than the argument of any command.
type ArgumentBuffer = [u64; 512];

/// The place of a request's argument.
enum At {
    /// In mapped memory: these words, followed by zeros.
    Words(&'static [u64]),
    /// At an address without memory.
    Address(usize),
}

/// The defect, the request, its argument, and the expected errno.
const REQUESTS: [(&str, u32, At, Errno); 9] = [
    (
        "an unknown command number",
        command(request::FREE, 0x7f),
        At::Words(&[]),
        Errno::NOTTY,
    ),
    (
        "the ioctl type of another device",
        request::INFO ^ 0x100,
        At::Words(&[]),
        Errno::NOTTY,
    ),
    (
        "an argument at an unmapped address",
        request::ALLOC,
        At::Address(8),
        Errno::FAULT,
    ),
    (
        "an argument at a kernel address",
        request::STATS,
        At::Address(0xffff_8000 << 32),
        Errno::FAULT,
    ),
    (
        "a short argument",
        sized(request::ALLOC, 8),
        At::Words(&[64]),
        Errno::INVAL,
    ),
    (
        "no argument",
        sized(request::INFO, 0),
        At::Words(&[]),
        Errno::INVAL,
    ),
    // The structure of INFO has 104 bytes, 13 words, so the last of 15 words is an unknown field.
    (
        "a longer argument that does not end in zeros",
        sized(request::INFO, 120),
        At::Words(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        Errno::TOOBIG,
    ),
    (
        "an unknown flag of ALLOC",
        request::ALLOC,
        At::Words(&[64, 8, 1]),
        Errno::INVAL,
    ),
    (
        "an unknown flag of STATS",
        request::STATS,
        At::Words(&[2]),
        Errno::INVAL,
    ),
];

/// Returns a request number with another command.
const fn command(request: u32, number: u32) -> u32 {
    (request & !0xff) | number
}

/// Returns a request number with another length of the argument.
const fn sized(request: u32, bytes: u32) -> u32 {
    (request & !LENGTH_MASK) | (bytes << LENGTH_SHIFT)
}

/// Sends all requests, if the target is a file.
pub(super) fn send_all(target: &dyn Target) -> Result<(), Violation> {
    let Some(file) = target.file() else {
        return Ok(());
    };
    for (what, request, at, errno) in &REQUESTS {
        let mut argument: ArgumentBuffer = [0; 512];
        let address = match at {
            At::Words(words) => {
                argument[..words.len()].copy_from_slice(words);
                argument.as_mut_ptr().expose_provenance()
            }
            At::Address(address) => *address,
        };
        // SAFETY: `address` is the exposed address of `argument`, which is longer than the argument of any
        // command and to which no reference is used during the call, or it is an address at which this
        // process has no memory.
        let result = unsafe { raw_ioctl(file, *request, address) };
        if result != Err(*errno) {
            let found = match result {
                Ok(value) => format!("returned {value}"),
                Err(errno) => format!("failed with {}", Name(errno)),
            };
            return Err(Violation::Unexpected(format!(
                "a request with {what} must fail with {}, but {found}",
                Name(*errno)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uapi::{
        slablab_info,
        slablab_stats, //
    };

    #[test]
    fn the_argument_holds_every_command_s() {
        assert!(size_of::<ArgumentBuffer>() > size_of::<slablab_stats>());
        assert!(
            size_of::<slablab_info>() == 104 && request::INFO & LENGTH_MASK == 104 << LENGTH_SHIFT
        );
        assert_eq!(sized(request::INFO, 104), request::INFO);
    }
}

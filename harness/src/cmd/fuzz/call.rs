// SPDX-License-Identifier: GPL-2.0

//! Random calls, generated from the seed.
//!
//! A handle is generated as an index into the known handles of the session that executes the call.

use super::{
    commands::{
        ALLOC,
        COMMANDS,
        Field,
        FieldKind,
        OPERATION,
        QUICK,
        REALLOC,
        SUBMIT,
        bound, //
    },
    scratch_memory::{
        ARRAY,
        ArgumentPlace, //
    },
};
use crate::{
    rng::Rng,
    sim::Pool,
    uapi::{
        self,
        slablab_operation, //
    },
};

/// The maximum number of open files of a process: two shared pools, two private pools of each engine, and a file
/// without a session.
pub(super) const SLOTS: usize = 2 + 2 * Pool::ENGINES.len() + 1;

/// The kinds of calls. The first kinds are the commands, indexed by their numbers.
pub(super) const KINDS: [&str; 25] = [
    "INFO",
    "BIND",
    "ALLOC",
    "FREE",
    "REALLOC",
    "STATS",
    "CHECK",
    "EXTEND",
    "MAP",
    "SHRINK",
    "SUBMIT",
    "BENCH",
    "INJECT",
    "REPORTS",
    "FAIL",
    "EVENTS",
    "other ioctl",
    "open",
    "close",
    "pass",
    "pread",
    "pwrite",
    "lseek",
    "poll",
    "mmap",
];
const OTHER_IOCTL: usize = uapi::SLABLAB_NR_EVENTS as usize + 1;

/// The way in which the arguments of a call are generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgumentSource {
    /// As the header documents them, with some boundary values.
    Structured,
    /// As in `Structured`, but with some parts changed at random.
    Mutated,
    /// From random bytes.
    Random,
}

/// The place in an argument or an array into which a handle is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HandleField {
    pub(super) at: usize,
    /// The index of the handle in the known handles of the session, modulo their number.
    pub(super) pick: usize,
}

/// A call of ioctl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ioctl {
    pub(super) request: u32,
    pub(super) argument: Vec<u8>,
    pub(super) place: ArgumentPlace,
    pub(super) handles: Vec<HandleField>,
    /// The array that the argument points to.
    pub(super) array: Vec<u8>,
    pub(super) array_handles: Vec<HandleField>,
}

/// The file position of a transfer or a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// A byte of a block: the index of the block's handle, and the byte.
    Block(usize, u32),
    /// Any number.
    Any(u64),
}

/// A call on one of the process's open files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FuzzCall {
    /// Opens a session and closes the previous one of the slot.
    Open,
    Close,
    /// Sends the file to any other process, and receives a file.
    Pass,
    Ioctl(Ioctl),
    /// FREE of one of the session's blocks.
    Free(usize),
    Read(Position, usize, ArgumentPlace),
    Write(Position, Vec<u8>, ArgumentPlace),
    Seek(u8, i64),
    Poll(u16),
    Map(Position, usize, u8),
}

/// The next step of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FuzzStep {
    pub(super) slot: usize,
    /// Whether the call is made as a user without privilege.
    pub(super) as_nobody: bool,
    /// Whether to fork a child first, which makes calls on the same files at the same time.
    pub(super) forked: bool,
    pub(super) made: ArgumentSource,
    pub(super) call: FuzzCall,
}

impl FuzzStep {
    /// Generates step `n` of a process.
    pub(super) fn new(seed: u64, process: u64, n: u64) -> Self {
        let mut random = Rng::split(seed ^ process << 48, n);
        let made = match random.below(10) {
            0..5 => ArgumentSource::Structured,
            5..8 => ArgumentSource::Mutated,
            _ => ArgumentSource::Random,
        };
        Self {
            slot: random.index(SLOTS),
            as_nobody: random.chance(1, 8),
            forked: random.chance(1, 500),
            made,
            call: call(&mut random, made),
        }
    }
}

impl FuzzCall {
    /// Returns the index of the call in [`KINDS`].
    pub(super) fn kind(&self) -> usize {
        match self {
            Self::Ioctl(ioctl) => match ioctl.request & 0xffff {
                command if command >> 8 == uapi::SLABLAB_IOC_TYPE => {
                    (command as usize & 0xff).min(OTHER_IOCTL)
                }
                _ => OTHER_IOCTL,
            },
            Self::Free(_) => uapi::SLABLAB_NR_FREE as usize,
            Self::Open => 17,
            Self::Close => 18,
            Self::Pass => 19,
            Self::Read(..) => 20,
            Self::Write(..) => 21,
            Self::Seek(..) => 22,
            Self::Poll(_) => 23,
            Self::Map(..) => 24,
        }
    }
}

fn call(random: &mut Rng, made: ArgumentSource) -> FuzzCall {
    match random.below(100) {
        0 if random.chance(1, 2) => FuzzCall::Open,
        0 => FuzzCall::Close,
        1 => FuzzCall::Pass,
        2..14 => FuzzCall::Read(
            position(random, made),
            len(random, made),
            place(random, made),
        ),
        14..22 => {
            let len = len(random, made).min(1 << 16);
            let bytes = (0..len).map(|_| random.next() as u8).collect();
            FuzzCall::Write(position(random, made), bytes, place(random, made))
        }
        22 => FuzzCall::Seek(random.below(6) as u8, interesting(random) as i64),
        23 => FuzzCall::Poll(random.next() as u16),
        24 => FuzzCall::Map(
            position(random, made),
            len(random, made),
            random.next() as u8,
        ),
        25..37 if made == ArgumentSource::Structured => FuzzCall::Free(random.index(64)),
        25..29 => FuzzCall::Ioctl(free(random)),
        _ if made == ArgumentSource::Random => FuzzCall::Ioctl(arbitrary(random)),
        _ => FuzzCall::Ioctl(command(random, made)),
    }
}

/// Generates FREE of any number.
fn free(random: &mut Rng) -> Ioctl {
    let number = interesting(random) as usize;
    Ioctl {
        request: request(0, 0, uapi::SLABLAB_IOC_TYPE, uapi::SLABLAB_NR_FREE),
        argument: Vec::new(),
        place: ArgumentPlace::Nowhere(number),
        handles: Vec::new(),
        array: Vec::new(),
        array_handles: Vec::new(),
    }
}

/// Generates an ioctl with random bytes. Every second one has the device's type and a command number below 16.
fn arbitrary(random: &mut Rng) -> Ioctl {
    let known = random.chance(1, 2);
    let number = if known {
        random.below(16)
    } else {
        random.below(256)
    } as u32;
    let kind = if known {
        uapi::SLABLAB_IOC_TYPE
    } else {
        random.below(256) as u32
    };
    let bytes = random.doubling(1, 1 << 14) as usize - 1;
    let mut argument: Vec<_> = (0..bytes).map(|_| random.next() as u8).collect();
    bound(number, &mut argument);
    Ioctl {
        request: request(random.below(4) as u32, bytes, kind, number),
        argument,
        place: place(random, ArgumentSource::Random),
        handles: Vec::new(),
        array: Vec::new(),
        array_handles: Vec::new(),
    }
}

/// Generates an ioctl of a known command; `made` selects whether the arguments are mutated.
fn command(random: &mut Rng, made: ArgumentSource) -> Ioctl {
    // More than half of these calls request memory. Commands that take long are rare.
    let command = match random.below(24) {
        0..8 => &ALLOC,
        8..12 => &REALLOC,
        12..14 => &SUBMIT,
        14 => &COMMANDS[random.index(COMMANDS.len())],
        _ => &COMMANDS[random.index(QUICK)],
    };
    let mut argument = vec![0; command.bytes];
    let mut handles = Vec::new();
    fill(random, command.fields, &mut argument, 0, &mut handles);
    let mut array = Vec::new();
    let mut array_handles = Vec::new();
    if command.number == uapi::SLABLAB_NR_SUBMIT {
        array = vec![0; 70 * size_of::<slablab_operation>()];
        for at in (0..array.len()).step_by(size_of::<slablab_operation>()) {
            let operation = &mut array[at..];
            fill(random, OPERATION, operation, at, &mut array_handles);
        }
    }
    let (mut direction, mut bytes, mut number) = (3, command.bytes, command.number);
    if made == ArgumentSource::Mutated {
        for _ in 0..=random.below(3) {
            match random.below(8) {
                0 => bytes = random.below(1 << 14) as usize,
                1 => bytes = command.bytes + random.index(17) - 8,
                2 => direction = random.below(4) as u32,
                3 => number = random.below(16) as u32,
                4 => spoil(random, &mut array),
                _ => spoil(random, &mut argument),
            }
        }
        let filler = if random.chance(1, 4) {
            random.next() as u8
        } else {
            0
        };
        argument.resize(bytes, filler);
    }
    bound(number, &mut argument);
    handles.retain(|field| field.at + 4 <= argument.len());
    Ioctl {
        request: request(direction, bytes, uapi::SLABLAB_IOC_TYPE, number),
        argument,
        place: place(random, made),
        handles,
        array,
        array_handles,
    }
}

/// Sets each field to a value that the command may accept. `base` is the offset of the structure in the
/// argument or array.
fn fill(
    random: &mut Rng,
    fields: &[Field],
    structure: &mut [u8],
    base: usize,
    handles: &mut Vec<HandleField>,
) {
    for field in fields {
        let value = match field.meaning {
            FieldKind::Size if random.chance(1, 50) => interesting(random),
            FieldKind::Size => random.doubling(1, 1 << 17),
            FieldKind::Align if random.chance(1, 20) => 1 << random.below(64),
            FieldKind::Align => 1 << random.below(7),
            FieldKind::Pool if random.chance(1, 20) => interesting(random),
            FieldKind::Pool => random.below(9) << 15,
            FieldKind::Is(value) => value,
            FieldKind::From1(most) => 1 + random.below(most),
            FieldKind::Rarely(_) if random.chance(3, 4) => 0,
            FieldKind::Rarely(most) | FieldKind::UpTo(most) => random.below(most + 1),
            FieldKind::Array => ARRAY as u64,
            FieldKind::Handle => {
                handles.push(HandleField {
                    at: base + field.at,
                    pick: random.index(64),
                });
                0
            }
        };
        field.write(structure, value);
    }
}

/// Changes one bit, one byte or one word of eight bytes.
fn spoil(random: &mut Rng, bytes: &mut [u8]) {
    if bytes.is_empty() {
        return;
    }
    let at = random.index(bytes.len());
    match random.below(3) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        _ => {
            let word = at & !7;
            let end = bytes.len().min(word + 8);
            let value = interesting(random).to_le_bytes();
            bytes[word..end].copy_from_slice(&value[..end - word]);
        }
    }
}

/// The start of the kernel's direct map of the memory.
const DIRECT_MAP: u64 = if cfg!(target_arch = "aarch64") {
    0xffff_0000_0000_0000
} else {
    0xffff_8880_0000_0000
};

/// Returns a value near a boundary (0, a power of two, the maximum of a type), a kernel address, or any number.
fn interesting(random: &mut Rng) -> u64 {
    let near = random.below(5).wrapping_sub(2);
    let power = 1_u64 << random.below(64);
    match random.below(8) {
        0 => near,
        1 => u64::from(u32::MAX).wrapping_add(near),
        2 => (i64::MAX as u64).wrapping_add(near),
        3 => DIRECT_MAP | random.next() >> 24,
        4 => random.next(),
        5 => power.wrapping_mul(3),
        _ => power.wrapping_add(near),
    }
}

fn place(random: &mut Rng, made: ArgumentSource) -> ArgumentPlace {
    let good = match made {
        ArgumentSource::Structured => 50,
        ArgumentSource::Mutated => 8,
        ArgumentSource::Random => 3,
    };
    if random.below(good) > 0 {
        return ArgumentPlace::Whole;
    }
    match random.below(4) {
        0 => ArgumentPlace::Over(random.index(64)),
        1 => ArgumentPlace::Constant,
        2 => ArgumentPlace::Over(usize::MAX),
        // The first page, the kernel's half of the address space, and a non-canonical address.
        _ => ArgumentPlace::Nowhere(
            [
                0,
                1,
                4095,
                usize::MAX,
                usize::MAX - 4096,
                0xffff_8880_0000_1000,
                1 << 62,
            ][random.index(7)],
        ),
    }
}

fn position(random: &mut Rng, made: ArgumentSource) -> Position {
    if made == ArgumentSource::Random || random.chance(1, 10) {
        return Position::Any(interesting(random));
    }
    let byte = match random.below(4) {
        0 => interesting(random) as u32,
        _ => random.doubling(1, 1 << 13) as u32 - 1,
    };
    Position::Block(random.index(64), byte)
}

/// Returns a length of at most 1 MiB, or at most 64 KiB for a structured call.
fn len(random: &mut Rng, made: ArgumentSource) -> usize {
    let most = if made == ArgumentSource::Structured {
        16
    } else {
        20
    };
    random.doubling(1, 1 << most) as usize - 1
}

/// Returns the request `_IOC(direction, kind, number, bytes)`.
fn request(direction: u32, bytes: usize, kind: u32, number: u32) -> u32 {
    direction << 30 | (bytes as u32 & 0x3fff) << 16 | kind << 8 | number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64, process: u64) -> Vec<FuzzStep> {
        (0..3000).map(|n| FuzzStep::new(seed, process, n)).collect()
    }

    #[test]
    fn a_seed_makes_the_same_steps_each_time() {
        assert_eq!(steps(1, 0), steps(1, 0));
        assert_ne!(steps(1, 0), steps(2, 0));
        assert_ne!(steps(1, 0), steps(1, 1));
    }

    #[test]
    fn every_kind_is_made_and_every_command_in_its_right_form() {
        let steps = steps(1, 0);
        for (kind, name) in KINDS.iter().enumerate() {
            assert!(steps.iter().any(|step| step.call.kind() == kind), "{name}");
        }
        for command in &COMMANDS {
            let right = request(3, command.bytes, uapi::SLABLAB_IOC_TYPE, command.number);
            let made = |step: &FuzzStep| {
                step.made == ArgumentSource::Structured
                    && matches!(&step.call, FuzzCall::Ioctl(ioctl) if ioctl.request == right)
            };
            assert!(steps.iter().any(made), "{}", KINDS[command.number as usize]);
        }
    }
}

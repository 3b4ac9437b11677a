//! A disk in memory that loses, tears, holds and refuses.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use drip::trajectory::{Disk, DiskFile};

/// What is written, and what a power cut leaves of it.
#[derive(Debug, Clone, Default)]
struct Bytes {
    live: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Bytes>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Syncs of files wait while this is set; how many wait.
    held: bool,
    waiting: usize,
    syncs: usize,
    fail_syncs: bool,
    /// How many bytes still fit.
    space: Option<usize>,
    /// After so many changes everything fails, as if the power were gone.
    steps_left: Option<usize>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct SimDisk(Arc<(Mutex<State>, Condvar)>);

impl SimDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    pub(super) fn hold_syncs(&self, held: bool) {
        self.state().held = held;
        self.0.1.notify_all();
    }

    /// Waits until a sync waits.
    pub(super) fn wait_for_sync(&self) {
        let state = self.state();
        drop(self.0.1.wait_while(state, |state| state.waiting == 0).unwrap());
    }

    pub(super) fn syncs(&self) -> usize {
        self.state().syncs
    }

    pub(super) fn fail_syncs(&self, fail: bool) {
        self.state().fail_syncs = fail;
    }

    pub(super) fn set_space(&self, space: Option<usize>) {
        self.state().space = space;
    }

    pub(super) fn die_after(&self, steps: usize) {
        self.state().steps_left = Some(steps);
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    pub(super) fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].live.clone()
    }

    /// A copy of what is written, with one file changed.
    pub(super) fn with(&self, name: &str, bytes: Vec<u8>) -> Self {
        let copy = self.copy();
        let mut state = copy.state();
        let at = state.names[name];
        state.files[at] = Bytes { live: bytes.clone(), durable: bytes };
        drop(state);
        copy
    }

    /// A copy of what is written, without one file.
    pub(super) fn without(&self, name: &str) -> Self {
        let copy = self.copy();
        copy.state().names.remove(name);
        copy.state().durable_names.remove(name);
        copy
    }

    pub(super) fn copy(&self) -> Self {
        let state = self.state();
        let files = state
            .files
            .iter()
            .map(|file| Bytes { live: file.live.clone(), durable: file.live.clone() });
        let copy = State {
            files: files.collect(),
            names: state.names.clone(),
            durable_names: state.names.clone(),
            ..State::default()
        };
        Self(Arc::new((Mutex::new(copy), Condvar::new())))
    }

    /// What a power cut leaves: what was synced, and of the rest whatever `seed` says.
    pub(super) fn crash(&self, seed: u64) -> Self {
        let state = self.state();
        let mut dice = Dice(seed);
        let files: Vec<Bytes> = state
            .files
            .iter()
            .map(|file| {
                let bytes = torn(file, &mut dice);
                Bytes { live: bytes.clone(), durable: bytes }
            })
            .collect();
        let mut names = state.durable_names.clone();
        for (name, at) in &state.names {
            if !names.contains_key(name) && dice.roll(2) == 0 {
                names.insert(name.clone(), *at);
            }
        }
        for name in state.durable_names.keys() {
            if !state.names.contains_key(name) && dice.roll(2) == 0 {
                names.remove(name);
            }
        }
        let left = State { files, names: names.clone(), durable_names: names, ..State::default() };
        Self(Arc::new((Mutex::new(left), Condvar::new())))
    }
}

/// Sector by sector the old or the new, and a length between.
fn torn(file: &Bytes, dice: &mut Dice) -> Vec<u8> {
    const SECTOR: usize = 64;
    let (short, long) =
        (file.live.len().min(file.durable.len()), file.live.len().max(file.durable.len()));
    let length = short + dice.roll(long - short + 1);
    let mut bytes = vec![0; length];
    for start in (0..length).step_by(SECTOR) {
        let end = (start + SECTOR).min(length);
        let source = if dice.roll(2) == 0 { &file.live } else { &file.durable };
        for (at, byte) in bytes.iter_mut().enumerate().take(end).skip(start) {
            let old = file.durable.get(at).copied();
            let same = old.is_some() && old == file.live.get(at).copied();
            let new = source.get(at).copied().unwrap_or(0);
            *byte = old.filter(|_| same).unwrap_or(new);
        }
    }
    bytes
}

/// A small generator of numbers, the same for the same seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % sides as u64).unwrap()
    }
}

impl State {
    /// One change; none after the power is gone.
    fn step(&mut self) -> io::Result<()> {
        match &mut self.steps_left {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let known = state.names.get(name).copied();
        let at = match (known, create) {
            (Some(_), true) => return Err(ErrorKind::AlreadyExists.into()),
            (None, false) => return Err(ErrorKind::NotFound.into()),
            (Some(at), false) => at,
            (None, true) => {
                state.step()?;
                state.files.push(Bytes::default());
                let at = state.files.len() - 1;
                state.names.insert(name.to_owned(), at);
                at
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), at }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let at = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), at);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.names.remove(name).map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.durable_names = state.names.clone();
        Ok(())
    }
}

struct SimFile {
    disk: SimDisk,
    at: usize,
}

impl DiskFile for SimFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        let outcome = state.step();
        let fits = match (&outcome, state.space) {
            // A write that the power cut interrupts is there in part.
            (Err(_), _) => bytes.len() / 2,
            (Ok(()), Some(space)) => space.min(bytes.len()),
            (Ok(()), None) => bytes.len(),
        };
        state.files[self.at].live.extend_from_slice(&bytes[..fits]);
        state.space = state.space.map(|space| space - fits.min(space));
        outcome?;
        if fits < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let from = usize::try_from(offset).unwrap();
        let rest = state.files[self.at].live.get(from..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.waiting += 1;
        self.disk.0.1.notify_all();
        state = self.disk.0.1.wait_while(state, |state| state.held).unwrap();
        state.waiting -= 1;
        state.step()?;
        if state.fail_syncs {
            return Err(io::Error::other("the medium is bad"));
        }
        state.syncs += 1;
        let file = &mut state.files[self.at];
        file.durable = file.live.clone();
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.at].live.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        let file = &mut state.files[self.at];
        let freed = file.live.len() - usize::try_from(len).unwrap();
        file.live.truncate(usize::try_from(len).unwrap());
        state.space = state.space.map(|space| space + freed);
        Ok(())
    }
}

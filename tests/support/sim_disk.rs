#![cfg(test)]
//! A disk in memory that loses, reorders and tears what was not synced, from a seed.
//!
//! Each file has bytes that were synced and writes that were not; each name likewise. A crash image
//! keeps what was synced and, of the rest, what chance keeps: whole writes, single sectors of 512
//! bytes in any order, sectors torn in the middle, lengths without bytes and bytes without names.
//! Names are whole paths; a name is lost unless the folder it stands in was synced. Folders
//! themselves are not modelled: they are there.
//!
//! What it takes for granted, as the stores do: a byte is written wholly or not at all, and a torn
//! write harms no byte beside its own.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::rng::Rng;

const SECTOR: usize = 512;

/// How much of what was not synced a crash image keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// Nothing.
    Nothing,
    /// All of it, as after `kill -9`.
    All,
    /// Of each file the first writes, the last of them in part.
    Beginning,
    /// Any sectors and names, in any order.
    Any,
}

const KEEPS: [Keeps; 4] = [Keeps::Nothing, Keeps::All, Keeps::Beginning, Keeps::Any];

/// A call that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Sync,
    Write,
}

/// What a disk would hold if the power went now.
pub(crate) struct Image {
    pub(crate) disk: SimDisk,
    /// How many syncs had been done.
    pub(crate) syncs: u64,
    pub(crate) keeps: Keeps,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct SimDisk {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    gate: Mutex<Gate>,
    moved: Condvar,
}

/// Syncs wait here while it is held.
#[derive(Default)]
struct Gate {
    is_held: bool,
    waiting: usize,
}

#[derive(Default)]
struct State {
    files: Vec<Content>,
    live: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    unsynced: Vec<NameChange>,
    syncs: u64,
    fault: Option<Fault>,
    camera: Option<Rng>,
    images: Vec<Image>,
}

#[derive(Clone, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Clone)]
enum Write {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone)]
enum NameChange {
    Made(String, usize),
    Moved(String, String),
    Removed(String),
}

struct Fault {
    call: Call,
    /// How many calls go well before.
    after: u64,
    errno: i32,
    forever: bool,
}

impl SimDisk {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// From now on each sync leaves an image of what the disk would hold had the power gone just
    /// before it. What they keep follows from the seed.
    pub(crate) fn take_images(&self, seed: u64) {
        self.state().camera = Some(Rng::new(seed));
    }

    /// The images taken since the last call.
    pub(crate) fn images(&self) -> Vec<Image> {
        std::mem::take(&mut self.state().images)
    }

    /// What the disk would hold if the power went now.
    pub(crate) fn crash(&self, keeps: Keeps, rng: &mut Rng) -> Image {
        self.state().image(keeps, rng)
    }

    /// How many syncs were done, of files and folders.
    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Makes a call fail with `errno` after `after` more of its kind went well: once, or for ever.
    pub(crate) fn fail(&self, call: Call, after: u64, errno: i32, forever: bool) {
        self.state().fault = Some(Fault { call, after, errno, forever });
    }

    /// From now on a sync waits until [`SimDisk::release_syncs`].
    pub(crate) fn hold_syncs(&self) {
        self.shared.gate.lock().unwrap().is_held = true;
    }

    pub(crate) fn release_syncs(&self) {
        self.shared.gate.lock().unwrap().is_held = false;
        self.shared.moved.notify_all();
    }

    /// Waits until a sync is being held back.
    pub(crate) fn wait_for_held_sync(&self) {
        let gate = self.shared.gate.lock().unwrap();
        let none_waits = |gate: &mut Gate| gate.waiting == 0;
        let patience = Duration::from_secs(30);
        let (_gate, waited) =
            self.shared.moved.wait_timeout_while(gate, patience, none_waits).unwrap();
        assert!(!waited.timed_out(), "no sync was called");
    }

    fn pass_gate(&self) {
        let mut gate = self.shared.gate.lock().unwrap();
        gate.waiting += 1;
        self.shared.moved.notify_all();
        let mut gate = self.shared.moved.wait_while(gate, |gate| gate.is_held).unwrap();
        gate.waiting -= 1;
    }

    /// Opens a file, making it if need be.
    pub(crate) fn open(&self, path: &str) -> SimFile {
        let mut state = self.state();
        let inode = match state.live.get(path) {
            Some(inode) => *inode,
            None => state.make(path),
        };
        SimFile { disk: self.clone(), inode }
    }

    /// Makes a file that must not be there yet.
    pub(crate) fn create_new(&self, path: &str) -> io::Result<SimFile> {
        if self.state().live.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(self.open(path))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.state().live.contains_key(path)
    }

    /// The paths of all files in a folder and below it.
    pub(crate) fn list(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{folder}/");
        let state = self.state();
        let paths = state.live.keys().filter(|path| path.starts_with(&prefix));
        paths.cloned().collect()
    }

    /// Gives a file another name, replacing what had it.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.live.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.live.insert(to.to_owned(), inode);
        let change = NameChange::Moved(from.to_owned(), to.to_owned());
        state.unsynced.push(change);
        Ok(())
    }

    /// Removes a name. Who has the file open goes on reading it.
    pub(crate) fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state();
        state.live.remove(path).ok_or(io::ErrorKind::NotFound)?;
        state.unsynced.push(NameChange::Removed(path.to_owned()));
        Ok(())
    }

    /// Makes the names in a folder durable: not those below it, and no content.
    pub(crate) fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.pass_gate();
        let mut state = self.state();
        state.count_sync()?;
        let (synced, rest) = std::mem::take(&mut state.unsynced)
            .into_iter()
            .partition(|change: &NameChange| change.folder() == folder);
        state.unsynced = rest;
        for change in synced {
            change.apply(&mut state.durable);
        }
        Ok(())
    }
}

impl State {
    fn make(&mut self, path: &str) -> usize {
        self.files.push(Content::default());
        let inode = self.files.len() - 1;
        self.live.insert(path.to_owned(), inode);
        let change = NameChange::Made(path.to_owned(), inode);
        self.unsynced.push(change);
        inode
    }

    /// What every sync does first: a picture, and perhaps the failure that was asked for.
    fn count_sync(&mut self) -> io::Result<()> {
        if let Some(mut camera) = self.camera.take() {
            let keeps = KEEPS[camera.below(KEEPS.len())];
            let image = self.image(keeps, &mut camera);
            self.images.push(image);
            self.camera = Some(camera);
        }
        self.syncs += 1;
        self.fail_if_due(Call::Sync)
    }

    fn fail_if_due(&mut self, call: Call) -> io::Result<()> {
        match &mut self.fault {
            Some(fault) if fault.call == call => {
                if fault.after > 0 {
                    fault.after -= 1;
                    return Ok(());
                }
                let errno = fault.errno;
                if !fault.forever {
                    self.fault = None;
                }
                Err(io::Error::from_raw_os_error(errno))
            }
            _ => Ok(()),
        }
    }

    fn image(&self, keeps: Keeps, rng: &mut Rng) -> Image {
        let mut names = self.durable.clone();
        let first = rng.below(self.unsynced.len() + 1);
        for (at, change) in self.unsynced.iter().enumerate() {
            let kept = match keeps {
                Keeps::Nothing => false,
                Keeps::All => true,
                Keeps::Beginning => at < first,
                Keeps::Any => rng.percent(50),
            };
            if kept {
                change.apply(&mut names);
            }
        }
        let files =
            self.files.iter().map(|file| Content::whole(file.after_crash(keeps, rng))).collect();
        let state = State { files, live: names.clone(), durable: names, ..State::default() };
        let disk = SimDisk::new();
        *disk.state() = state;
        Image { disk, syncs: self.syncs, keeps }
    }
}

impl NameChange {
    fn folder(&self) -> &str {
        let (Self::Made(path, _) | Self::Moved(_, path) | Self::Removed(path)) = self;
        path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Made(path, inode) => drop(names.insert(path.clone(), *inode)),
            Self::Moved(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Removed(path) => drop(names.remove(path)),
        }
    }
}

impl Content {
    fn whole(bytes: Vec<u8>) -> Self {
        Self { live: bytes.clone(), durable: bytes, unsynced: Vec::new() }
    }

    fn write(&mut self, write: Write) {
        write.apply(&mut self.live);
        self.unsynced.push(write);
    }

    fn after_crash(&self, keeps: Keeps, rng: &mut Rng) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let last = rng.below(self.unsynced.len() + 1);
        for (at, write) in self.unsynced.iter().enumerate() {
            match keeps {
                Keeps::All => write.apply(&mut bytes),
                Keeps::Beginning if at < last => write.apply(&mut bytes),
                Keeps::Beginning if at == last => write.apply_in_part(&mut bytes, rng),
                Keeps::Beginning | Keeps::Nothing => {}
                Keeps::Any => write.apply_in_part(&mut bytes, rng),
            }
        }
        bytes
    }
}

impl Write {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Bytes(at, new) => overwrite(bytes, *at, new),
            Self::Length(len) => bytes.resize(*len, 0),
        }
    }

    /// Each sector is kept, dropped or torn.
    fn apply_in_part(&self, bytes: &mut Vec<u8>, rng: &mut Rng) {
        match self {
            Self::Bytes(at, new) => {
                let mut from = 0;
                while from < new.len() {
                    let room = SECTOR - (at + from) % SECTOR;
                    let to = (from + room).min(new.len());
                    let kept = match rng.below(10) {
                        0..=4 => to,
                        5 => from + rng.below(to - from),
                        _ => from,
                    };
                    if kept > from {
                        overwrite(bytes, at + from, &new[from..kept]);
                    }
                    from = to;
                }
            }
            Self::Length(_) if rng.percent(50) => self.apply(bytes),
            Self::Length(_) => {}
        }
    }
}

fn overwrite(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    let end = at + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(new);
}

/// An open file of a [`SimDisk`].
#[derive(Clone)]
pub(crate) struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl std::fmt::Debug for SimFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimFile({})", self.inode)
    }
}

impl SimFile {
    fn with<T>(&self, work: impl FnOnce(&mut Content) -> T) -> T {
        work(&mut self.disk.state().files[self.inode])
    }

    fn change(&self, write: Write) -> io::Result<()> {
        self.disk.state().fail_if_due(Call::Write)?;
        self.with(|file| file.write(write));
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.with(|file| file.live.len())
    }

    pub(crate) fn write_at(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.change(Write::Bytes(at, bytes.to_vec()))
    }

    pub(crate) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.write_at(self.len(), bytes)
    }

    pub(crate) fn set_len(&self, len: usize) -> io::Result<()> {
        self.change(Write::Length(len))
    }

    /// Reads as much as is there and fits.
    pub(crate) fn read_at(&self, at: usize, into: &mut [u8]) -> usize {
        self.with(|file| {
            let there = file.live.get(at..).unwrap_or_default();
            let count = there.len().min(into.len());
            into[..count].copy_from_slice(&there[..count]);
            count
        })
    }

    pub(crate) fn read(&self) -> Vec<u8> {
        self.with(|file| file.live.clone())
    }

    /// Makes the content durable, not the name. After a failure each sector is there or not, and no
    /// later sync tries again: as Linux does.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.disk.pass_gate();
        let mut state = self.disk.state();
        let outcome = state.count_sync();
        let mut rng = Rng::new(state.syncs);
        let keeps = if outcome.is_ok() { Keeps::All } else { Keeps::Any };
        let file = &mut state.files[self.inode];
        file.durable = file.after_crash(keeps, &mut rng);
        file.unsynced.clear();
        outcome
    }
}

impl redb::StorageBackend for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(Self::len(self) as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let count = self.read_at(usize::try_from(offset).unwrap(), out);
        if count < out.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, usize::try_from(len).unwrap())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_at(usize::try_from(offset).unwrap(), data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(image: &Image, path: &str) -> Option<Vec<u8>> {
        image.disk.exists(path).then(|| image.disk.open(path).read())
    }

    /// What `path` may hold after a crash, over many seeds.
    fn outcomes(disk: &SimDisk, path: &str) -> std::collections::BTreeSet<Option<Vec<u8>>> {
        let mut rng = Rng::new(7);
        (0..400).map(|n| contents(&disk.crash(KEEPS[n % 4], &mut rng), path)).collect()
    }

    #[test]
    fn what_was_synced_stays_and_the_rest_may_go() {
        let disk = SimDisk::new();
        let file = disk.open("a/log");
        file.append(b"one").unwrap();
        file.sync().unwrap();
        assert_eq!(
            outcomes(&disk, "a/log"),
            [None, Some(b"one".to_vec())].into(),
            "the name was not synced"
        );
        disk.sync_folder("a").unwrap();
        file.append(b"two").unwrap();
        let seen = outcomes(&disk, "a/log");
        assert!(seen.iter().flatten().all(|bytes| bytes.starts_with(b"one")));
        assert!(!seen.contains(&None));
        assert!(seen.contains(&Some(b"one".to_vec())));
        assert!(seen.contains(&Some(b"onetw".to_vec())), "torn in the middle");
        assert!(seen.contains(&Some(b"onetwo".to_vec())));
    }

    #[test]
    fn sectors_of_one_write_are_kept_out_of_order() {
        let disk = SimDisk::new();
        let file = disk.create_new("a/data").unwrap();
        disk.sync_folder("a").unwrap();
        file.write_at(0, &[1; 3 * SECTOR]).unwrap();
        let later_without_earlier = |bytes: &Vec<u8>| {
            bytes.len() == 3 * SECTOR && bytes[..SECTOR] == [0; SECTOR] && bytes[2 * SECTOR] == 1
        };
        let seen = outcomes(&disk, "a/data");
        assert!(seen.iter().flatten().any(later_without_earlier));
    }

    #[test]
    fn a_rename_of_bytes_that_were_not_synced_may_show_an_empty_file() {
        let disk = SimDisk::new();
        disk.open("a/stage").append(b"all").unwrap();
        disk.rename("a/stage", "a/final").unwrap();
        disk.sync_folder("a").unwrap();
        assert_eq!(disk.list("a"), ["a/final"]);
        let seen = outcomes(&disk, "a/final");
        assert!(seen.contains(&Some(Vec::new())) && !seen.contains(&None));
        disk.remove("a/final").unwrap();
        let seen = outcomes(&disk, "a/final");
        assert!(seen.contains(&None), "the removal may be there");
        assert!(seen.len() > 1, "and may be lost");
    }

    #[test]
    fn a_cut_may_be_lost_and_a_failed_sync_is_not_made_good_by_the_next() {
        let disk = SimDisk::new();
        let file = disk.open("a/log");
        disk.sync_folder("a").unwrap();
        file.append(&[7; 8 * SECTOR]).unwrap();
        disk.fail(Call::Sync, 0, 5, false);
        assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
        file.sync().unwrap();
        let whole = Some(vec![7; 8 * SECTOR]);
        assert!(!outcomes(&disk, "a/log").contains(&whole));
        assert_eq!(file.read().len(), 8 * SECTOR, "the running process sees it");
        file.set_len(3).unwrap();
        let lengths = |len| outcomes(&disk, "a/log").iter().flatten().any(|b| b.len() == len);
        assert!(lengths(3) && !lengths(8 * SECTOR + 1));
        assert!(outcomes(&disk, "a/log").iter().flatten().any(|b| b.len() > 3));
        let mut two = [0; 2];
        assert_eq!((file.read_at(1, &mut two), two), (2, [7, 7]));
    }
}

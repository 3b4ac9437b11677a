#![cfg(test)]
//! Blobs against a map: bytes come back as they were put as long as something names or holds them,
//! and go when nothing does.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use drip::kernel::blobs::{BlobRef, Blobs, INLINE_BYTES, Written};
use drip::kernel::{Clock as _, Digest, SystemClock};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};

const GRACE: Duration = Duration::from_hours(1);

#[derive(Debug, Clone)]
enum Action {
    /// Puts content number `of` under a name, and lets the hold go.
    Put {
        name: u8,
        of: u8,
    },
    /// Puts content and holds it without a name.
    Hold {
        of: u8,
    },
    /// Lets every hold go.
    LetGo,
    Forget {
        name: u8,
    },
    Read {
        name: u8,
        from: usize,
        len: usize,
    },
    /// Sweeps; chunks are old enough to go, or too young.
    Sweep {
        is_old: bool,
    },
    /// Another process would see only the folder: holds are gone.
    Reopen,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        4 => (0..4_u8, 0..6_u8).prop_map(|(name, of)| Action::Put { name, of }),
        1 => (0..6_u8).prop_map(|of| Action::Hold { of }),
        1 => Just(Action::LetGo),
        2 => (0..4_u8).prop_map(|name| Action::Forget { name }),
        3 => (0..4_u8, 0..120_000_usize, 0..120_000_usize)
            .prop_map(|(name, from, len)| Action::Read { name, from, len }),
        2 => any::<bool>().prop_map(|is_old| Action::Sweep { is_old }),
        1 => Just(Action::Reopen),
    ];
    proptest::collection::vec(action, 1..25)
}

/// Contents are few, so that they are put again after a sweep, and on both sides of the line between
/// what lives in the record and what lives in a chunk.
fn content(of: u8) -> Bytes {
    let size = [0, 100, INLINE_BYTES, INLINE_BYTES + 1, 70_000, 100_000][usize::from(of)];
    (0..size).map(|at| of.wrapping_add(u8::try_from(at % 251).unwrap())).collect::<Vec<_>>().into()
}

struct World {
    blobs: Blobs,
    named: BTreeMap<u8, (BlobRef, Bytes)>,
    held: Vec<(Written, Bytes)>,
    /// Every chunk that was ever put and is not known to be gone.
    chunks: BTreeMap<Digest, u64>,
}

impl World {
    async fn put(&mut self, of: u8) -> (Written, Bytes) {
        let bytes = content(of);
        let written = self.blobs.put(bytes.clone()).await.unwrap();
        assert_eq!(written.blob.digest, Digest::of(&bytes));
        for chunk in written.blob.chunks() {
            self.chunks.insert(chunk, bytes.len() as u64);
        }
        (written, bytes)
    }

    fn is_named(&self, chunk: Digest) -> bool {
        let mut blobs = self.named.values();
        blobs.any(|(blob, _)| blob.chunks().any(|own| own == chunk))
    }

    fn is_held(&self, chunk: Digest) -> bool {
        let mut held = self.held.iter();
        held.any(|(written, _)| written.blob.chunks().any(|own| own == chunk))
    }

    async fn sweep(&mut self, is_old: bool) {
        let now = SystemClock.now();
        let now = if is_old { now.after(2 * GRACE) } else { now };
        let named = |chunk| Ok(self.is_named(chunk));
        let swept = self.blobs.sweep(named, now, GRACE).await.unwrap();
        let (goes, waits): (Vec<_>, Vec<_>) = self
            .chunks
            .clone()
            .into_iter()
            .filter(|(chunk, _)| !self.is_named(*chunk))
            .partition(|(chunk, _)| is_old && !self.is_held(*chunk));
        assert_eq!(swept.removed, goes.len() as u64);
        assert_eq!(swept.bytes, goes.iter().map(|(_, size)| size).sum::<u64>());
        assert_eq!(swept.waiting, waits.len() as u64);
        for (chunk, _) in goes {
            self.chunks.remove(&chunk);
        }
    }

    async fn step(&mut self, action: &Action, folder: Option<&Path>) {
        match action {
            Action::Put { name, of } => {
                let (written, bytes) = self.put(*of).await;
                self.named.insert(*name, (written.blob.clone(), bytes));
            }
            Action::Hold { of } => {
                let held = self.put(*of).await;
                self.held.push(held);
            }
            Action::LetGo => self.held.clear(),
            Action::Forget { name } => drop(self.named.remove(name)),
            Action::Read { name, from, len } => {
                if let Some((blob, bytes)) = self.named.get(name) {
                    let (from, to) = (*from as u64, (from + len) as u64);
                    let read = self.blobs.read_to_bytes(blob, from..to).await.unwrap();
                    let end = |at: u64| usize::try_from(at).unwrap().min(bytes.len());
                    assert_eq!(read, bytes.slice(end(from)..end(to)));
                }
            }
            Action::Sweep { is_old } => self.sweep(*is_old).await,
            Action::Reopen => {
                if let Some(folder) = folder {
                    self.held.clear();
                    self.blobs = Blobs::folder(folder).unwrap();
                }
            }
        }
    }

    /// Everything named or held is there, equal; everything swept is not.
    async fn check(&self) {
        let held = self.held.iter().map(|(w, bytes)| (&w.blob, bytes));
        let named = self.named.values().map(|(blob, bytes)| (blob, bytes));
        for (blob, bytes) in named.chain(held) {
            self.blobs.verify(blob).await.unwrap();
            let all = self.blobs.read_to_bytes(blob, 0..u64::MAX).await.unwrap();
            assert_eq!(all, bytes);
        }
    }
}

async fn run(actions: &[Action], blobs: Blobs, folder: Option<&Path>) {
    let mut world =
        World { blobs, named: BTreeMap::new(), held: Vec::new(), chunks: BTreeMap::new() };
    for action in actions {
        world.step(action, folder).await;
    }
    world.check().await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blobs_answer_as_a_map_does(actions in actions()) {
        let folder = tempfile::tempdir().unwrap();
        runtime().block_on(async {
            run(&actions, Blobs::memory(), None).await;
            let blobs = Blobs::folder(folder.path()).unwrap();
            run(&actions, blobs, Some(folder.path())).await;
        });
    }
}

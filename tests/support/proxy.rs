#![cfg(test)]
//! A link that can be cut: TCP passed on to a daemon that may move, cut by hand, or by chance in the
//! middle of a request or an answer.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::rng::Rng;

/// The link. Dropping it cuts what is open; the thread that listens ends with the process.
pub(crate) struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    /// Where the daemon is now.
    target: Mutex<String>,
    up: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    chance: Mutex<Chance>,
    /// How many connections were cut in the middle of something.
    cuts: AtomicU64,
}

struct Chance {
    rng: Rng,
    /// Of a hundred connections so many are cut after some bytes.
    percent: usize,
}

impl Proxy {
    /// A link to `target`, up, with no chance at work.
    pub(crate) fn new(target: &str, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            target: Mutex::new(target.to_owned()),
            up: AtomicBool::new(true),
            open: Mutex::default(),
            chance: Mutex::new(Chance { rng: Rng::new(seed), percent: 0 }),
            cuts: AtomicU64::new(0),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                accepting.pass(socket);
            }
        });
        Self { address, shared }
    }

    /// `host:port` of this end.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The daemon is somewhere else now.
    pub(crate) fn lead_to(&self, target: &str) {
        target.clone_into(&mut self.shared.target.lock().unwrap());
    }

    /// Of a hundred connections so many are cut after some bytes.
    pub(crate) fn cut_by_chance(&self, percent: usize) {
        self.shared.chance.lock().unwrap().percent = percent;
    }

    /// Cuts everything that is open, and lets nothing through.
    pub(crate) fn cut(&self) {
        self.shared.up.store(false, Ordering::SeqCst);
        for socket in self.shared.open.lock().unwrap().drain(..) {
            let _closed = socket.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub(crate) fn restore(&self) {
        self.shared.up.store(true, Ordering::SeqCst);
    }

    /// How many connections were cut by chance.
    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Shared {
    /// Passes a connection on, each way on a thread of its own.
    fn pass(self: &Arc<Self>, near: TcpStream) {
        let target = self.target.lock().unwrap().clone();
        let far = TcpStream::connect(target).ok().filter(|_| self.up.load(Ordering::SeqCst));
        let Some(far) = far else {
            let _closed = near.shutdown(Shutdown::Both);
            return;
        };
        {
            let mut open = self.open.lock().unwrap();
            open.extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
            let excess = open.len().saturating_sub(100);
            open.drain(..excess);
        }
        let (there, back) = self.limits();
        let ends = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let shared = self.clone();
        std::thread::spawn(move || shared.pump(ends.0, ends.1, there));
        let shared = self.clone();
        std::thread::spawn(move || shared.pump(far, near, back));
    }

    /// After how many bytes each way is cut, if it is: some within the request, some within the
    /// answer, some before its first byte.
    fn limits(&self) -> (Option<usize>, Option<usize>) {
        let mut chance = self.chance.lock().unwrap();
        let percent = chance.percent;
        if !chance.rng.percent(percent) {
            return (None, None);
        }
        let bytes = chance.rng.below(8000);
        if chance.rng.percent(50) { (Some(bytes), None) } else { (None, Some(bytes / 4)) }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, limit: Option<usize>) {
        let mut buffer = [0; 4096];
        let mut left = limit.unwrap_or(usize::MAX);
        while let Ok(read) = from.read(&mut buffer)
            && read > 0
        {
            let passed = read.min(left);
            left -= passed;
            if to.write_all(&buffer[..passed]).is_err() {
                break;
            }
            if left == 0 {
                self.cuts.fetch_add(1, Ordering::SeqCst);
                break;
            }
        }
        let _closed = from.shutdown(Shutdown::Both);
        let _closed = to.shutdown(Shutdown::Both);
    }
}
